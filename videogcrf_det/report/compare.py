"""Differences between two models: a score for each frame, and the frames to look at."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from videogcrf_det.drawing.predictions import MATCH_IOU, Record, annotated_masks
from videogcrf_det.evaluation.results_file import Results
from videogcrf_det.masks import RLE, match, rle_iou

NUM_DIFFERENCES = 6  # frames that are shown of either kind
LEAST_GAP = 8  # frames of a video that are nearer to each other look alike
LEAST_DIFFERENCE = 1


class Difference(NamedTuple):
    """A frame on which two models differ."""

    video: int  # its position in the data set
    frame: int  # its position in the video
    value: float  # by how much one is better


def frame_score(record: Record, results: Sequence[Mapping[str, Any]]) -> float:
    """The agreement of a frame's detections with its annotations.

    Detections are paired with annotated instances of their class, one to one, the pair of highest
    IoU first. The score is the sum of the IoUs of the pairs, divided by the number of instances or
    of detections, whichever is larger; 1 where there is neither. Detections that lie mostly on
    do-not-care regions and overlap no instance by MATCH_IOU are left out.

    Args:
        record: a loaded frame.
        results: its detections; see results_file.confident_results.

    Returns:
        from 0 to 1.
    """
    annotations = annotated_masks(record)
    regions = [encoded(a, record) for a in annotations if a.get("iscrowd", 0)]
    instances = [a for a in annotations if not a.get("iscrowd", 0)]
    found = [encoded(result, record) for result in results]
    overlap = rle_iou(found, [encoded(instance, record) for instance in instances])
    classes = [[item["category_id"] for item in items] for items in (results, instances)]
    overlap[np.not_equal.outer(*classes)] = 0
    if found and regions:
        # with a crowd, this is the share of the detection that lies on it
        on_regions = coco_mask.iou(found, [coco_mask.merge(regions)], [True])[:, 0]
        overlap = overlap[(on_regions <= 0.5) | (overlap >= MATCH_IOU).any(axis=1)]
    if not max(overlap.shape):
        return 1.0
    return float(sum(overlap[pair] for pair in match(overlap, 1e-6).items())) / max(overlap.shape)


def score_video(video: Record, results: Results) -> list[float]:
    """The score of each frame of a video that load_videos gave; see frame_score."""
    return [frame_score(r, results.get(r["image_id"], [])) for r in video["frames"]]


def greatest_differences(
    values: Sequence[Sequence[float]], count: int = NUM_DIFFERENCES
) -> list[Difference]:
    """The frames with the greatest differences, spread over the videos.

    Frames of a video are LEAST_GAP or more from each other, and there are no more of one video than
    it takes to reach ``count`` with all videos that have any.

    Args:
        values: for each video the differences of its frames; those below LEAST_DIFFERENCE are out.

    Returns:
        at most ``count``, the greatest first.
    """
    candidates = [
        Difference(video, frame, value)
        for video, of_video in enumerate(values)
        for frame, value in enumerate(of_video)
        if value >= LEAST_DIFFERENCE
    ]
    candidates.sort(key=lambda candidate: -candidate.value)
    most = math.ceil(count / max(len({candidate.video for candidate in candidates}), 1))
    chosen: list[Difference] = []
    for candidate in candidates:
        frames = [other.frame for other in chosen if other.video == candidate.video]
        apart = all(abs(frame - candidate.frame) >= LEAST_GAP for frame in frames)
        if apart and len(frames) < most and len(chosen) < count:
            chosen.append(candidate)
    return chosen


def encoded(item: Mapping[str, Any], record: Record) -> RLE:
    """The mask of an annotation or a result, which may be polygons or runs."""
    mask = item["segmentation"]
    if isinstance(mask, dict) and not isinstance(mask["counts"], list):
        return mask
    found = coco_mask.frPyObjects(mask, record["height"], record["width"])
    return coco_mask.merge(found) if isinstance(found, list) else found
