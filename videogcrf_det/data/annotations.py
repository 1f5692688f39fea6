"""A look at everything in an annotation file before anything is trained, evaluated or drawn.

What has a clear meaning is completed: annotation ids are numbered again, ``iscrowd`` is 0, ``area``
and ``bbox`` come from the mask. Polygons that are none and masks without a pixel are left out and
counted in the log, as detectron2 does in training. All else is refused with the file, the id, and
what to do. Both the loader and the evaluator see the result, so that they agree.
"""

import json
import logging
import math
import os
from collections import Counter
from typing import Any

from detectron2.utils.file_io import PathManager
from pycocotools import mask as mask_util

from videogcrf_det.errors import InputError

logger = logging.getLogger("detectron2.data")  # so that log.txt has it

Content = dict[str, Any]
Size = tuple[int, int]  # height, width

# polygons of less area, in pixels, are drawn to see whether they cover any pixel's centre
SMALL = 4.0


def read_annotations(json_file: str | os.PathLike[str]) -> Content:
    """Read a file in COCO's instance format and clean it; see clean_annotations.

    Raises:
        InputError: the file is missing, is not JSON, or is refused.
    """
    return clean_annotations(read_json(json_file), os.fspath(json_file))


def read_json(json_file: str | os.PathLike[str]) -> Any:
    """The parsed file; a byte-order mark is no part of it."""
    json_file = os.fspath(json_file)
    if not PathManager.isfile(json_file):
        raise InputError(
            f"{json_file} does not exist: make it with tools/prepare_davis_person.py "
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
        ``videos``, ``images``, ``annotations`` and ``categories``. Annotations have the ids 1, 2,
        ..., a ``bbox``, ``area`` and ``iscrowd``; ``segmentation``, where there is one, has valid
        polygons or compressed RLE of the frame's size. Do-not-care regions always have one.

    Raises:
        InputError: a value can neither be used nor be completed.
    """
    if not isinstance(content, dict) or not content.get("images"):
        raise InputError(f"{json_file} has no images: give a file in COCO's instance format")
    categories = clean_categories(content, json_file)
    images = _clean_images(_list(content, "images", json_file), json_file)
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
        clean = _Annotation(annotation, where, sizes, known).clean()
        if isinstance(clean, str):
            left_out[clean] += 1
        else:
            annotations.append({**clean, "id": len(annotations) + 1})
    _tell(left_out, len(listed), json_file)
    videos = _clean_videos(_list(content, "videos", json_file), json_file)
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


def whole(value: Any) -> int | None:
    """A whole number as an int, whether JSON has it as 3 or as 3.0; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if math.isfinite(value) and value == int(value) else None


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


class _Annotation:
    """One annotation while it is looked at."""

    def __init__(
        self, content: Content, where: str, sizes: dict[Any, Size], categories: set[int]
    ) -> None:
        self.content = content
        self.where = where
        self.sizes = sizes
        self.categories = categories

    def refuse(self, reason: str) -> InputError:
        return InputError(f"{self.where} {reason}")

    def clean(self) -> Content | str:
        """The annotation with everything in it; or why it is left out."""
        self.image = self._one_of(self.sizes, "image_id", "images")
        category = self._one_of(self.categories, "category_id", "categories")
        size = self.sizes[self.image]
        crowd = self._crowd()
        box = self._box()
        segmentation = self._segmentation(size)
        if isinstance(segmentation, str):
            return segmentation
        if box is None or not (box[2] and box[3]):
            if segmentation is None:
                if box is None:
                    raise self.refuse("has neither a bbox nor a segmentation: give one of them")
                return "with boxes without an area"
            box = mask_util.toBbox(_rle(segmentation, size)).tolist()
        self._check_inside(box, size)
        if segmentation is None and crowd:  # the region is the box
            x, y, w, h = box
            segmentation = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        clean = {key: value for key, value in self.content.items() if key != "segmentation"}
        if clean.get("track_id", 0) is None:
            del clean["track_id"]
        if isinstance(clean.get("track_id"), list | dict):
            raise self.refuse(f"has the track_id {clean['track_id']!r:.40}: give a number")
        clean.update(image_id=self.image, category_id=category, iscrowd=crowd, bbox=box)
        clean["area"] = self._area(segmentation, box, size)
        if segmentation is not None:
            clean["segmentation"] = segmentation
        return clean

    def _one_of(self, known: Any, key: str, listed: str) -> Any:
        value = self.content.get(key)
        value = value if isinstance(value, str) else whole(value)
        if value is None or value not in known:
            raise self.refuse(
                f"has the {key} {self.content.get(key)!r:.40}, which is not in {listed!r}: add it "
                "there, or take the annotation out"
            )
        return value

    def _crowd(self) -> int:
        value = self.content.get("iscrowd")
        if value is not None and value not in (0, 1):
            raise self.refuse(f"has iscrowd {value!r:.40}: give 0, or 1 for do-not-care")
        if self.content.get("ignore") not in (None, 0):
            raise self.refuse("has 'ignore', which is not COCO's: use iscrowd 1 for do-not-care")
        return int(value or 0)

    def _box(self) -> list[float] | None:
        box = self.content.get("bbox")
        if box is None or box == []:
            return None
        if not isinstance(box, list) or len(box) != 4 or not _numbers(box) or min(box[2:]) < 0:
            raise self.refuse(
                f"has the bbox {box!r:.60}: give [x, y, width, height] in pixels, or leave it out "
                "where there is a segmentation"
            )
        return box

    def _check_inside(self, box: list[float], size: Size) -> None:
        (height, width), (x, y, w, h) = size, box
        if x >= width or y >= height or x + w <= 0 or y + h <= 0:
            raise self.refuse(
                f"has the bbox {box}, outside its frame of {width} x {height}: give [x, y, width, "
                "height] in pixels of the frame"
            )

    def _area(self, segmentation: Any, box: list[float], size: Size) -> float:
        area = self.content.get("area")
        if area is not None and not (isinstance(area, int | float) and not isinstance(area, bool)):
            raise self.refuse(f"has the area {area!r:.40}: give a number, or leave it out")
        if area is not None and math.isfinite(area) and area > 0:
            return area
        if segmentation is None:
            return box[2] * box[3]
        return float(mask_util.area(_rle(segmentation, size)))

    def _segmentation(self, size: Size) -> Any:
        """Polygons, a compressed RLE, None if there is none, or why the annotation is left out."""
        value = self.content.get("segmentation")
        if value is None or value in ([], {}):
            return None
        if isinstance(value, dict):
            return self._run_lengths(value, size)
        if not isinstance(value, list) or not all(isinstance(each, list) for each in value):
            raise self.refuse(
                f"has the segmentation {value!r:.40}: give a list of polygons, [[x1, y1, x2, y2, "
                "...], ...], or RLE"
            )
        if not all(map(_numbers, value)) or (
            len(value) > 2 and all(len(polygon) == 2 for polygon in value)
        ):
            raise self.refuse(
                f"has the segmentation {value!r:.40}: give polygons as flat lists of numbers, "
                "[[x1, y1, x2, y2, ...], ...]"
            )
        polygons = [each for each in value if len(each) >= 6 and len(each) % 2 == 0]
        if not polygons:
            return "without a polygon of at least three points"
        doubtful = sum(map(_polygon_area, polygons)) < SMALL or not _reaches_into(polygons, size)
        if doubtful and not mask_util.area(_rle(polygons, size)):
            return "whose masks cover no pixel"
        return polygons

    def _run_lengths(self, value: Content, size: Size) -> Any:
        given = value.get("size")
        if given != list(size):
            raise self.refuse(
                f"has a mask of the size {given!r:.40}, its frame {list(size)} (height, width): "
                "prepare the annotations again"
            )
        counts = value.get("counts")
        compressed: Any = {"size": list(size), "counts": counts}
        if isinstance(counts, list):
            runs = counts if all(map(_is_count, counts)) else None
            if runs is not None:
                compressed = mask_util.frPyObjects(compressed, *size) if runs else None
        else:
            runs = _decode_counts(counts) if isinstance(counts, str) else None
        if not runs or min(runs) < 0 or sum(runs) != size[0] * size[1]:
            raise self.refuse(
                f"has a run-length encoding that is not one of {size[0]} x {size[1]} pixels: "
                "prepare the annotations again"
            )
        return compressed if sum(runs[1::2]) else "whose masks cover no pixel"


def _numbers(values: list[Any]) -> bool:
    return set(map(type, values)) <= {int, float} and all(map(math.isfinite, values))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32


def _decode_counts(text: str) -> list[int] | None:
    """The runs of a compressed RLE, as pycocotools' rleFrString; None if the text is not one.

    pycocotools itself trusts the text and reads and writes beyond it.
    """
    runs: list[int] = []
    value = shift = 0
    for code in text.encode("utf-8", "replace"):
        code -= 48
        if not 0 <= code < 64 or shift > 30:
            return None
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return None if shift else runs


def _polygon_area(polygon: list[float]) -> float:
    xs, ys = polygon[::2], polygon[1::2]
    twice = sum(
        x0 * y1 - x1 * y0
        for x0, y0, x1, y1 in zip(xs, ys, xs[1:] + xs[:1], ys[1:] + ys[:1], strict=True)
    )
    return abs(twice) / 2


def _reaches_into(polygons: list[list[float]], size: Size) -> bool:
    height, width = size
    return any(
        min(each[::2]) < width - 1
        and max(each[::2]) > 1
        and min(each[1::2]) < height - 1
        and max(each[1::2]) > 1
        for each in polygons
    )


def _rle(segmentation: Any, size: Size) -> Content:
    """Polygons or a compressed RLE as one RLE."""
    if isinstance(segmentation, dict):
        return segmentation
    return mask_util.merge(mask_util.frPyObjects(segmentation, *size))
