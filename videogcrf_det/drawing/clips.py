"""The clips of a training, drawn: clips as the mapper hands them over."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data.detection_utils import convert_image_to_rgb
from detectron2.structures import BitMasks, PolygonMasks
from detectron2.utils.env import seed_all_rng

from videogcrf_det.data import ClipDatasetMapper, training_clips
from videogcrf_det.data.classes import check_classes
from videogcrf_det.drawing.overlay import Picture, draw_instances
from videogcrf_det.drawing.panels import side_by_side, write_png
from videogcrf_det.errors import InputError
from videogcrf_det.progress import progress

FRAMES_PER_ROW = 4


def draw_clip(clip: dict[str, Any], image_format: str) -> Picture:
    """Draw the frames of one training clip with masks, boxes and do-not-care, in rows of four.

    Args:
        clip: what ClipDatasetMapper returns: a dict with ``frames``, each with an ``image``
            (3, H, W) tensor and AnnotatedInstances with ``gt_boxes`` and ``gt_masks``.
        image_format: ``cfg.INPUT.FORMAT``, such as "BGR".
    """
    panels = []
    for frame in clip["frames"]:
        pixels = convert_image_to_rgb(frame["image"].permute(1, 2, 0), image_format)
        instances = frame["instances"]
        count = len(instances)
        masks, boxes = instances.ignore_regions.tensor.numpy(), np.zeros((0, 4))
        crowd = [False] * count + [True] * len(masks)
        if count:
            boxes = instances.gt_boxes.tensor.numpy()
            drawn = np.zeros((count, *pixels.shape[:2]), bool)
            if instances.has("gt_masks"):  # not with MODEL.MASK_ON False
                drawn = _bit_masks(instances.gt_masks, *pixels.shape[:2])
            masks = np.concatenate([drawn, masks])
        picture = draw_instances(
            np.ascontiguousarray(pixels), masks, range(len(masks)), boxes=boxes, crowd=crowd
        )
        caption = f"frame {frame['frame_id']}" if "frame_id" in frame else "still image"
        panels.append((caption, picture))
    rows = [
        side_by_side(panels[start : start + FRAMES_PER_ROW])
        for start in range(0, len(panels), FRAMES_PER_ROW)
    ]
    width = max(row.shape[1] for row in rows)
    return np.concatenate([_widen(row, width) for row in rows])


def write_clips(cfg: CfgNode, output_dir: str | Path, num_clips: int = 8) -> list[Path]:
    """Draw clips of DATASETS.TRAIN, evenly spread over it, one picture each.

    Returns:
        the files, named by the clip's number in the data set.

    Raises:
        InputError: ``num_clips`` is below 1, or the training data cannot be loaded.
    """
    if num_clips < 1:
        raise InputError(f"--num-clips must be at least 1, got {num_clips}")
    check_classes(cfg, datasets=[])
    clips = training_clips(cfg)
    mapper = ClipDatasetMapper(cfg, is_train=True)
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED)
    digits = math.ceil(math.log10(len(clips) + 1))
    paths = []
    for index in progress(spread(len(clips), num_clips), desc="clips", unit="clip"):
        picture = draw_clip(mapper(clips[index]), cfg.INPUT.FORMAT)
        paths.append(Path(output_dir, f"clip_{index:0{digits}d}.png"))
        write_png(paths[-1], picture)
    return paths


def spread(length: int, count: int) -> list[int]:
    """``count`` positions, or all if there are fewer, evenly spread over ``range(length)``.

    >>> spread(10, 3), spread(10, 1), spread(2, 5)
    ([1, 5, 8], [5], [0, 1])
    """
    count = min(length, count)
    return [(2 * index + 1) * length // (2 * count) for index in range(count)]


def _bit_masks(masks: BitMasks | PolygonMasks, height: int, width: int) -> np.ndarray:
    if isinstance(masks, PolygonMasks):
        masks = BitMasks.from_polygon_masks(masks, height, width)
    return masks.tensor.numpy()


def _widen(picture: Picture, width: int) -> Picture:
    """Repeat the background at the right edge up to a width."""
    return np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)), mode="edge")
