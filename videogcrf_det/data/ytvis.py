"""The annotation format of YouTube-VIS (2019, 2021, 2022), and of OVIS, which has the same.

``videos`` have ``file_names``, and an annotation is a track: ``segmentations``, ``bboxes`` and
``areas`` have an entry for each frame, null where the instance is not seen.
"""

from typing import Any

from videogcrf_det.data.annotation import Content, whole
from videogcrf_det.data.few_labels import LIST
from videogcrf_det.errors import InputError


def is_ytvis(content: Any) -> bool:
    """True if a parsed file is in the format of YouTube-VIS."""
    videos = content.get("videos") if isinstance(content, dict) else None
    return (
        isinstance(videos, list)
        and bool(videos)
        and all(isinstance(video, dict) and "file_names" in video for video in videos)
        and not content.get("images")
    )


def ytvis_as_coco(content: Content, json_file: str) -> Content:
    """The frames and tracks of a YouTube-VIS file as COCO's images and annotations of videos.

    Args:
        content: the parsed file, of which nothing has been checked yet.
        json_file: its name, for errors.

    Returns:
        COCO's format, in which annotations have a ``track_id``, the id of the track. Values are
        checked by clean_annotations.

    Raises:
        InputError: frames or tracks are not what the format says.
    """
    images: list[Content] = []
    videos: list[Content] = []
    frames: dict[int, list[int]] = {}  # ids of the images of each video
    for number, video in enumerate(content["videos"]):
        names, identity = video["file_names"], whole(video.get("id"))
        if not isinstance(names, list) or not names or identity is None or identity in frames:
            raise InputError(
                f"entry {number} of 'videos' in {json_file} has the id {video.get('id')!r:.40} and "
                f"the file_names {names!r:.40}: give each an id of its own, a whole number, and a "
                "list of frames"
            )
        first = len(images) + 1
        frames[identity] = list(range(first, first + len(names)))
        annotated = {LIST: video[LIST]} if LIST in video else {}
        name = video.get("name") or _folder(names[0])
        videos.append({"id": identity, "name": name, **annotated})
        for position, name in enumerate(names):
            image = {"id": first + position, "file_name": name, "frame_id": position}
            size = {key: video.get(key) for key in ("height", "width")}
            images.append({**image, **size, "video_id": identity})
    annotations: list[Content] = []
    for number, track in enumerate(content.get("annotations") or []):
        annotations += _sightings(track, number, frames, json_file)
    coco = {"videos": videos, "images": images, "annotations": annotations}
    return {**coco, "categories": content.get("categories")}


def _folder(name: Any) -> str | None:
    """The name of a video in YouTube-VIS: the folder of its frames."""
    parts = name.split("/") if isinstance(name, str) else []
    return parts[-2] if len(parts) > 1 else None


def _sightings(
    track: Any, number: int, frames: dict[int, list[int]], json_file: str
) -> list[Content]:
    """The annotations of a track, one for each frame that it is seen in."""
    where = f"entry {number} of 'annotations' in {json_file}"
    if not isinstance(track, dict) or whole(track.get("id")) is None:
        raise InputError(f"{where} is {track!r:.40}: give each track a whole number as its id")
    identity = whole(track["id"])
    video = whole(track.get("video_id"))
    images = [] if video is None else frames.get(video, [])
    if not images:
        raise InputError(
            f"the track {identity} in {json_file} has the video_id {track.get('video_id')!r:.40}, "
            "which is not in 'videos': add it there, or take the track out"
        )
    lists = {key: track.get(key) for key in ("segmentations", "bboxes", "areas")}
    for key, values in lists.items():
        if values is not None and (not isinstance(values, list) or len(values) != len(images)):
            length = len(values) if isinstance(values, list) else repr(values)[:40]
            raise InputError(
                f"the track {identity} in {json_file} has {key} for {length} frames, its video has "
                f"{len(images)}: give one for each, null where it is not seen"
            )
    if lists["segmentations"] is None and lists["bboxes"] is None:
        raise InputError(
            f"the track {identity} in {json_file} has neither segmentations nor bboxes: add them"
        )
    sightings = []
    for position, image in enumerate(images):
        mask, box, area = (None if v is None else v[position] for v in lists.values())
        if mask is None and box is None:
            continue
        sighting = {"id": f"{identity}, frame {position}", "image_id": image, "track_id": identity}
        sighting |= {key: track.get(key) for key in ("category_id", "iscrowd")}
        given = {"segmentation": mask, "bbox": box, "area": area}
        sightings.append({**sighting, **{k: v for k, v in given.items() if v is not None}})
    return sightings
