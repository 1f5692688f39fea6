import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from videogcrf_det import InputError
from videogcrf_det.tracking import MaskTracker, identify

SHAPE = (60, 80)
FRAME = np.zeros((*SHAPE, 3), np.uint8)
NOTHING = np.zeros((0, *SHAPE), bool)


def box(x, y, size=10, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[y : y + size, x : x + size] = True
    return mask


def textured(x):
    """A frame whose texture, and all that is on it, has moved to the right by x."""
    noise = np.random.default_rng(0).integers(0, 255, (*SHAPE, 3), np.uint8)
    soft = cv2.GaussianBlur(np.tile(noise, (1, 3, 1)), None, 3)
    stretched = cv2.normalize(soft, None, 0, 255, cv2.NORM_MINMAX)
    return np.roll(stretched, x, 1)[:, SHAPE[1] : 2 * SHAPE[1]]


def follow(tracker, *masks, classes=None, frame=FRAME):
    found = np.stack(masks) if masks else NOTHING
    return tracker.follow(frame, found, [0] * len(masks) if classes is None else classes)


def test_tracks_follow_moving_instances_in_whatever_order():
    tracker = MaskTracker()
    assert follow(tracker, box(5, 5), box(50, 40)) == [1, 2]
    for step in range(1, 8):
        masks = [box(5 + 2 * step, 5), box(50 - 2 * step, 40)]
        if step % 2:
            assert follow(tracker, *masks[::-1]) == [2, 1]
        else:
            assert follow(tracker, *masks) == [1, 2]


def test_flow_that_leads_nowhere_does_not_lose_anybody():
    """As it does on a frame that is blurred or dark."""
    tracker = MaskTracker(flow=lambda before, image: np.full((*image.shape[:2], 2), 40, np.float32))
    for step in range(4):
        assert follow(tracker, box(20 + step, 25), box(50, 5)) == [1, 2]


def test_masks_are_moved_along_the_flow():
    moved = MaskTracker()
    frames = textured(0), textured(8)
    assert follow(moved, box(20, 25, 7), frame=frames[0]) == [1]
    # no pixel in common with where it was
    assert follow(moved, box(28, 25, 7), frame=frames[1]) == [1]
    still = MaskTracker(flow=lambda before, now: np.zeros((*now.shape[:2], 2), np.float32))
    assert follow(still, box(20, 25, 7), frame=frames[0]) == [1]
    assert follow(still, box(28, 25, 7), frame=frames[1]) == [2]


def test_a_missed_instance_moves_on_with_the_flow():
    tracker = MaskTracker(flow=lambda _, now: np.full((*now.shape[:2], 2), (-6, 0), np.float32))
    assert follow(tracker, box(5, 5)) == [1]
    assert follow(tracker) == follow(tracker) == []
    assert follow(tracker, box(23, 5)) == [1]


def test_the_assignment_is_the_best_of_all_and_not_pair_by_pair():
    tracker = MaskTracker()
    # the first detection overlaps both tracks; it overlaps the second most, which the other
    # detection overlaps alone
    assert follow(tracker, box(10, 10, 20), box(22, 10, 20)) == [1, 2]
    assert follow(tracker, box(17, 10, 20), box(34, 10, 20)) == [1, 2]


def test_instances_of_other_classes_are_not_continued():
    tracker = MaskTracker()
    assert follow(tracker, box(5, 5), box(40, 40), classes=[0, 1]) == [1, 2]
    assert follow(tracker, box(5, 5), box(40, 40), classes=[1, 1]) == [3, 2]
    assert follow(tracker, box(5, 5), classes=[0]) == [1]


def test_tracks_come_back_from_memory_and_numbers_are_not_given_twice():
    tracker = MaskTracker(memory=2)
    assert follow(tracker, box(5, 5), box(40, 40)) == [1, 2]
    assert follow(tracker, box(40, 40)) == follow(tracker, box(40, 40)) == [2]
    assert follow(tracker, box(5, 5)) == [1]
    assert [follow(tracker) for _ in range(3)] == [[], [], []]
    assert follow(tracker, box(5, 5)) == [3]


def test_frames_of_another_size_begin_anew():
    tracker = MaskTracker()
    assert follow(tracker, box(5, 5)) == [1]
    other = np.zeros((30, 40, 3), np.uint8)
    assert follow(tracker, box(5, 5, shape=(30, 40)), frame=other) == [2]


def test_a_doubtful_second_detection_does_not_take_an_identity():
    tracker = MaskTracker()
    assert follow(tracker, box(20, 20, 20)) == [1]
    masks = np.stack([box(20, 20, 20), box(22, 20, 20)])
    assert tracker.follow(FRAME, masks, [0, 0], [0.1, 0.95]) == [2, 1]


def test_frames_that_are_written_over_do_not_matter():
    """As the buffer of a camera is."""
    tracker, frame = MaskTracker(), textured(0).copy()
    assert follow(tracker, box(20, 25, 7), frame=frame) == [1]
    frame[:] = textured(8)
    assert follow(tracker, box(28, 25, 7), frame=frame) == [1]


def test_small_instances_of_large_frames_do_not_vanish():
    tracker = MaskTracker()
    frame = np.zeros((720, 1280, 3), np.uint8)
    for _ in range(2):
        masks = [box(100, 100, 1, frame.shape[:2]), box(301, 301, 2, frame.shape[:2])]
        assert follow(tracker, *masks, frame=frame) == [1, 2]


def test_boxes_of_detectors_without_masks_are_followed():
    tracker = MaskTracker()
    for x in (10, 12):
        found = Instances(
            SHAPE, pred_boxes=Boxes(torch.tensor([[x, 5.0, x + 10, 15], [-5, 20, 4, 30]]))
        )
        found.pred_classes = torch.tensor([0, 0])
        identify(tracker, FRAME, found)
        assert found.track_ids.tolist() == [1, 2]


class Given:
    def __init__(self, ids):
        self.ids = ids

    def update(self, frame, instances):
        return self.ids


@pytest.mark.parametrize("ids", [[1], [4, 4], [0.5, 1.5], [[1, 2]]])
def test_trackers_that_give_no_identities_are_named(ids):
    found = Instances(SHAPE, pred_classes=torch.tensor([0, 0]))
    with pytest.raises(InputError, match=r"Given.update gave .*: return 2 different whole numbers"):
        identify(Given(ids), FRAME, found)


def test_other_trackers_may_be_used():
    found = Instances(SHAPE, pred_classes=torch.tensor([0, 0]))
    identify(Given([7, 3]), FRAME, found)
    assert found.track_ids.tolist() == [7, 3]
    assert found.track_ids.dtype == torch.int64
