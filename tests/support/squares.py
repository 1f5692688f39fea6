"""Videos of two squares, and what stands in for their detector."""

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from videogcrf_det.predictor import Prediction
from videogcrf_det.tracking import MaskTracker, identify

RED, BLUE = (250, 0, 0), (0, 0, 250)


def squares(number):
    """A red square that goes right, a blue one that comes towards it, below."""
    image = np.full((120, 160, 3), 100, np.uint8)
    image[30:60, 6 * number : 6 * number + 30] = RED
    image[85:115, 130 - 6 * number : 160 - 6 * number] = BLUE
    return image


class SquareDetector:
    """Stands in for VideoPredictor: red squares are of class 1, blue ones of class 0."""

    def __init__(self, cfg):
        self.threshold = cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST

    def __call__(self, frames):
        tracker = MaskTracker()
        for number, frame in enumerate(frames):
            masks = [frame[..., 2] > 200, frame[..., 0] > 200]  # of a BGR image
            classes, scores = [1, 0], [0.9, 0.7]
            if number % 2:
                masks, classes, scores = masks[::-1], classes[::-1], scores[::-1]
            kept = [i for i in range(2) if scores[i] > self.threshold and masks[i].any()]
            found = Instances(frame.shape[:2])
            found.pred_masks = torch.tensor(np.stack(masks))[kept]
            edges = [np.nonzero(mask) for mask in masks]
            found.pred_boxes = Boxes(
                [[x.min(), y.min(), x.max() + 1, y.max() + 1] for y, x in edges if len(y)]
            )[kept]
            found.scores = torch.tensor(scores)[kept]
            found.pred_classes = torch.tensor(classes)[kept]
            identify(tracker, frame, found)
            yield Prediction(frame, found)
