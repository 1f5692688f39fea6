import doctest
import itertools
from collections import Counter

import pytest
from detectron2.data import DatasetCatalog

from tests.conftest import unregister
from videogcrf_det import InputError
from videogcrf_det.data import (
    build_clips,
    clip_indices,
    clips,
    load_videos,
    register_video_coco_instances,
    training_clips,
)
from videogcrf_det.engine import build_cfg


def record(image_id, video_id=None, frame_id=None, annotations=()):
    keys = {} if video_id is None else {"video_id": video_id, "frame_id": frame_id}
    return {
        "image_id": image_id,
        "file_name": f"{image_id}.jpg",
        "height": 10,
        "width": 20,
        "annotations": list(annotations),
        **keys,
    }


def test_examples_of_the_documentation():
    assert doctest.testmod(clips).failed == 0


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("num_frames", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("length", [1, 2, 5, 8, 30])
def test_clips_are_of_distinct_frames_in_order(length, num_frames, stride):
    for reference in range(length):
        indices = clip_indices(reference, length, num_frames, stride)
        assert len(indices) == min(num_frames, length)
        assert indices == sorted(set(indices))
        assert reference in indices
        assert set(indices) <= set(range(length))
        if length >= num_frames * stride:  # enough frames: the stride is kept everywhere
            assert {b - a for a, b in itertools.pairwise(indices)} <= {stride}


def test_every_frame_is_the_reference_once():
    records = [record(f"{v}-{f}", v, f) for v, length in [(1, 6), (2, 2)] for f in range(length)]
    built = build_clips(records[::-1], num_frames=4)
    references = Counter(clip["frames"][clip["reference"]]["image_id"] for clip in built)
    assert references == Counter(r["image_id"] for r in records)
    for clip in built:
        assert len({frame["video_id"] for frame in clip["frames"]}) == 1
        assert [f["frame_id"] for f in clip["frames"]] == sorted(
            f["frame_id"] for f in clip["frames"]
        )


def test_still_images_are_clips_of_one_frame():
    built = build_clips([record(1), record(2)], num_frames=4)
    assert [[frame["image_id"] for frame in clip["frames"]] for clip in built] == [[1], [2]]


@pytest.mark.parametrize(("num_frames", "stride"), [(0, 1), (4, 0)])
def test_bad_lengths(num_frames, stride):
    with pytest.raises(InputError, match=f"NUM_FRAMES {num_frames}.*STRIDE {stride}"):
        build_clips([record(1)], num_frames, stride)


@pytest.fixture
def dataset():
    """Register records for one test."""
    names = []

    def register(records):
        names.append(f"test_clips_{len(names)}")
        DatasetCatalog.register(names[-1], lambda: records)
        return names[-1]

    yield register
    for name in names:
        DatasetCatalog.remove(name)


PERSON = {"category_id": 0, "iscrowd": 0, "bbox": [0, 0, 5, 5]}


def test_frames_without_instances_stay_in_the_clips_of_others(dataset):
    records = [record(f, 1, f, [PERSON] if f == 0 else []) for f in range(9)]
    other = dataset([record(f, 1, f, [PERSON]) for f in range(2)])
    name = dataset(records)
    cfg = build_cfg("", ["DATASETS.TRAIN", f"('{name}', '{other}')", "INPUT.CLIP.NUM_FRAMES", "3"])
    frames = [[f["frame_id"] for f in clip["frames"]] for clip in training_clips(cfg)]
    # two videos of the same id in two data sets stay apart
    assert frames == [[0, 1, 2], [0, 1, 2], [0, 1], [0, 1]]


def test_no_instance_at_all(dataset):
    name = dataset([record(0, 1, 0, [{**PERSON, "iscrowd": 1}])])
    with pytest.raises(InputError, match=f"{name} has no annotated instances"):
        training_clips(build_cfg("", ["DATASETS.TRAIN", f"('{name}',)"]))


def test_unregistered_name():
    with pytest.raises(InputError, match="'nothing' is not registered"):
        load_videos("nothing")


def test_mixed_videos():
    """Every frame of the first four once, in the order of time, and none near one of its video."""
    lengths = {1: 6, 2: 4, 3: 6}
    records = [record(f"{v}-{f}", v, f) for v, length in lengths.items() for f in range(length)]
    mixed = clips.mix_videos(records)
    kept = sorted(f"{v}-{f}" for v in lengths for f in range(4))
    assert sorted(r["image_id"] for r in mixed) == kept
    videos = clips.group_videos(mixed)
    assert len(videos) == 3
    for video in videos:
        before = [r["image_id"].split("-") for r in video]
        assert [int(frame) for _, frame in before] == sorted(int(frame) for _, frame in before)
        assert [r["frame_id"] for r in video] == [int(frame) for _, frame in before]
        for near in zip(before, before[1:], before[2:], strict=False):
            assert len({name for name, _ in near}) == 3
    assert records == [record(f"{v}-{f}", v, f) for v, n in lengths.items() for f in range(n)]


def test_mixed_videos_have_frames_of_one_size():
    records = [record(f"{v}-{f}", v, f) for v in (1, 2, 3) for f in range(4)]
    for r in records[:4]:
        r["height"] = 11
    for video in clips.group_videos(clips.mix_videos([*records, record("still")])):
        assert len({r["height"] for r in video}) == 1
    assert clips.mix_videos([record("still")]) == [record("still")]


def test_mixed_data_is_registered(mini_root):
    json_file = mini_root / "annotations" / "mini_davis_person_val.json"
    register_video_coco_instances("test_mixed", json_file, mini_root / "JPEGImages", mixed=True)
    videos = load_videos("test_mixed")
    names = [{frame["file_name"].split("/")[-2] for frame in video["frames"]} for video in videos]
    assert names == [{"stroll-000", "stroll-001"}] * 2
    unregister("test_mixed")
    assert "mini_davis_person_val_mixed" in DatasetCatalog
