"""Instances through the frames of a video: those that were annotated, and those that were found.

All of it works on annotations and results in COCO's format, so that files can be evaluated too.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from videogcrf_det.masks import RLE, match, rle_iou

Result = dict[str, Any]  # a detection in COCO's format, with an RLE; perhaps with a track_id
Results = Mapping[Any, Sequence[Result]]  # by image

LEAST_IOU = 0.3  # masks of successive sightings that overlap less are of two instances
LONGEST_GAP = 5  # frames for which an instance may be missed


class VideoFrames(NamedTuple):
    """A video that is evaluated."""

    video_id: Any
    name: str
    images: list[Any]  # ids of its frames, in order
    sizes: list[tuple[int, int]]  # H, W of each


@dataclass
class Track:
    """One instance in the frames of a video.

    Attributes:
        identity: what tells it apart from the others of its video; None for do-not-care regions.
        category: its category id.
        score: the mean of its detections' scores; 1 for annotations.
        masks: by position in the video.
        crowd: whether it is do-not-care regions, all of them together.
    """

    identity: Any
    category: int
    score: float = 1.0
    masks: dict[int, RLE] = field(default_factory=dict)
    crowd: bool = False


def tracks_of(frames: Sequence[Sequence[Result]]) -> list[list[Any]]:
    """The identities of the detections of each frame of a video.

    They are the ``track_id`` of the detections where all have one, as in the results of an
    evaluation. Files of others, whose frames may not be at hand, may have none: then detections are
    followed by the overlap of their masks, within their category, through gaps of LONGEST_GAP
    frames.
    """
    if all("track_id" in found for frame in frames for found in frame):
        return [[found["track_id"] for found in frame] for frame in frames]
    last: dict[int, tuple[int, Result]] = {}  # identity -> where and how it was seen last
    number, identities = 0, []
    for position, frame in enumerate(frames):
        last = {k: v for k, v in last.items() if position - v[0] <= LONGEST_GAP + 1}
        known = list(last)
        before = [last[identity][1] for identity in known]
        overlap = rle_iou([r["segmentation"] for r in frame], [r["segmentation"] for r in before])
        for row, found in enumerate(frame):
            for column, earlier in enumerate(before):
                if found["category_id"] != earlier["category_id"]:
                    overlap[row, column] = 0
        pairs = match(overlap, LEAST_IOU)
        of_frame = []
        for row, found in enumerate(frame):
            if row in pairs:
                identity = known[pairs[row]]
            else:
                identity = number = number + 1
            last[identity] = position, found
            of_frame.append(identity)
        identities.append(of_frame)
    return identities


def found_tracks(video: VideoFrames, results: Results, least_score: float = 0.0) -> list[Track]:
    """The tracks of detections of a video that score ``least_score`` or more.

    The category of a track is the one whose detections have the greatest sum of scores.
    """
    frames = [list(results.get(image, ())) for image in video.images]
    sightings: dict[Any, list[tuple[int, Result]]] = defaultdict(list)
    for position, (frame, identities) in enumerate(zip(frames, tracks_of(frames), strict=True)):
        for found, identity in zip(frame, identities, strict=True):
            if found["score"] >= least_score:
                sightings[identity].append((position, found))
    tracks = []
    for identity, seen in sightings.items():
        votes: dict[int, float] = defaultdict(float)
        for _, found in seen:
            votes[found["category_id"]] += found["score"]
        score = sum(found["score"] for _, found in seen) / len(seen)
        masks = {position: found["segmentation"] for position, found in seen}
        tracks.append(Track(identity, max(votes, key=lambda c: votes[c]), score, masks))
    return tracks


def annotated_tracks(video: VideoFrames, truth: COCO) -> list[Track]:
    """The annotated tracks of a video; do-not-care regions of a category are one track together."""
    tracks = [
        Track(identity, category, masks={p: truth.annToRLE(a) for p, a in sightings.items()})
        for (_, identity, category), sightings in instances_by_identity(video, truth).items()
    ]
    regions: dict[int, dict[int, list[RLE]]] = defaultdict(lambda: defaultdict(list))
    for position, annotation in _annotations(video, truth):
        if annotation.get("iscrowd", 0):
            mask = truth.annToRLE(annotation)
            regions[annotation["category_id"]][position].append(mask)
    for category, frames in regions.items():
        masks = {position: coco_mask.merge(parts) for position, parts in frames.items()}
        tracks.append(Track(None, category, masks=masks, crowd=True))
    return tracks


def instances_by_identity(
    video: VideoFrames, truth: COCO
) -> dict[tuple[Any, Any, int], dict[int, dict[str, Any]]]:
    """The annotations of each instance of a video by position, without do-not-care regions.

    A ``track_id`` stands for one instance of one category of the video that an image is of.
    """
    found: dict[tuple[Any, Any, int], dict[int, dict[str, Any]]] = defaultdict(dict)
    for position, annotation in _annotations(video, truth):
        if not annotation.get("iscrowd", 0):
            of_video = truth.imgs[annotation["image_id"]].get("video_id")
            identity = of_video, annotation["track_id"], annotation["category_id"]
            found[identity][position] = annotation
    return found


def has_identities(truth: COCO, videos: Iterable[VideoFrames]) -> bool:
    """True if all annotated instances of the videos have a mask and a ``track_id``, if any are."""
    instances = [
        annotation
        for video in videos
        for _, annotation in _annotations(video, truth)
        if not annotation.get("iscrowd", 0)
    ]
    return bool(instances) and all(a.get("segmentation") and "track_id" in a for a in instances)


def _annotations(video: VideoFrames, truth: COCO) -> Iterable[tuple[int, dict[str, Any]]]:
    """Position and content of each annotation of a video."""
    for position, image in enumerate(video.images):
        for annotation in truth.imgToAnns[image]:
            yield position, annotation
