"""A look at everything in an annotation file before anything is trained, evaluated or drawn.

What has a clear meaning is completed: annotation ids are numbered again, ``iscrowd`` is 0, ``area``
and ``bbox`` come from the mask. Polygons that are none and masks without a pixel are left out and
counted in the log, as detectron2 does in training. All else is refused with the file, the id, and
what to do. Both the loader and the evaluator see the result, so that they agree.
"""

import json
import logging
import os
from collections import Counter
from typing import Any

from detectron2.utils.file_io import PathManager

from videogcrf_det.data.annotation import Annotation, whole
from videogcrf_det.data.few_labels import is_annotated, mark_unannotated
from videogcrf_det.data.ytvis import is_ytvis, ytvis_as_coco
from videogcrf_det.errors import InputError

logger = logging.getLogger("detectron2.data")  # so that log.txt has it

Content = dict[str, Any]


def read_annotations(json_file: str | os.PathLike[str]) -> Content:
    """Read a file in COCO's or YouTube-VIS's format and clean it; see clean_annotations.

    Raises:
        InputError: the file is missing, is not JSON, or is refused.
    """
    content, json_file = read_json(json_file), os.fspath(json_file)
    if is_ytvis(content):
        content = ytvis_as_coco(content, json_file)
    return clean_annotations(content, json_file)


def read_json(json_file: str | os.PathLike[str]) -> Any:
    """The parsed file; a byte-order mark is no part of it."""
    json_file = os.fspath(json_file)
    if not PathManager.isfile(json_file):
        raise InputError(
            f"{json_file} does not exist: make it with videogcrf prepare-davis-person "
            "(docs/datasets.md), set DETECTRON2_DATASETS to the folder that has the data, or name "
            "your own data with --train-data and --test-data"
        )
    try:
        with PathManager.open(json_file, encoding="utf-8-sig") as file:
            return json.load(file)
    except (ValueError, RecursionError) as error:  # neither JSON nor text
        raise InputError(f"{json_file} is not JSON ({error}): make it again") from error


def clean_annotations(content: Any, json_file: str) -> Content:
    """A parsed file with every value checked; the argument stays as it is.

    Args:
        content: the parsed JSON.
        json_file: its name, for errors.

    Returns:
        ``videos``, ``images``, ``annotations`` and ``categories``. Images that nobody annotated,
        which are context only, have ``annotated: False``, the others no such key (few_labels.py).
        Annotations have the ids 1, 2, ..., a ``bbox``, ``area`` and ``iscrowd``; ``segmentation``,
        where there is one, has valid polygons or compressed RLE of the frame's size. Do-not-care
        regions always have one.

    Raises:
        InputError: a value can neither be used nor be completed.
    """
    if not isinstance(content, dict) or not content.get("images"):
        raise InputError(f"{json_file} has no images: give a file in COCO's instance format")
    categories = clean_categories(content, json_file)
    images = _clean_images(_list(content, "images", json_file), json_file)
    videos = _clean_videos(_list(content, "videos", json_file), json_file)
    images = mark_unannotated(images, videos, json_file)
    context = {image["id"] for image in images if not is_annotated(image)}
    sizes = {image["id"]: (image["height"], image["width"]) for image in images}
    known = {category["id"] for category in categories}
    listed = _list(content, "annotations", json_file)
    annotations: list[Content] = []
    left_out: Counter[str] = Counter()
    seen: dict[str, Content] = {}
    for number, annotation in enumerate(listed):
        if not isinstance(annotation, dict):
            raise InputError(
                f"entry {number} of 'annotations' in {json_file} is {annotation!r:.40}, not an "
                "object: correct it"
            )
        named = annotation.get("id", f"number {number}")
        where = f"the annotation {named!r:.40} in {json_file}"
        first = seen.setdefault(str(named), annotation)
        if first is not annotation and first == annotation:
            raise InputError(f"{where} is there twice, so ids are not unique: take one out")
        clean = Annotation(annotation, where, sizes, known).clean()
        if not isinstance(clean, str) and clean["image_id"] in context:
            raise InputError(
                f"{where} is one of the image {clean['image_id']!r}, which by {json_file} is not "
                "annotated: take one of the two out"
            )
        if isinstance(clean, str):
            left_out[clean] += 1
        else:
            annotations.append({**clean, "id": len(annotations) + 1})
    _tell(left_out, len(listed), json_file)
    return {
        "videos": videos,
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def _tell(left_out: Counter[str], total: int, json_file: str) -> None:
    if not left_out:
        return
    counts = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
    if left_out.total() == total:
        raise InputError(
            f"none of the {total} annotations in {json_file} can be used ({counts}): give "
            "coordinates in pixels, polygons of at least three points"
        )
    logger.warning(f"{left_out.total()} of {total} annotations in {json_file} left out: {counts}")


def _list(content: Content, key: str, json_file: str) -> list[Any]:
    value = content.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InputError(f"{key!r} in {json_file} is {value!r:.40}, not a list: give a list")
    return value


def clean_categories(content: Any, json_file: str) -> list[Content]:
    """The categories of a parsed file in the order of their ids, which is that of the classes.

    Raises:
        InputError: there are none, or ids or names are missing or there twice.
    """
    listed = _list(content, "categories", json_file) if isinstance(content, dict) else []
    if not listed:
        raise InputError(f"{json_file} has no categories: add the list 'categories'")
    by_id: dict[int, Content] = {}
    names: dict[str, int] = {}
    for number, category in enumerate(listed):
        identity = whole(category.get("id")) if isinstance(category, dict) else None
        name = category.get("name") if isinstance(category, dict) else None
        if identity is None or not isinstance(name, str) or not name.strip():
            raise InputError(
                f"entry {number} of 'categories' in {json_file} is {category!r:.60}: give each a "
                "whole number as its id, and a name"
            )
        if identity in by_id:
            raise InputError(
                f"the category id {identity} in {json_file} is there twice, as "
                f"{by_id[identity]['name']!r} and {name!r}: give each its own"
            )
        if name in names:
            raise InputError(
                f"the categories {names[name]} and {identity} in {json_file} are both called "
                f"{name!r}: give each its own name, or make them one"
            )
        names[name] = identity
        by_id[identity] = {**category, "id": identity}
    return [by_id[identity] for identity in sorted(by_id)]


def _clean_videos(listed: list[Any], json_file: str) -> list[Content]:
    videos: dict[int, Content] = {}
    for number, video in enumerate(listed):
        identity = whole(video.get("id")) if isinstance(video, dict) else None
        if identity is None:
            raise InputError(
                f"entry {number} of 'videos' in {json_file} is {video!r:.60}: give each a whole "
                "number as its id"
            )
        if identity in videos:
            raise InputError(
                f"the video id {identity} in {json_file} is there twice: give each video its own"
            )
        videos[identity] = {**video, "id": identity}
    return list(videos.values())


def _clean_images(listed: list[Any], json_file: str) -> list[Content]:
    images: dict[Any, Content] = {}
    for number, image in enumerate(listed):
        if not isinstance(image, dict) or image.get("id") is None:
            raise InputError(
                f"entry {number} of 'images' in {json_file} is {image!r:.60}, without an id: give "
                "each image an id of its own"
            )
        clean = _clean_image(image, json_file)
        identity = clean["id"]
        if identity in images:
            raise InputError(
                f"the image id {identity!r} in {json_file} is there twice, as "
                f"{images[identity]['file_name']} and {clean['file_name']}: give each image an id "
                "of its own, in its annotations as well"
            )
        images[identity] = clean
    if len({type(identity) for identity in images}) > 1:
        raise InputError(
            f"image ids in {json_file} are numbers as well as text: give ids of one kind"
        )
    return list(images.values())


def _clean_image(image: Content, json_file: str) -> Content:
    named = image["id"]
    where = f"the image {named!r:.40} in {json_file}"
    identity = named if isinstance(named, str) else whole(named)
    if identity is None:
        raise InputError(f"{where} has an id that is neither a whole number nor text: give one")
    if not isinstance(image.get("file_name"), str) or not image["file_name"]:
        raise InputError(
            f"{where} has the file_name {image.get('file_name')!r:.40}: name the file of the frame"
        )
    clean = {**image, "id": identity}
    for key in ("height", "width"):
        value = whole(image.get(key))
        if value is None or value < 1:
            raise InputError(
                f"{where} has the {key} {image.get(key)!r:.40}: give the size of the frame in "
                "pixels, a whole number above 0"
            )
        clean[key] = value
    if image.get("video_id") is None:
        return {k: v for k, v in clean.items() if k not in ("video_id", "frame_id")}
    video, frame = whole(image["video_id"]), whole(image.get("frame_id"))
    if video is None or frame is None:
        raise InputError(
            f"{where} has video_id {image['video_id']!r:.40} and frame_id "
            f"{image.get('frame_id')!r:.40}: give whole numbers for both"
        )
    return {**clean, "video_id": video, "frame_id": frame}
