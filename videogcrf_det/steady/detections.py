"""A moving average of detections: what people do without fields, to compare with.

Boxes, scores and masks of a track are averaged over the last frames, and a track that is missed
keeps its average until it is out of the window: as in the ``DetectionsSmoother`` of the library
supervision, which averages boxes and scores.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor

from videogcrf_det.masks import match

LEAST_IOU = 0.3  # of a box with where its track was last


class _Track:
    """The detections of one object on the last frames; None where it was missed."""

    def __init__(self, window: int) -> None:
        self.seen: deque[Instances | None] = deque(maxlen=window)

    @property
    def last(self) -> Instances:
        """The place where it was seen last."""
        return next(found for found in reversed(self.seen) if found is not None)

    def mean(self) -> Instances:
        """One instance, of the averages."""
        found = [each for each in self.seen if each is not None]
        last = self.last
        result = Instances(last.image_size, **last.get_fields())
        result.pred_boxes = Boxes(_mean([each.pred_boxes.tensor for each in found]))
        result.scores = _mean([each.scores for each in found])
        if last.has("pred_masks"):
            result.pred_masks = _mean([each.pred_masks.float() for each in found]) >= 0.5
        return result


def average_detections(outputs: Iterable[dict[str, Any]], window: int) -> Iterator[dict[str, Any]]:
    """The outputs of the frames of a video with averaged instances, at once.

    Args:
        outputs: with ``instances`` as R-CNNs give them.
        window: frames, the newest among them.
    """
    tracks: list[_Track] = []
    for output in outputs:
        found = output["instances"]
        matched: dict[int, int] = {}
        if tracks and len(found):
            last = Instances.cat([track.last for track in tracks])
            overlap = pairwise_iou(last.pred_boxes, found.pred_boxes)
            overlap[last.pred_classes[:, None] != found.pred_classes] = 0
            matched = match(overlap.cpu().numpy(), LEAST_IOU)
        for index, track in enumerate(tracks):
            track.seen.append(found[matched[index]] if index in matched else None)
        tracks = [track for track in tracks if any(each is not None for each in track.seen)]
        for index in sorted(set(range(len(found))) - set(matched.values())):
            tracks.append(_Track(window))
            tracks[-1].seen.append(found[index])
        means = [track.mean() for track in tracks]
        yield {**output, "instances": Instances.cat(means) if means else found}


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean(0)
