"""Depth of any video beside it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode

from video_depth.drawing import depth_range, draw_depth, draw_deviation
from video_depth.predictor import Depth, DepthPredictor
from videogcrf_det.data.depth import write_depth_png
from videogcrf_det.demo_loop import (
    DEMOS,
    Demo,
    Kept,
    changed_cfg,
    keep_maps,
)
from videogcrf_det.dispatch import Options
from videogcrf_det.drawing.overlay import Picture, enlarge
from videogcrf_det.drawing.panels import side_by_side
from videogcrf_det.errors import InputError

UNIT = 0.001  # metres a grey level of the PNGs, unless it is said
OPTIONS: Options = {
    "--depth": {
        "dest": "depth_folder",
        "metavar": "FOLDER",
        "help": "gets depth as PNGs of 16 bits",
    },
    "--unit": {
        "type": float,
        "default": UNIT,
        "metavar": "M",
        "help": "metres a grey level of --depth; default: %(default)s",
    },
    "--range": {
        "dest": "scale",
        "type": float,
        "nargs": 2,
        "metavar": ("NEAR", "FAR"),
        "help": "metres at the ends of the colours; default: after the first frame",
    },
}


@DEMOS.register("VideoDepth", OPTIONS)
def depth_demo(
    cfg: CfgNode,
    *,
    baseline: str | None = None,
    depth_folder: str | Path | None = None,
    unit: float = UNIT,
    scale: Sequence[float] | None = None,
) -> Demo:
    """Estimate the depth of a video, and draw it beside the frames.

    Args:
        cfg: of a VideoDepth.
        baseline: of what the network says of single frames; see DEMOS.
        depth_folder: a new folder, gets depth as PNGs of 16 bits and of the frames' size.
        unit: metres a grey level of those.
        scale: metres at the ends of the colours; None: after what the first frame shows.

    Raises:
        InputError: something of the above is not usable.
    """
    if not 0 < unit < np.inf:
        raise InputError(f"--unit must be above 0, got {unit}")
    if scale is not None and not 0 < scale[0] < scale[1] < np.inf:
        raise InputError(f"--range must be two distances, the nearer first, got {scale}")
    cfgs = [cfg] if baseline is None else [cfg, single_frames_cfg(cfg, baseline)]
    drawing = _Drawing(scale, [_caption(cfg), "Depth, single frames"][: len(cfgs)])
    kept = None
    if depth_folder is not None:
        kept = Kept("--depth", depth_folder, keep_maps(depth_folder, partial(_write, unit=unit)))
    return Demo(cfgs, lambda each: DepthPredictor(each), drawing.draw, kept)


def single_frames_cfg(cfg: CfgNode, weights: str = "") -> CfgNode:
    """The config of the network without other frames.

    Args:
        weights: its own; by default those of ``cfg``.

    Raises:
        InputError: it is ``cfg`` itself.
    """
    own = ["MODEL.WEIGHTS", weights or cfg.MODEL.WEIGHTS]
    if cfg.MODEL.VIDEO_GCRF.FIELDS:
        return changed_cfg(cfg, "MODEL.VIDEO_GCRF.FIELDS", "", *own)
    if not cfg.MODEL.DEPTH_HEAD.CHAIN:
        raise InputError(
            "--compare-baseline compares with single frames, and the config has neither a chain "
            "nor fields: leave it out, or give --fields"
        )
    return changed_cfg(cfg, "MODEL.VIDEO_GCRF.STRENGTH", 0.0, *own)


def _caption(cfg: CfgNode) -> str:
    if cfg.MODEL.VIDEO_GCRF.FIELDS:
        return "Depth, with fields"
    return "Depth, coupled over time" if cfg.MODEL.DEPTH_HEAD.CHAIN else "Depth"


def _write(path: Path, depth: Depth, unit: float) -> None:
    write_depth_png(path, depth.metres, unit)


class _Drawing:
    """Draws the depth of successive frames, all in the same colours."""

    def __init__(self, scale: Sequence[float] | None, captions: Sequence[str]) -> None:
        self.scale = scale
        self.captions = captions

    def draw(self, image: Picture, found: Sequence[Depth]) -> Picture:
        """A frame, what the predictors say of it, the last one first, and how sure the first is."""
        if self.scale is None:
            self.scale = depth_range(found[0].metres)
        near, far = self.scale
        panels = [("Frame", enlarge(image))]
        for caption, each in list(zip(self.captions, found, strict=True))[::-1]:
            panels.append(
                (f"{caption}, {near:.1f} to {far:.1f} m", draw_depth(each.metres, near, far))
            )
        if found[0].deviation is not None:
            panels.append(("Its deviation", draw_deviation(found[0].deviation)))
        return side_by_side(panels)
