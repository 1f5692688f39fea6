"""Labels drawn over any video."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from numpy.typing import NDArray

from videogcrf_det.demo_loop import (
    DEMOS,
    Demo,
    Kept,
    Predictor,
    changed_cfg,
    keep_maps,
)
from videogcrf_det.dispatch import Options
from videogcrf_det.drawing.overlay import Picture, display_size
from videogcrf_det.drawing.panels import side_by_side
from videogcrf_det.errors import InputError
from videogcrf_det.segmentation.drawing import (
    OPACITY,
    LabelMap,
    draw_labels,
    palette_for,
    with_legend,
    write_label_map,
)
from videogcrf_det.segmentation.predictor import SemanticPredictor

OPTIONS: Options = {
    "--labels": {"metavar": "FOLDER", "help": "gets the label maps as indexed PNGs"},
    "--opacity": {
        "type": float,
        "default": OPACITY,
        "metavar": "P",
        "help": "of the labels' colours, from 0 to 1; default: %(default)s",
    },
}


@DEMOS.register("VideoSegmentor", OPTIONS)
def labels_demo(
    cfg: CfgNode,
    *,
    baseline: str | None = None,
    labels: str | Path | None = None,
    opacity: float = OPACITY,
) -> Demo:
    """Segment a video, and draw the labels over it, with a legend below.

    Args:
        cfg: of a VideoSegmentor.
        baseline: of what unaries say on their own; see DEMOS.
        labels: a new folder, gets the label maps as indexed PNG files of the frames' size.
        opacity: of the labels' colours, from 0 to 1.

    Raises:
        InputError: something of the above is not usable.
    """
    if not 0 <= opacity <= 1:
        raise InputError(f"--opacity must be from 0 to 1, got {opacity}")
    cfgs = [cfg] if baseline is None else [cfg, unary_cfg(cfg, baseline)]
    palette, captions = palette_for(cfg), [_caption(each) for each in cfgs]

    def draw(image: Picture, found: list[LabelMap]) -> Picture:
        if len(found) == 1:
            own_size = max(display_size(*image.shape[:2])) <= max(image.shape[:2])
            drawn = draw_labels(image, found[0], palette, opacity=opacity, own_size=own_size)
        else:
            pictures = [draw_labels(image, each, palette, opacity=opacity) for each in found]
            drawn = side_by_side(list(zip(captions, pictures, strict=True))[::-1])
        return with_legend(drawn, palette)

    write = partial(write_label_map, palette=palette)
    kept = None if labels is None else Kept("--labels", labels, keep_maps(labels, write))
    return Demo(cfgs, lambda each: _decided(SemanticPredictor(each)), draw, kept)


def unary_cfg(cfg: CfgNode, weights: str = "") -> CfgNode:
    """The config of the unaries alone.

    Args:
        weights: their own; by default those of ``cfg``.

    Raises:
        InputError: it is ``cfg`` itself.
    """
    if cfg.MODEL.PHASE == "unary":
        raise InputError(
            "--compare-baseline compares the unaries with the random field, and MODEL.PHASE is "
            "unary: leave it out, or name a joint model and MODEL.PHASE joint"
        )
    weights = weights or cfg.MODEL.WEIGHTS
    return changed_cfg(cfg, "MODEL.PHASE", "unary", "MODEL.WEIGHTS", weights)


def _caption(cfg: CfgNode) -> str:
    if cfg.MODEL.PHASE == "unary":
        return "Unaries alone, frame by frame"
    number = cfg.INPUT.CLIP.NUM_FRAMES
    return f"VideoGCRF, {number} frame{'s' * (number > 1)}"


def _decided(predictor: SemanticPredictor) -> Predictor:
    """The most probable label of every pixel, (H, W) uint8, in place of probabilities."""

    def decide(frames: Iterable[NDArray[np.uint8]]) -> Iterator[tuple[NDArray[np.uint8], Any]]:
        for frame, probabilities in predictor(frames):
            yield frame, probabilities.argmax(0).byte().numpy()

    return decide
