"""One annotation of a file in COCO's format, with every value of it checked.

Letters: H x W pixels of a frame.
"""

import math
from typing import Any

from pycocotools import mask as mask_util

from videogcrf_det.errors import InputError

Content = dict[str, Any]
Size = tuple[int, int]  # H, W

# polygons of less area, in pixels, are drawn to see whether they cover any pixel's centre
SMALL = 4.0


def whole(value: Any) -> int | None:
    """A whole number as an int, whether JSON has it as 3 or as 3.0; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if math.isfinite(value) and value == int(value) else None


class Annotation:
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
