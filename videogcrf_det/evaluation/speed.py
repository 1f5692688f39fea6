"""AP of slow, medium and fast instances.

How fast an instance is, is told by its IoU with itself in the frames around it, as in Zhu et al.,
"Flow-Guided Feature Aggregation for Video Object Detection", ICCV 2017: on average above 0.9 it is
slow, below 0.7 fast, between them medium.
"""

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from videogcrf_det.evaluation.coco_metrics import (
    accumulate_all_areas,
    average_precision,
    every_area,
)
from videogcrf_det.evaluation.tracks import VideoFrames, instances_by_identity

REACH = 10  # frames before and after
SPEEDS = ("slow", "medium", "fast")
FASTEST_SLOW, FASTEST_MEDIUM = 0.9, 0.7  # mean IoU


def speeds(truth: COCO, videos: Iterable[VideoFrames]) -> dict[int, str]:
    """One of SPEEDS for each annotated instance of a frame, by the id of its annotation.

    Overlaps are those of boxes, which moving limbs change less than masks. An instance without
    another sighting within REACH frames has none.
    """
    found = {}
    for video in videos:
        for sightings in instances_by_identity(video, truth).values():
            boxes = {position: a["bbox"] for position, a in sightings.items()}
            for position, annotation in sightings.items():
                near = range(position - REACH, position + REACH + 1)
                others = [boxes[p] for p in near if p != position and p in boxes]
                if others:
                    itself = np.array([annotation["bbox"]], float)
                    overlap = coco_mask.iou(itself, np.array(others, float), [0] * len(others))
                    found[annotation["id"]] = _speed(float(overlap.mean()))
    return found


def _speed(overlap: float) -> str:
    if overlap > FASTEST_SLOW:
        return "slow"
    return "medium" if overlap >= FASTEST_MEDIUM else "fast"


def precision_by_speed(evaluation: COCOeval, speed: Mapping[int, str]) -> dict[str, float | None]:
    """AP of the instances of each speed, of an evaluation that was run.

    Instances of other speeds count neither for nor against, nor does what is found on them. A
    wrong detection counts for the speed of the instance that it overlaps most, and for all three
    where it overlaps none. (The original code gives the latter to each by its share.)

    Args:
        speed: see ``speeds``.

    Returns:
        ``AP-slow`` and so on, in percent; None where there is no instance of that speed.
    """
    metrics = {}
    for name in SPEEDS:
        part = copy.copy(evaluation)
        part._gts = defaultdict(list)
        for key, instances in evaluation._gts.items():
            part._gts[key] = [
                {**gt, "ignore": int(gt["iscrowd"] or speed.get(gt["id"]) != name)}
                for gt in instances
            ]
        params = part.params
        results = [
            _of_others_ignored(part, image, category)
            for category in params.catIds
            for image in params.imgIds
        ]
        accumulated = accumulate_all_areas(evaluation, params.imgIds, results)
        metrics[f"AP-{name}"] = average_precision(accumulated)["AP"]
    return metrics


def _of_others_ignored(part: COCOeval, image: Any, category: int) -> dict[str, Any] | None:
    """The matches of an image, in which detections near ignored instances are ignored."""
    result = part.evaluateImg(image, category, every_area(part), part.params.maxDets[-1])
    overlaps = part.ious[image, category]
    instances = part._gts[image, category]
    # the share of a detection that lies on a crowd is no nearness to an instance
    nearness = [n for n, instance in enumerate(instances) if not instance["iscrowd"]]
    if result is None or not len(overlaps) or not nearness:
        return result
    overlaps = overlaps[:, nearness]
    others = np.array([instances[n]["ignore"] for n in nearness], bool)[overlaps.argmax(axis=1)]
    others &= overlaps.max(axis=1) > 0
    result["dtIgnore"] = result["dtIgnore"] | ((result["dtMatches"] == 0) & others)
    return result
