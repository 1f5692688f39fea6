"""Identities of a real crowd: true masks of DAVIS 2017, some of which are missing."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from PIL import Image

from videogcrf_det.masks import mask_iou
from videogcrf_det.motion.flow import DISFlow
from videogcrf_det.tracking import MaskTracker, fill_gaps, identify

SHARED = os.getenv("VIDEOGCRF_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
ROOT = Path(SHARED, "DAVIS2017")
NAME = "schoolgirls"

pytestmark = pytest.mark.skipif(
    not (ROOT / "Annotations/240p" / NAME).is_dir(), reason="the real data is not here"
)


@pytest.fixture(scope="module")
def video():
    """Frames, BGR, and the numbers of their objects, pixel by pixel."""
    frames = [cv2.imread(str(p)) for p in sorted((ROOT / "JPEGImages/240p" / NAME).glob("*.jpg"))]
    paths = sorted((ROOT / "Annotations/240p" / NAME).glob("*.png"))
    return frames, [np.array(Image.open(path)) for path in paths]


@pytest.fixture(scope="module")
def flow():
    """The flow of successive frames, each computed once."""
    known, compute = {}, DISFlow()

    def flow(before, now):
        key = before.tobytes(), now.tobytes()
        if key not in known:
            known[key] = compute(before, now)
        return known[key]

    return flow


def instances_of(label, objects):
    """True masks, with the numbers of their objects."""
    masks = np.array([label == i for i in objects]).reshape(-1, *label.shape)
    found = Instances(label.shape, pred_masks=torch.from_numpy(masks))
    found.pred_boxes = Boxes(torch.zeros(len(objects), 4))
    found.pred_classes = torch.zeros(len(objects), dtype=torch.int64)
    found.scores = torch.ones(len(objects))
    found.objects = torch.tensor(objects, dtype=torch.int64)
    return found


def tracked(frames, labels, flow, dropped=0.0, seed=0):
    """Frames with their instances, some of which are missing, and the identities of those."""
    rng, tracker = np.random.default_rng(seed), MaskTracker(flow=flow)
    for frame, label in zip(frames, labels, strict=True):
        objects = [int(i) for i in np.unique(label) if 0 < i < 255 and rng.random() >= dropped]
        found = instances_of(label, objects)
        identify(tracker, frame, found)
        yield frame, found


def count_switches(*args, **options):
    """How often an object has another identity than when it was seen before."""
    last, switches = {}, 0
    for _, found in tracked(*args, **options):
        pairs = zip(found.objects.tolist(), found.track_ids.tolist(), strict=True)
        for number, identity in pairs:
            switches += last.get(number, identity) != identity
            last[number] = identity
    return switches


# with the overlap of masks where they were, best pairs first, the worst of these had 3
@pytest.mark.parametrize("seed", range(6))
def test_objects_missed_at_random_keep_their_identities(video, flow, seed):
    assert count_switches(*video, flow, dropped=0.2, seed=seed) <= 1


# there were 14
def test_every_fourth_frame_is_enough(video, flow):
    frames, labels = video
    assert count_switches(frames[::4], labels[::4], flow) <= 2


def test_filled_masks_are_nearer_to_the_truth_than_the_last_ones(video, flow):
    frames, labels = (each[:40] for each in video)
    overlaps, of_last, last = [], [], {}
    predictions = tracked(frames, labels, flow, dropped=0.2)
    for label, (_, found) in zip(labels, fill_gaps(predictions, 2, flow), strict=True):
        for number, mask, filled in zip(
            found.objects.tolist(), found.pred_masks.numpy(), found.filled.tolist(), strict=True
        ):
            if filled:
                truth = (label == number)[None]
                overlaps.append(mask_iou(mask[None], truth)[0, 0])
                of_last.append(mask_iou(last[number][None], truth)[0, 0])
            else:
                last[number] = mask
    assert len(overlaps) >= 30
    assert np.mean(overlaps) > 0.85 > np.mean(of_last)
