"""The metrics of whole tracks, over all videos and for each."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pycocotools.coco import COCO

from videogcrf_det.evaluation.tracking import tracking_metrics
from videogcrf_det.evaluation.tracks import (
    Results,
    VideoFrames,
    annotated_tracks,
    found_tracks,
    has_identities,
)
from videogcrf_det.evaluation.ytvis import track_precision, ytvis_results

FILE = "ytvis_results.json"
TASKS = ("ytvis", "tracking")

Metrics = dict[str, dict[str, float | None]]  # by task


class TrackMetrics(NamedTuple):
    """Metrics of tracks; empty where the annotations have no identities."""

    results: Metrics
    sequences: dict[str, Metrics]  # by name


def track_metrics(
    sequences: Mapping[str, Sequence[VideoFrames]],
    truth: COCO,
    results: Results,
    least_score: float,
    folder: Path | None,
) -> TrackMetrics:
    """The AP of YouTube-VIS, and how well identities are kept.

    Args:
        sequences: the videos of each name.
        truth: the annotations.
        results: detections by image, with category ids as in ``truth``; see tracks_of.
        least_score: of the detections that count for HOTA, IDF1 and MOTA, which know no scores.
        folder: gets FILE, for the servers of YouTube-VIS; None: nothing is written.
    """
    videos = [video for group in sequences.values() for video in group]
    found = [found_tracks(video, results) for video in videos]
    if folder is not None:
        text = json.dumps(ytvis_results(videos, found))
        Path(folder, FILE).write_text(text, encoding="utf-8")
    if not has_identities(truth, videos):
        return TrackMetrics({}, {})
    annotated = [annotated_tracks(video, truth) for video in videos]
    sure = [found_tracks(video, results, least_score) for video in videos]
    categories = truth.dataset["categories"]

    def metrics(part: slice) -> Metrics:
        return {
            "ytvis": track_precision(videos[part], annotated[part], found[part], categories),
            "tracking": tracking_metrics(annotated[part], sure[part]),
        }

    by_sequence, first = {}, 0
    for name, group in sequences.items():
        by_sequence[name] = metrics(slice(first, first + len(group)))
        first += len(group)
    return TrackMetrics(metrics(slice(None)), by_sequence)
