"""The clip of a video, and a point in it, that an affinity is shown of.

Letters: V frames of a clip, H x W pixels of a frame.
"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from detectron2.config import CfgNode
from numpy.typing import NDArray

from videogcrf_det.data import clip_indices, load_videos
from videogcrf_det.data.images import read_image
from videogcrf_det.data.mappers import named_if_unreadable
from videogcrf_det.drawing.colours import TrackColours
from videogcrf_det.drawing.overlay import Picture
from videogcrf_det.drawing.predictions import Annotated, annotated
from videogcrf_det.errors import InputError
from videogcrf_det.modeling import ClipRCNN
from videogcrf_det.progress import progress
from videogcrf_det.video import open_video

MIN_SCORE = 0.5  # of detections in which a point is looked for
Frame = dict[str, Any]
Mask = NDArray[np.bool_]
Point = tuple[int, int]  # x, y in pixels


class Clip(NamedTuple):
    """Successive frames of a video around a reference frame."""

    name: str  # of the video
    numbers: list[int]  # V positions in the video
    reference: int  # that of the reference frame in the clip
    pictures: list[Picture]  # V frames (H, W, 3), RGB
    truth: list[Annotated]  # V, or none for videos that are of no data set
    records: Sequence[Frame] = ()  # V "dataset dicts", or none
    dataset: str | None = None  # that they are of

    def instances(self, index: int) -> dict[int, Mask]:
        """Masks (H, W) of the annotated instances of a frame by their identity in the clip."""
        if not self.truth:
            return {}
        masks, colours, crowd = self.truth[index]
        return {c: m for c, m, ignored in zip(colours, masks, crowd, strict=True) if not ignored}


def clip_of_dataset(cfg: CfgNode, dataset: str, video: str | None, frame: int | None) -> Clip:
    """A clip of a video of a data set.

    Args:
        cfg: says how many frames a clip has.
        dataset: a registered data set.
        video: the name of one of its videos; None: the first that shows an instance.
        frame: position of the reference frame in the video; None: the middle one of those that
            show an instance.

    Raises:
        InputError: there is no such video or frame, or a frame cannot be read.
    """
    videos = load_videos(dataset)
    if video is not None:
        names = [str(each["video_name"]) for each in videos]
        videos = [each for each in videos if each["video_name"] == video]
        if not videos:
            some = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise InputError(f"the data set {dataset} has no video {video!r}: use one of {some}")
    shown = [[i for i, r in enumerate(each["frames"]) if _shows_instance(r)] for each in videos]
    chosen = next((index for index, frames in enumerate(shown) if frames), 0)
    records, name = videos[chosen]["frames"], str(videos[chosen]["video_name"])
    if frame is None:
        candidates = shown[chosen] or range(len(records))
        frame = candidates[len(candidates) // 2]
    if not 0 <= frame < len(records):
        raise InputError(
            f"--frame {frame} is not in the video {name!r}: its frames are 0 to {len(records) - 1}"
        )
    numbers = clip_indices(frame, len(records), cfg.INPUT.CLIP.NUM_FRAMES, stride=1)
    colours = TrackColours()
    pictures, truth = [], []
    for number in numbers:
        with named_if_unreadable(records[number]):
            pictures.append(read_image(records[number]["file_name"], "RGB"))
        truth.append(annotated(records[number], colours))
    shown_records = [records[number] for number in numbers]
    return Clip(name, numbers, numbers.index(frame), pictures, truth, shown_records, dataset)


def _shows_instance(record: Frame) -> bool:
    return any(not annotation.get("iscrowd", 0) for annotation in record.get("annotations", ()))


def clip_of_video(cfg: CfgNode, source: str | Path, frame: int | None) -> Clip:
    """A clip of any video, without annotations; no more of it is read and kept than needed.

    Args:
        cfg: says how many frames a clip has.
        source: see open_video.
        frame: position of the reference frame; None: the middle one, going by the file's header.

    Raises:
        InputError: there is no such frame, or no video.
    """
    video, size = open_video(source), cfg.INPUT.CLIP.NUM_FRAMES
    reference = (video.num_frames or 0) // 2 if frame is None else frame
    near: deque[Picture] = deque(maxlen=2 * size)
    if reference < 0:
        raise InputError(f"--frame counts from 0, got {reference}")
    count, end = 0, reference + size  # no clip around the reference goes on until there
    for image, _ in progress(video, desc=video.name, total=end, unit="frame", leave=False):
        near.append(image)
        count += 1
        if count > end:
            break
    if reference >= count:
        why = video.damage or f"its frames are 0 to {count - 1}"
        raise InputError(f"--frame {reference} is not in the video {video.name!r}: {why}")
    numbers = clip_indices(reference, count, size, stride=1)
    pictures = [near[number - count] for number in numbers]
    return Clip(video.name, numbers, numbers.index(reference), pictures, [])


def choose_point(clip: Clip, point: Point | None, model: ClipRCNN, inputs: list[Frame]) -> Point:
    """``point`` if there is one, else the one deepest inside the reference's largest instance.

    Args:
        clip: its annotated instances count; where the reference frame has none, detections.
        point: x, y in the reference frame.
        model: in evaluation mode.
        inputs: the V frames as it takes them.

    Raises:
        InputError: the point is outside the frame, or nothing is annotated or detected.
    """
    if point is not None:
        check_point(clip, point)
        return point
    masks = list(clip.instances(clip.reference).values())
    if not masks:
        (outputs,) = model([{"frames": inputs}])
        found = outputs[clip.reference]["instances"].to("cpu")
        if found.has("pred_masks"):
            masks = list(found[found.scores >= MIN_SCORE].pred_masks.numpy())
    if not any(mask.any() for mask in masks):
        where = reference_name(clip)
        raise InputError(f"nothing is annotated or detected in {where}: name a point, --point X,Y")
    return centre_point(max(masks, key=np.count_nonzero))


def check_point(clip: Clip, point: Point) -> None:
    """Raise InputError for a point that is outside the reference frame."""
    height, width = clip.pictures[clip.reference].shape[:2]
    if not (0 <= point[0] < width and 0 <= point[1] < height):
        raise InputError(
            f"--point {point[0]},{point[1]} is outside {reference_name(clip)}, which has {width} x "
            f"{height} pixels: give x from 0 to {width - 1} and y from 0 to {height - 1}"
        )


def reference_name(clip: Clip) -> str:
    """The name of the reference frame in sentences."""
    return f"frame {clip.numbers[clip.reference]} of {clip.name!r}"


def centre_point(mask: Mask) -> Point:
    """The pixel x, y of a mask (H, W) that is farthest from everything outside."""
    padded = np.pad(mask, 1).astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), mask.shape)
    return int(x), int(y)


def instance_at(clip: Clip, point: Point) -> list[Mask | None]:
    """Masks (H, W) of the smallest annotated instance at a point, None in frames without it."""
    x, y = point
    here = {key: mask for key, mask in clip.instances(clip.reference).items() if mask[y, x]}
    identity = min(here, key=lambda key: np.count_nonzero(here[key]), default=None)
    if identity is None:
        return [None] * len(clip.numbers)
    return [clip.instances(index).get(identity) for index in range(len(clip.numbers))]
