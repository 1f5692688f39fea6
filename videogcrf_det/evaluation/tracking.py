"""HOTA, IDF1 and MOTA of masks, computed by TrackEval.

* HOTA: Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", IJCV
  2021.
* IDF1: Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera
  Tracking", ECCV workshops 2016.
* MOTA and identity switches: Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking
  Performance: The CLEAR MOT Metrics", EURASIP JIVP 2008.
"""

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from videogcrf_det.evaluation.tracks import Track
from videogcrf_det.masks import RLE, rle_iou

METRICS = ("HOTA", "DetA", "AssA", "IDF1", "MOTA", "switches")
MATCH_IOU = 0.5  # of a detection and an instance, for IDF1, MOTA and switches


def has_trackeval() -> bool:
    """True if TrackEval is installed."""
    return importlib.util.find_spec("trackeval") is not None


def tracking_metrics(
    truth: Sequence[Sequence[Track]], found: Sequence[Sequence[Track]]
) -> dict[str, float | None]:
    """The metrics over all videos: means over the annotated categories, and the sum of switches.

    Detections that lie mostly on do-not-care regions and overlap no instance by MATCH_IOU are left
    out. Masks may overlap.

    Args:
        truth: the annotated tracks of each video.
        found: the tracks of each video, of confident detections alone.

    Returns:
        METRICS, in percent but for the switches, which are counted; None where there is no
        annotated track, or no TrackEval.
    """
    categories = {track.category for tracks in truth for track in tracks if not track.crowd}
    if not categories or not has_trackeval():
        return dict.fromkeys(METRICS)
    from trackeval.metrics import CLEAR, HOTA, Identity

    metrics = (HOTA(), *(kind({"PRINT_CONFIG": False}) for kind in (Identity, CLEAR)))
    by_category: list[dict[str, Any]] = []
    for category in sorted(categories):
        videos = [
            _as_trackeval(*([t for t in tracks if t.category == category] for tracks in pair))
            for pair in zip(truth, found, strict=True)
        ]
        values: dict[str, Any] = {}
        for metric in metrics:
            of_videos = {number: metric.eval_sequence(data) for number, data in enumerate(videos)}
            values |= metric.combine_sequences(of_videos)
        by_category.append(values)
    shares = {
        name: 100 * float(np.mean([np.mean(values[name]) for values in by_category]))
        for name in METRICS[:-1]
    }
    return {**shares, "switches": int(sum(values["IDSW"] for values in by_category))}


def _as_trackeval(truth: Sequence[Track], found: Sequence[Track]) -> dict[str, Any]:
    """A video as TrackEval's metrics take it: identities from 0, overlaps in each frame."""
    instances = [track for track in truth if not track.crowd]
    regions = [track for track in truth if track.crowd]
    length = 1 + max((max(t.masks) for t in (*truth, *found)), default=-1)
    gt_ids, tracker_ids, overlaps = [], [], []
    for position in range(length):
        annotated, detected = _seen(instances, position), _seen(found, position)
        masks = [found[number].masks[position] for number in detected]
        overlap = rle_iou([instances[n].masks[position] for n in annotated], masks)
        kept = ~_on_regions(masks, [r.masks[position] for r in regions if position in r.masks])
        kept |= (overlap >= MATCH_IOU).any(axis=0)
        gt_ids.append(np.array(annotated, int))
        tracker_ids.append(np.array(detected, int)[kept])
        overlaps.append(overlap[:, kept])
    # identities are to be without gaps, and a track may be left out altogether
    known, numbered = np.unique(
        np.concatenate([np.zeros(0, int), *tracker_ids]), return_inverse=True
    )
    cuts = np.cumsum([len(ids) for ids in tracker_ids])[:-1]
    return {
        "num_timesteps": length,
        "num_gt_ids": len(instances),
        "num_tracker_ids": len(known),
        "num_gt_dets": sum(map(len, gt_ids)),
        "num_tracker_dets": len(numbered),
        "gt_ids": gt_ids,
        "tracker_ids": np.split(numbered, cuts) if length else [],
        "similarity_scores": overlaps,
    }


def _seen(tracks: Sequence[Track], position: int) -> list[int]:
    return [number for number, track in enumerate(tracks) if position in track.masks]


def _on_regions(masks: list[RLE], regions: list[RLE]) -> NDArray[np.bool_]:
    """A flag for each of the masks that lie on do-not-care regions by more than half."""
    if not masks or not regions:
        return np.zeros(len(masks), bool)
    # with a crowd, this is the share of the detection that lies on it
    return coco_mask.iou(masks, [coco_mask.merge(regions)], [True])[:, 0] > 0.5
