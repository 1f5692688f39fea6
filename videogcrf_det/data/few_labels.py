"""Videos of which some frames alone are annotated; the others are context.

An image of COCO's format with ``"annotated": false``, or one that the list ``annotated_frames`` of
its video (whole numbers, as ``frame_id``) does not name, was looked at by nobody. It takes part in
the random field and in no loss, and evaluation leaves it out. An image without annotations is
another thing: there, nothing is to be found.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from videogcrf_det.data.annotation import Content, whole
from videogcrf_det.errors import InputError

KEY, LIST = "annotated", "annotated_frames"


def is_annotated(record: Content) -> bool:
    """True if an image, a frame's dataset dict, or a frame as read, has annotations of its own."""
    return bool(record.get(KEY, True))


def mark_unannotated(
    images: Sequence[Content], videos: Sequence[Content], json_file: str
) -> list[Content]:
    """Images with ``annotated: False`` where they are context, and no such key elsewhere.

    Args:
        images: cleaned.
        videos: those that the images name, as far as they are listed.
        json_file: named in errors.

    Raises:
        InputError: a value is not true or false, or a list names a frame that is not there.
    """
    listed = {video["id"]: _frames(video, json_file) for video in videos if LIST in video}
    missing = {video: set(frames) for video, frames in listed.items()}
    marked = []
    for image in images:
        given = image.get(KEY, True)
        if not isinstance(given, bool):
            raise InputError(
                f"the image {image['id']!r} in {json_file} has {KEY} {given!r:.40}: give true, or "
                "false where nobody annotated it"
            )
        video, frame = image.get("video_id"), image.get("frame_id")
        named = video not in listed or frame in listed[video]
        if video in missing:
            missing[video].discard(frame)
        rest = {key: value for key, value in image.items() if key != KEY}
        marked.append(rest if given and named else {**rest, KEY: False})
    for video, frames in missing.items():
        if frames:
            raise InputError(
                f"{LIST} of the video {video} in {json_file} names the frame {min(frames)}, which "
                "is not in 'images': add it there, or take it out"
            )
    return marked


def _frames(video: Content, json_file: str) -> set[int]:
    given: Any = video[LIST]
    frames = [whole(frame) for frame in given] if isinstance(given, list) else [None]
    if None in frames:
        raise InputError(
            f"{LIST} of the video {video['id']} in {json_file} is {given!r:.40}: give the "
            "frame_ids of the annotated frames, whole numbers"
        )
    return {frame for frame in frames if frame is not None}


def label_every(
    images: Iterable[Content], annotations: Iterable[Content], number: int
) -> tuple[list[Content], list[Content]]:
    """Keep the labels of the first frame of each video, and of each ``number``-th after it.

    Args:
        images: with ``frame_id``, counted from 0.
        annotations: of these images.
        number: 1 keeps all.

    Returns:
        images, those without labels as context; the annotations that remain.
    """
    if number < 1:
        raise InputError(f"--label-every is {number}: give a number of frames, 1 or more")
    marked = [
        image if image["frame_id"] % number == 0 else {**image, KEY: False} for image in images
    ]
    kept = {image["id"] for image in marked if is_annotated(image)}
    return marked, [each for each in annotations if each["image_id"] in kept]
