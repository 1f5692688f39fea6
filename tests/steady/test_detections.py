import torch
from detectron2.structures import Boxes, Instances

from videogcrf_det.steady.detections import average_detections


def found(*boxes, classes=None, score=0.8):
    """Instances with boxes, and masks that fill them."""
    instances = Instances((20, 30))
    tensor = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    instances.pred_boxes = Boxes(tensor)
    instances.scores = torch.full((len(tensor),), score)
    instances.pred_classes = torch.tensor(classes or [0] * len(tensor))
    masks = torch.zeros(len(tensor), 20, 30, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, tensor.int().tolist(), strict=True):
        mask[y0:y1, x0:x1] = True
    instances.pred_masks = masks
    return {"instances": instances}


def test_boxes_scores_and_masks_are_averaged():
    outputs = [found([2, 2, 10, 10]), found([4, 2, 12, 10], score=0.6)]
    second = list(average_detections(outputs, 3))[1]["instances"]
    assert second.pred_boxes.tensor.tolist() == [[3, 2, 11, 10]]
    assert torch.allclose(second.scores, torch.tensor([0.7]))
    assert second.pred_masks[0].nonzero()[:, 1].unique().tolist() == list(range(2, 12))


def test_what_is_missed_stays_until_it_is_out_of_the_window():
    outputs = [found([2, 2, 10, 10]), found(), found(), found()]
    counts = [len(each["instances"]) for each in average_detections(outputs, 3)]
    assert counts == [1, 1, 1, 0]


def test_others_are_tracks_of_their_own():
    outputs = [found([2, 2, 10, 10]), found([2, 2, 10, 10], [18, 2, 28, 10], classes=[1, 0])]
    second = list(average_detections(outputs, 2))[1]["instances"]
    assert len(second) == 3  # another class, another place, and the first, which is missed
    assert sorted(second.pred_classes.tolist()) == [0, 0, 1]


def test_a_window_of_one_frame_changes_nothing():
    outputs = [found([2, 2, 10, 10]), found([4, 2, 12, 10])]
    for before, after in zip(outputs, average_detections(outputs, 1), strict=True):
        assert torch.equal(
            before["instances"].pred_boxes.tensor, after["instances"].pred_boxes.tensor
        )
        assert torch.equal(before["instances"].pred_masks, after["instances"].pred_masks)
