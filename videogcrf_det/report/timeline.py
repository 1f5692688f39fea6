"""The tracks of a video over time."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from videogcrf_det.drawing.predictions import MATCH_IOU, Record, annotated_masks
from videogcrf_det.evaluation.results_file import Results
from videogcrf_det.evaluation.tracks import tracks_of
from videogcrf_det.masks import match, rle_iou
from videogcrf_det.report.compare import encoded
from videogcrf_det.report.metrics import KINDS


class Span(NamedTuple):
    """Successive frames."""

    start: int
    length: int


class Bar(NamedTuple):
    """The record of a run on an annotated instance."""

    name: str  # of the run
    kind: str  # its colour: one of metrics.KINDS
    found: list[Span]
    switches: list[int]  # the frames from which on it has another identity
    frames: int  # in which it is found


class Lane(NamedTuple):
    """An annotated instance."""

    name: str
    annotated: list[Span]
    frames: int  # in which it is annotated
    bars: list[Bar]

    @property
    def note(self) -> list[tuple[Bar, str]]:
        """A description of each run, in words."""
        notes = []
        for bar in self.bars:
            gaps, switches = self._gaps(bar), len(bar.switches)
            words = [f"found in {bar.frames} of {self.frames} frames"]
            words += [
                _count(number, word) for number, word in ((gaps, "gap"), (switches, "switch"))
            ]
            notes.append((bar, ", ".join(word for word in words if word)))
        return notes

    def _gaps(self, bar: Bar) -> int:
        """The number of times that it is missed between two sightings where it is annotated."""
        shown = {f for span in self.annotated for f in range(span.start, span.start + span.length)}
        return sum(
            any(frame in shown for frame in range(before.start + before.length, after.start))
            for before, after in pairwise(bar.found)
        )


def _count(number: int, word: str) -> str:
    plural = f"{word}es" if word.endswith("ch") else f"{word}s"
    return f"{number} {word if number == 1 else plural}" if number else ""


def timeline(
    video: Record, results: Mapping[str, Results], class_names: Sequence[str]
) -> list[Lane]:
    """A lane for each annotated instance of a video; none if its annotations have no identities.

    In each frame, detections are paired with instances of their class, one to one, down to an IoU
    of MATCH_IOU; pairs of the frame before go on, then the pair of highest IoU comes first, as in
    the CLEAR MOT metrics. A switch is a frame with another identity than when the instance was
    found last.

    Args:
        video: as load_videos gives it.
        results: the detections of each run by its name; see results_file.confident_results.
        class_names: ``thing_classes``.
    """
    instances = [
        [a for a in annotated_masks(record) if not a.get("iscrowd", 0)]
        for record in video["frames"]
    ]
    if not all("track_id" in a for frame in instances for a in frame):
        return []
    annotated: dict[tuple[int, Any], list[int]] = {}
    for position, frame in enumerate(instances):
        for annotation in frame:
            annotated.setdefault(_identity(annotation), []).append(position)
    bars: dict[tuple[int, Any], list[Bar]] = {identity: [] for identity in annotated}
    for (name, found), kind in zip(results.items(), KINDS, strict=False):
        for identity, sightings in _follow(video, instances, found).items():
            bars[identity].append(_bar(name, kind, sightings))
    return [
        Lane(
            f"{class_names[category]} {identity}",
            _spans(positions),
            len(positions),
            bars[category, identity],
        )
        for (category, identity), positions in sorted(annotated.items(), key=lambda i: i[1][0])
    ]


def _identity(annotation: Mapping[str, Any]) -> tuple[int, Any]:
    return annotation["category_id"], annotation["track_id"]


def _follow(
    video: Record, instances: Sequence[Sequence[Mapping[str, Any]]], results: Results
) -> dict[tuple[int, Any], dict[int, Any]]:
    """The identity that each instance is found with, by position."""
    frames = [
        [{**r, "segmentation": encoded(r, record)} for r in results.get(record["image_id"], [])]
        for record in video["frames"]
    ]
    found: dict[tuple[int, Any], dict[int, Any]] = {
        _identity(annotation): {} for frame in instances for annotation in frame
    }
    before: dict[tuple[int, Any], Any] = {}
    for position, (record, shown, detected, identities) in enumerate(
        zip(video["frames"], instances, frames, tracks_of(frames), strict=True)
    ):
        overlap = rle_iou(
            [encoded(annotation, record) for annotation in shown],
            [result["segmentation"] for result in detected],
        )
        for row, annotation in enumerate(shown):
            for column, result in enumerate(detected):
                if overlap[row, column] < MATCH_IOU or (
                    annotation["category_id"] != result["category_id"]
                ):
                    overlap[row, column] = 0
                elif before.get(_identity(annotation)) == identities[column]:
                    overlap[row, column] += 1  # before all others
        pairs = match(overlap, MATCH_IOU)
        before = {_identity(shown[row]): identities[column] for row, column in pairs.items()}
        for identity, as_found in before.items():
            found[identity][position] = as_found
    return found


def _bar(name: str, kind: str, sightings: Mapping[int, Any]) -> Bar:
    switches = [
        after for before, after in pairwise(sightings) if sightings[before] != sightings[after]
    ]
    return Bar(name, kind, _spans(list(sightings)), switches, len(sightings))


def _spans(positions: Sequence[int]) -> list[Span]:
    """Ascending positions as runs of successive ones."""
    spans: list[Span] = []
    if positions:
        for part in np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1):
            spans.append(Span(int(part[0]), len(part)))
    return spans
