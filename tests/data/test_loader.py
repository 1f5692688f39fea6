"""Batches are a function of the seed and the iteration."""
# ruff: noqa: NPY002 - detectron2's augmentations draw from numpy's global generator

import itertools
import random
from collections import Counter

import numpy as np
import pytest
import torch
from detectron2.utils import comm

from tests.conftest import CONFIG
from videogcrf_det import InputError
from videogcrf_det.data import (
    ClipDatasetMapper,
    build_clip_train_loader,
    training_clips,
)
from videogcrf_det.engine import build_cfg


def numbered(widths):
    return [{"number": n, "width": width, "height": 10} for n, width in enumerate(widths)]


def drawn(clip):
    """What a mapper with random augmentations is, in short."""
    values = random.random(), float(np.random.rand()), float(torch.rand((), dtype=torch.float64))
    return clip["number"], clip["width"], *values


def batches(count, widths=(20,) * 7, mapper=drawn, **options):
    options = {"clips_per_batch": 2, "seed": 3, **options}
    return list(
        itertools.islice(build_clip_train_loader(numbered(widths), mapper, **options), count)
    )


@pytest.mark.parametrize("start", [1, 4, 23])
@pytest.mark.parametrize("widths", [(20,) * 7, (20, 5, 20, 5, 5)])
def test_a_later_start_drops_batches(start, widths):
    assert batches(30, widths)[start:] == batches(30 - start, widths, start=start)


def test_workers_change_nothing():
    assert batches(9) == batches(9, num_workers=2)


def test_every_clip_once_an_epoch_in_another_order():
    numbers = [clip[0] for batch in batches(21) for clip in batch]
    epochs = [numbers[i : i + 7] for i in range(0, 42, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_augmentations_differ_between_clips_and_epochs():
    values = Counter(value for batch in batches(40) for clip in batch for value in clip[2:])
    assert max(values.values()) == 1


def test_seeds():
    assert batches(5) == batches(5, seed=3)
    assert batches(5) != batches(5, seed=4)
    assert batches(5, seed=-1) != batches(5, seed=-1)


def test_the_generators_of_the_caller_are_left_alone():
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    expected = random.random(), np.random.rand(), torch.rand(1)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    batches(3)
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected


def test_batches_have_one_orientation():
    mixed = (20, 5, 20, 5, 20, 5)
    for batch in batches(30, mixed):
        assert len({clip[1] for clip in batch}) == 1
    ungrouped = batches(30, mixed, aspect_ratio_grouping=False)
    assert any(len({clip[1] for clip in batch}) == 2 for batch in ungrouped)


def test_processes_share_the_clips(monkeypatch):
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        shares.append(batches(14, clips_per_batch=4))
    both = [clip for batch in zip(*shares, strict=True) for part in batch for clip in part]
    # the stream of a single process, dealt out one by one
    monkeypatch.undo()
    alone = [clip for batch in batches(28) for clip in batch]
    assert sorted(both) == sorted(alone)
    assert len(shares[0][0]) == 2
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    with pytest.raises(InputError, match=r"IMS_PER_BATCH 3 is not a multiple of the 2 processes"):
        batches(1, clips_per_batch=3)


def test_a_worker_ends_with_the_sentence():
    def broken(clip):
        raise InputError("cannot read the frame a.jpg: copy it again")

    with pytest.raises(InputError, match=r"cannot read the frame a\.jpg"):
        batches(1, mapper=broken, num_workers=2)


def test_real_clips_are_augmented_alike_wherever_they_are_read(small):
    cfg = build_cfg(CONFIG, [*small, "INPUT.MIN_SIZE_TRAIN", "(48, 64, 80)"])
    clips, mapper = training_clips(cfg), ClipDatasetMapper(cfg, is_train=True)

    def images(**options):
        found = build_clip_train_loader(clips, mapper, clips_per_batch=1, seed=0, **options)
        return [
            frame["image"]
            for batch in itertools.islice(found, 6 - options.get("start", 0))
            for clip in batch
            for frame in clip["frames"]
        ]

    expected = images()
    assert len({image.shape for image in expected}) > 1  # the sizes are drawn
    for other in (images(num_workers=2), images(start=2)):
        later = expected[-len(other) :]
        assert all(torch.equal(a, b) for a, b in zip(later, other, strict=True))
