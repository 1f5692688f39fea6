import copy
import pickle

import pytest
import torch
from detectron2.structures import BitMasks, Instances

from tests.support.regions import SIZE, annotated
from videogcrf_det.structures import AnnotatedInstances

REGIONS = [(0, 0, 10, 10), (50, 20, 70, 90)]


@pytest.fixture
def frame():
    return annotated([(10, 10, 30, 50), (60, 20, 80, 40)], REGIONS)


def equal(first, second):
    return (
        first.image_size == second.image_size == SIZE
        and torch.equal(first.gt_boxes.tensor, second.gt_boxes.tensor)
        and torch.equal(first.gt_classes, second.gt_classes)
        and torch.equal(first.gt_masks.tensor, second.gt_masks.tensor)
        and torch.equal(first.ignore_regions.tensor, second.ignore_regions.tensor)
    )


def test_regions_are_of_the_frame_and_no_field(frame):
    assert isinstance(frame.ignore_regions, BitMasks)
    assert frame.ignore_regions.tensor.shape == (2, *SIZE)
    assert len(frame) == 2
    assert frame.get_fields().keys() == {"gt_boxes", "gt_classes", "gt_masks"}
    with pytest.raises(AttributeError, match="gt_keypoints"):
        frame.gt_keypoints  # noqa: B018


@pytest.mark.parametrize("index", [0, slice(1, 2), torch.tensor([True, False])])
def test_a_selection_of_instances_is_plain(frame, index):
    chosen = frame[index]
    assert type(chosen) is Instances
    assert len(chosen) == 1
    assert frame.ignore_regions.tensor.any()


def test_regions_go_to_a_device_with_the_instances(frame):
    moved = frame.to("meta")
    assert isinstance(moved, AnnotatedInstances)
    assert moved.image_size == SIZE
    for tensor in (moved.gt_boxes.tensor, moved.gt_classes, moved.ignore_regions.tensor):
        assert tensor.device.type == "meta"
    assert frame.ignore_regions.device.type == "cpu"
    assert equal(frame.to("cpu"), frame)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda frame: pickle.loads(pickle.dumps(frame))])
def test_copies_and_what_other_processes_send(frame, again):
    copied = again(frame)
    assert isinstance(copied, AnnotatedInstances)
    assert equal(copied, frame)
    copied.ignore_regions.tensor[:] = False
    assert frame.ignore_regions.tensor.any()


def test_a_frame_without_instances_or_regions():
    for frame in (annotated([], REGIONS), annotated([], [])):
        moved = frame.to("cpu")
        assert len(moved) == 0
        assert torch.equal(moved.ignore_regions.tensor, frame.ignore_regions.tensor)
