"""Detections drawn over any video."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.structures import Instances

from videogcrf_det.config_keys import without_fields
from videogcrf_det.data.classes import check_classes, head_of, number_of_classes, read_classes
from videogcrf_det.demo_loop import (
    DEMOS,
    Demo,
    Keeper,
    Kept,
    Predictor,
    changed_cfg,
)
from videogcrf_det.dispatch import DETECTORS, Options
from videogcrf_det.drawing.colours import COLOUR_MEMORY, TrackColours
from videogcrf_det.drawing.overlay import Picture, draw_instances
from videogcrf_det.drawing.panels import side_by_side
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write
from videogcrf_det.masks import mask_iou, match
from videogcrf_det.predictor import VideoPredictor
from videogcrf_det.tracking import MaskTracker, fill_gaps

MATCH_IOU = 0.5  # masks of two detectors that overlap so much are of one instance
# which detections are kept, and which are filled in; see dispatch.Options
DETECTION_OPTIONS: Options = {
    "--confidence-threshold": {
        "type": float,
        "default": 0.5,
        "metavar": "P",
        "help": "default: %(default)s",
    },
    "--fill-gaps": {
        "dest": "longest_gap",
        "type": int,
        "default": 0,
        "metavar": "N",
        "help": "fill in objects that are missed for up to N frames; default: 0",
    },
}
JSON_OPTION = {"dest": "json_file", "metavar": "FILE", "help": "gets detections as COCO results"}


@DEMOS.register(DETECTORS, {**DETECTION_OPTIONS, "--json": JSON_OPTION})
def detections_demo(
    cfg: CfgNode,
    *,
    baseline: str | None = None,
    confidence_threshold: float = 0.5,
    json_file: str | Path | None = None,
    longest_gap: int = 0,
) -> Demo:
    """Detect and follow instances in a video, and draw them over it.

    Args:
        cfg: of a detector with masks.
        baseline: of the detector without fields; see DEMOS.
        confidence_threshold: detections that score no more are left out.
        json_file: gets the detections as COCO results; docs/demo.md describes them.
        longest_gap: the most frames for which a missed object is filled in; see fill_gaps.

    Raises:
        InputError: something of the above is not usable.
    """
    cfg = confident_cfg(cfg, confidence_threshold, longest_gap)
    if json_file is not None and Path(json_file).is_dir():
        raise InputError(f"--json {json_file} is a folder: name a file")
    if not cfg.MODEL.MASK_ON:
        raise InputError("MODEL.MASK_ON is False, and masks are what is drawn: use another config")
    cfgs = [cfg] if baseline is None else [cfg, baseline_cfg(cfg, baseline)]
    if cfg.MODEL.VIDEO_GCRF.FIELDS:
        captions = ["With fields", "Per-frame detector"]
    else:
        captions = [
            f"VideoGCRF, {cfg.INPUT.CLIP.NUM_FRAMES} frames",
            "Per-frame detector" if baseline else "Same weights, uncoupled",
        ]
    categories = categories_of(cfg)
    drawing = _Drawing([name for _, name in categories], captions[: len(cfgs)])
    kept = None
    if json_file is not None:
        kept = Kept("--json", json_file, coco_results(categories, json_file))
    return Demo(cfgs, lambda each: predictor_of(each, longest_gap), drawing.draw, kept)


def confident_cfg(cfg: CfgNode, confidence_threshold: float, longest_gap: int) -> CfgNode:
    """The config of a detector that gives detections of that confidence alone.

    Raises:
        InputError: that, or the gap that is to be filled, is out of range.
    """
    if not 0 <= confidence_threshold <= 1:
        raise InputError(f"--confidence-threshold must be from 0 to 1, got {confidence_threshold}")
    if longest_gap < 0:
        raise InputError(f"--fill-gaps must be at least 0, got {longest_gap}")
    return changed_cfg(cfg, f"{head_of(cfg)}.SCORE_THRESH_TEST", float(confidence_threshold))


def predictor_of(cfg: CfgNode, longest_gap: int) -> Predictor:
    """A VideoPredictor, whose gaps are filled in."""
    if not longest_gap:
        return VideoPredictor(cfg)
    memory = max(longest_gap, MaskTracker().memory)
    predictor = VideoPredictor(cfg, make_tracker=lambda: MaskTracker(memory=memory))
    return lambda frames: fill_gaps(predictor(frames), longest_gap)


def baseline_cfg(cfg: CfgNode, weights: str = "") -> CfgNode:
    """The config of the detector that fields or a VideoGCRF were put into.

    Args:
        weights: its own; by default those of ``cfg`` serve it as well.

    Raises:
        InputError: there is neither in ``cfg``.
    """
    if cfg.MODEL.VIDEO_GCRF.FIELDS:
        own = weights or cfg.MODEL.WEIGHTS
        return changed_cfg(without_fields(cfg), "MODEL.WEIGHTS", own)
    if cfg.MODEL.BACKBONE.NAME != "build_video_gcrf_backbone":
        raise InputError(
            "--compare-baseline needs --fields or a config with a VideoGCRF, and "
            f"MODEL.BACKBONE.NAME is {cfg.MODEL.BACKBONE.NAME}: leave it out, or name either"
        )
    return changed_cfg(
        cfg,
        *["MODEL.BACKBONE.NAME", cfg.MODEL.VIDEO_GCRF.BACKBONE_NAME],
        *["MODEL.WEIGHTS", weights or cfg.MODEL.WEIGHTS],
    )


class _Drawing:
    """Draws what one detector, or a second one as well, found on successive frames."""

    def __init__(self, class_names: Sequence[str], captions: Sequence[str]) -> None:
        self.class_names = class_names
        self.captions = captions
        self.colours = [TrackColours(COLOUR_MEMORY) for _ in captions]

    def draw(self, image: Picture, found: Sequence[Instances]) -> Picture:
        """A frame with its instances; those of the second detector to the left of the first's."""
        first = found[0].pred_masks.numpy()
        colours = self.colours[0].update(found[0].track_ids.tolist())
        if len(found) == 1:
            return self._draw(image, found[0], colours, own_size=True)
        second = found[1].pred_masks.numpy()
        # what both have found has one colour
        pairs = match(mask_iou(second, first), MATCH_IOU)
        known = [colours[pairs[i]] if i in pairs else None for i in range(len(second))]
        own = self.colours[1].update(found[1].track_ids.tolist(), known, reserved=colours)
        drawn = [
            self._draw(image, instances, colours_of)
            for colours_of, instances in zip((colours, own), found, strict=True)
        ]
        return side_by_side(list(zip(self.captions, drawn, strict=True))[::-1])

    def _draw(
        self, image: Picture, found: Instances, colours: Sequence[int], own_size: bool = False
    ) -> Picture:
        return draw_instances(
            image,
            found.pred_masks.numpy(),
            colours,
            labels=self._labels(found),
            dashed=found.filled.tolist() if found.has("filled") else None,
            own_size=own_size,
        )

    def _labels(self, instances: Instances) -> list[str]:
        # the name of the only class would only hide the picture
        several = len(self.class_names) > 1
        names = [f"{self.class_names[i]} " if several else "" for i in instances.pred_classes]
        return [f"{name}{s:.0%}" for name, s in zip(names, instances.scores, strict=True)]


def categories_of(cfg: CfgNode) -> list[tuple[int, str]]:
    """Ids and names of the classes: those of the first test or training set, or numbers."""
    number = number_of_classes(cfg)
    names = (*cfg.DATASETS.TEST[:1], *cfg.DATASETS.TRAIN[:1])
    known = [classes for classes in map(read_classes, names) if classes and len(classes) == number]
    if known:
        if any([*each.values()] != [*known[0].values()] for each in known):
            check_classes(cfg, cfg.DATASETS.TEST[:1])
        return list(known[0].items())
    return [(i + 1, f"class {i + 1}") for i in range(number)]


@contextlib.contextmanager
def coco_results(categories: Sequence[tuple[int, str]], json_file: str | Path) -> Iterator[Keeper]:
    """Yield a function that adds the first detector's instances to a list in a JSON file."""
    with atomic_write(json_file) as temporary, temporary.open("w") as file:
        start = "["

        def add(number: int, time: Fraction, found: list[Instances]) -> None:
            nonlocal start
            results = instances_to_coco_json(found[0], number)
            for index, result in enumerate(results):
                category_id, category = categories[result["category_id"]]
                result |= {"category_id": category_id, "category": category}
                result["track_id"] = int(found[0].track_ids[index])
                if found[0].has("filled"):
                    result["filled"] = bool(found[0].filled[index])
                result |= {"frame_id": number, "timestamp": round(float(time), 6)}
                file.write(start + "\n" + json.dumps(result))
                start = ","

        yield add
        file.write("[]\n" if start == "[" else "\n]\n")
