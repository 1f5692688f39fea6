import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from videogcrf_det.predictor import Prediction
from videogcrf_det.tracking import fill_gaps

SHAPE = (40, 90)


def flow(before, now):
    """The flow of frames that say where their object is: 5 pixels a frame, in both directions."""
    way = float(before[0, 0, 0]) - float(now[0, 0, 0])
    return np.full((*now.shape[:2], 2), (way, 0), np.float32)


def moving(number, ids=(1,), scores=(0.9,)):
    """A frame with squares that have moved to the right by 5 pixels a frame, one below another."""
    found = Instances(SHAPE, scores=torch.tensor(scores), track_ids=torch.tensor(ids))
    masks = np.zeros((len(ids), *SHAPE), bool)
    for mask, identity in zip(masks, ids, strict=True):
        mask[12 * identity - 10 : 12 * identity, 5 * number : 5 * number + 10] = True
    found.pred_masks = torch.from_numpy(masks)
    found.pred_boxes = Boxes(
        torch.tensor([[5 * number, 12 * i - 10, 5 * number + 10, 12 * i] for i in ids]).view(-1, 4)
    )
    found.pred_classes = torch.zeros(len(ids), dtype=torch.int64)
    return Prediction(np.full((*SHAPE, 3), 5 * number, np.uint8), found)


def video(*ids, scores=None):
    scores = scores or [[0.9] * len(each) for each in ids]
    return [moving(i, each, s) for i, (each, s) in enumerate(zip(ids, scores, strict=True))]


@pytest.mark.parametrize("gap", [1, 2, 3])
def test_a_gap_is_filled_with_what_moved_through_it(gap):
    found = list(fill_gaps(video((1,), *[()] * gap, (1,)), 3, flow))
    for number, (_, instances) in enumerate(found):
        expected = moving(number).instances
        assert instances.track_ids.tolist() == [1]
        assert instances.filled.tolist() == [0 < number <= gap]
        assert torch.equal(instances.pred_masks, expected.pred_masks)
        assert torch.equal(instances.pred_boxes.tensor, expected.pred_boxes.tensor.float())


def test_longer_gaps_and_ends_stay_empty():
    given = video((), (1,), (), (), (1,), ())
    found = [instances.filled.tolist() for _, instances in fill_gaps(given, 1, flow)]
    assert found == [[], [False], [], [], [False], []]


def test_others_keep_their_places_and_the_score_is_the_lower_one():
    scores = [(0.9, 0.6), (0.8,), (0.5, 0.7)]
    frames = video((1, 2), (2,), (2, 1), scores=scores)
    _, middle, _ = (instances for _, instances in fill_gaps(frames, 1, flow))
    assert middle.track_ids.tolist() == [2, 1]
    assert middle.filled.tolist() == [False, True]
    np.testing.assert_allclose(middle.scores, [0.8, 0.7])


def test_predictions_come_as_late_as_the_longest_gap():
    read = []

    def frames():
        for number in range(8):
            read.append(number)
            yield moving(number)

    given = fill_gaps(frames(), 2, flow)
    for number, (frame, _) in enumerate(given):
        assert frame[0, 0, 0] == 5 * number
        assert len(read) == min(number + 3, 8)


def test_sides_that_have_nothing_in_common_are_not_blended():
    def still(before, now):
        return np.zeros((*now.shape[:2], 2), np.float32)

    frames = [moving(0), moving(5, (), ()), moving(10)]
    assert [len(instances) for _, instances in fill_gaps(frames, 1, still)] == [1, 0, 1]


def test_the_nearer_sighting_counts_more():
    """Of an object that grows, what only the later sighting shows is there in its half alone."""

    def still(before, now):
        return np.zeros((*now.shape[:2], 2), np.float32)

    frames = [moving(0), *[moving(0, (), ())] * 4, moving(0)]
    frames[-1].instances.pred_masks[:, 2:12, :20] = True
    areas = [int(found.pred_masks.sum()) for _, found in fill_gaps(frames, 4, still)]
    assert areas == [100, 100, 100, 200, 200, 200]
