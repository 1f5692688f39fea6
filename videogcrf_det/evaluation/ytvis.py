"""AP of whole tracks, as YouTube-VIS has it, and its format of results.

A detection is the masks of an instance in all frames of a video. Its IoU with an annotated track is
the sum of the intersections over all frames, divided by the sum of the unions (Yang, Fan and Xu,
"Video Instance Segmentation", ICCV 2019). That is the IoU of two masks of the frames side by side,
so that all else is pycocotools' own.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from videogcrf_det.evaluation.coco_metrics import average_precision, evaluate_nothing
from videogcrf_det.evaluation.tracks import Track, VideoFrames
from videogcrf_det.masks import end_to_end

METRICS = ("AP", "AP50", "AP75", "AR1", "AR10")


def track_precision(
    videos: Sequence[VideoFrames],
    truth: Sequence[Sequence[Track]],
    found: Sequence[Sequence[Track]],
    categories: Sequence[Mapping[str, Any]],
) -> dict[str, float | None]:
    """AP and AR of tracks over all videos.

    AR1 and AR10 are the recalls with one and ten tracks a video, and categories are averaged over.

    Args:
        truth, found: the tracks of each video.
        categories: those of the annotations, with ``id`` and ``name``.

    Returns:
        METRICS in percent; None where there is no annotated track.
    """
    annotations = [
        {**item, "id": number, "iscrowd": int(track.crowd)}
        for number, (track, item) in enumerate(_as_coco(videos, truth), start=1)
    ]
    detections = [{**item, "score": track.score} for track, item in _as_coco(videos, found)]
    annotated = COCO()
    annotated.dataset = {
        "images": [
            {"id": number, "height": sum(h * w for h, w in video.sizes), "width": 1}
            for number, video in enumerate(videos)
        ],
        "annotations": annotations,
        "categories": list(categories),
    }
    with contextlib.redirect_stdout(io.StringIO()):
        annotated.createIndex()
        if detections:
            evaluation = COCOeval(annotated, annotated.loadRes(detections), "segm")
            evaluation.evaluate()
            evaluation.accumulate()
        else:
            evaluation = evaluate_nothing(annotated, "segm")
    return {**average_precision(evaluation), **_average_recall(evaluation)}


def _as_coco(
    videos: Sequence[VideoFrames], tracks: Sequence[Sequence[Track]]
) -> list[tuple[Track, dict[str, Any]]]:
    """Each track as an annotation of an image that is its whole video."""
    items = []
    for number, (video, of_video) in enumerate(zip(videos, tracks, strict=True)):
        for track in of_video:
            mask = end_to_end(track.masks, video.sizes)
            item = {"image_id": number, "category_id": track.category, "segmentation": mask}
            item |= {"area": int(coco_mask.area(mask)), "bbox": coco_mask.toBbox(mask).tolist()}
            items.append((track, item))
    return items


def _average_recall(evaluation: COCOeval) -> dict[str, float | None]:
    recall = evaluation.eval["recall"][:, :, 0, :]  # thresholds, categories, limits of detections
    metrics = {}
    for limit in (1, 10):
        values = recall[..., evaluation.params.maxDets.index(limit)]
        values = values[values > -1]
        metrics[f"AR{limit}"] = 100 * float(np.mean(values)) if values.size else None
    return metrics


def ytvis_results(
    videos: Sequence[VideoFrames], found: Sequence[Sequence[Track]]
) -> list[dict[str, Any]]:
    """Tracks in the format of YouTube-VIS, as its servers take them.

    Returns:
        for each track ``video_id``, ``category_id``, ``score``, and ``segmentations`` with an RLE
        or None for each frame.
    """
    return [
        {
            "video_id": video.video_id,
            "category_id": track.category,
            "score": track.score,
            "segmentations": [track.masks.get(position) for position in range(len(video.images))],
        }
        for video, tracks in zip(videos, found, strict=True)
        for track in tracks
    ]
