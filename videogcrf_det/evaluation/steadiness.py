"""The steadiness of a video's detections, for footage without annotations.

Three metrics of the tracks of one video, to compare detectors by (docs/evaluation.md says how to
read them):

* blinking: the share of tracks that are missed in a frame between two sightings, or are seen in one
  frame alone; after the fragment error of Zhang and Wang, "On the Stability of Video Detection and
  Tracking", 2017 (arXiv 1611.06467).
* flicker: by how much the area of a mask changes from one frame to the next, as a share of the
  larger one; after their scale error.
* warped IoU: of a track's mask, carried to the next frame by the optical flow, with its mask there;
  as Liu et al., "Efficient Semantic Video Segmentation with Per-frame Inference", ECCV 2020, take
  it of labels.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from tabulate import tabulate

from videogcrf_det.errors import InputError
from videogcrf_det.evaluation.results_file import read_list, what_is_wrong
from videogcrf_det.evaluation.stability import iou_of_partners, warp
from videogcrf_det.evaluation.tracks import Result, tracks_of
from videogcrf_det.motion.flow import DISFlow
from videogcrf_det.progress import progress
from videogcrf_det.video import open_video

HEADERS = ("results", "detections a frame", "tracks", "blinking", "flicker", "warped IoU", "pairs")


class Steadiness(NamedTuple):
    """The metrics of one file of results; None where there is nothing to compare."""

    detections: float  # a frame
    tracks: int
    blinking: float | None  # in percent, as the next two
    flicker: float | None
    warped_iou: float | None
    pairs: int  # sightings of a track in two successive frames, which the last two are means over
    outside: int  # results of images that are no frames of the video


def measure_steadiness(
    results: Sequence[str | Path],
    video: str | Path,
    *,
    confidence_threshold: float = 0.5,
    first_image: int = 0,
) -> list[Steadiness]:
    """Measure files of COCO results on the video that they are of, which is read once.

    Args:
        results: files of COCO results with masks, as the evaluation and ``demo.py --json`` write
            them. Without a ``track_id``, detections are followed by their overlap.
        video: a video file or a folder of frames.
        confidence_threshold: detections that score less are left out.
        first_image: the ``image_id`` of the first frame; the others follow in order.

    Returns:
        the metrics of each file.

    Raises:
        InputError: a file is not one or is of another video, or the video cannot be read.
    """
    if not 0 <= confidence_threshold <= 1:
        raise InputError(f"--confidence-threshold must be from 0 to 1, got {confidence_threshold}")
    for path in results:
        read_list(path)  # what is missing is missed before a video is read
    frames = open_video(video)
    meters: list[_Meter] = []
    flow_of, before = DISFlow(), None
    for frame in progress(frames, desc="Frames", total=frames.num_frames, unit="frame"):
        pixels = np.ascontiguousarray(frame.image[:, :, ::-1])
        if before is None:
            size = pixels.shape[0], pixels.shape[1]
            meters = [_Meter(p, size, first_image, confidence_threshold) for p in results]
            flow = np.zeros((*size, 2), np.float32)
        else:
            flow = flow_of(before, pixels)
        for meter in meters:
            meter.add(flow)
        before = pixels
    if frames.damage:
        raise InputError(frames.damage)
    return [meter.metrics() for meter in meters]


class _Meter:
    """Measures one file of results, frame by frame."""

    def __init__(
        self, path: str | Path, size: tuple[int, int], first_image: int, threshold: float
    ) -> None:
        """Read the results of a video whose frames have this size (H, W)."""
        self.path, self.first_image, self.position = path, first_image, 0
        by_image: dict[int, list[Result]] = defaultdict(list)
        height, width = size
        for number, result in enumerate(read_list(path)):
            given = result if isinstance(result, dict) else {}
            image, category = given.get("image_id"), given.get("category_id", 0)
            records = {image: {"height": height, "width": width}}
            reason = what_is_wrong(result, records, {category})
            if reason or not isinstance(image, int):
                raise InputError(
                    f"result {number} of {path} {reason or 'has an image_id that is no number'}: "
                    "name COCO results with masks, of this video"
                )
            if result["score"] >= threshold:
                by_image[image].append(result)
        last = max(by_image, default=first_image)
        self.frames = [by_image.pop(image, []) for image in range(first_image, last + 1)]
        self.outside = sum(map(len, by_image.values()))
        self.identities = tracks_of(self.frames)
        self.before: dict[Any, NDArray[np.bool_]] = {}
        self.seen: dict[Any, list[int]] = defaultdict(list)  # positions, by identity
        self.changes: list[float] = []
        self.overlaps: list[float] = []

    def add(self, flow: NDArray[np.float32]) -> None:
        """Take the next frame, and the flow (H, W, 2) from it to the one before."""
        position, self.position = self.position, self.position + 1
        now: dict[Any, NDArray[np.bool_]] = {}
        if position < len(self.frames):
            found = zip(self.frames[position], self.identities[position], strict=True)
            for result, identity in found:
                now[identity] = coco_mask.decode(result["segmentation"]).astype(bool)
                self.seen[identity].append(position)
        both = [identity for identity in now if identity in self.before]
        if both:
            first, second = (np.stack([m[i] for i in both]) for m in (self.before, now))
            areas = np.stack([first.sum(axis=(1, 2)), second.sum(axis=(1, 2))])
            self.changes += (1 - areas.min(axis=0) / np.maximum(areas.max(axis=0), 1)).tolist()
            self.overlaps += iou_of_partners(warp(first, flow), second).tolist()
        self.before = now

    def metrics(self) -> Steadiness:
        """The metrics of the frames so far, which are all."""
        outside = self.outside + sum(map(len, self.frames[self.position :]))
        if outside and not self.seen:
            raise InputError(
                f"{self.path} has no results of the {self.position} images from "
                f"{self.first_image} on, which the frames of the video would be: give the image_id "
                "of its first frame as --first-image"
            )
        blinking = [
            len(positions) == 1 or len(positions) <= positions[-1] - positions[0]
            for positions in self.seen.values()
        ]
        detections = sum(map(len, self.seen.values())) / self.position if self.position else 0.0
        return Steadiness(
            detections,
            len(self.seen),
            _percent(blinking),
            _percent(self.changes),
            _percent(self.overlaps),
            len(self.overlaps),
            outside,
        )


def _percent(values: Sequence[float]) -> float | None:
    return 100 * float(np.mean(values)) if values else None


def steadiness_table(results: Sequence[str | Path], measured: Sequence[Steadiness]) -> str:
    """The metrics as a table, and a line below it for each file with results of other images."""
    rows = [(path, *each[:-1]) for path, each in zip(results, measured, strict=True)]
    table = tabulate(rows, HEADERS, floatfmt=".1f", missingval="-", tablefmt="pipe")
    notes = [
        f"{each.outside} results of {path} are of images that are no frames of the video"
        for path, each in zip(results, measured, strict=True)
        if each.outside
    ]
    return "\n".join([table, *notes])
