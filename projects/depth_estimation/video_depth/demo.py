"""Depth of any video beside it; what the project's demo.py does."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode

from video_depth.drawing import depth_range, draw_depth, draw_deviation
from video_depth.predictor import Depth, DepthPredictor
from videogcrf_det.data.depth import write_depth_png
from videogcrf_det.demo_loop import (
    changed_cfg,
    check_apart,
    check_paths,
    keep_maps,
    write_predictions,
)
from videogcrf_det.drawing.overlay import Picture, enlarge
from videogcrf_det.drawing.panels import side_by_side
from videogcrf_det.errors import InputError
from videogcrf_det.video import open_video

UNIT = 0.001  # metres a grey level of the PNGs, unless it is said


def run_demo(
    cfg: CfgNode,
    source: str | Path,
    output: str | Path,
    *,
    compare_baseline: bool = False,
    depth_folder: str | Path | None = None,
    unit: float = UNIT,
    scale: tuple[float, float] | None = None,
    fps: float | None = None,
    max_frames: int | None = None,
) -> None:
    """Estimate the depth of a video, and draw it beside the frames.

    Memory and what an interrupt or a damaged input leave are as in videogcrf_det.demo.

    Args:
        cfg: a config of VideoDepth, with trained weights in MODEL.WEIGHTS.
        source: a video file, a folder of images, or the number of a camera; see open_video.
        output: an mp4 file, or a new folder for PNG files.
        compare_baseline: show what the same network says of single frames as well.
        depth_folder: a new folder, gets depth as PNGs of 16 bits and of the frames' size.
        unit: metres a grey level of those.
        scale: metres at the ends of the colours; None: after what the first frame shows.
        fps: frames a second of a folder of images, by default 10.
        max_frames: stop after so many.

    Raises:
        InputError: something of the above is not usable, or only a part of the video could be read.
        KeyboardInterrupt: after Ctrl-C.
    """
    output = Path(output)
    check_paths(source, output, max_frames)
    if depth_folder is not None:
        check_apart("--depth", depth_folder, source, output)
    if not 0 < unit < np.inf:
        raise InputError(f"--unit must be above 0, got {unit}")
    if scale is not None and not 0 < scale[0] < scale[1] < np.inf:
        raise InputError(f"--range must be two distances, the nearer first, got {scale}")
    cfgs = [cfg, single_frames_cfg(cfg)] if compare_baseline else [cfg]
    video = open_video(source, fps)
    drawing = _Drawing(scale, [_caption(cfg), "Depth, single frames"][: len(cfgs)])
    write = partial(_write, unit=unit)
    write_predictions(
        video,
        [DepthPredictor(each) for each in cfgs],
        drawing.draw,
        output,
        max_frames=max_frames,
        keep=None if depth_folder is None else keep_maps(depth_folder, write),
        kept=depth_folder,
    )


def single_frames_cfg(cfg: CfgNode) -> CfgNode:
    """The config of the same network without other frames.

    Raises:
        InputError: it is ``cfg`` itself.
    """
    if cfg.MODEL.VIDEO_GCRF.FIELDS:
        return changed_cfg(cfg, "MODEL.VIDEO_GCRF.FIELDS", "")
    if not cfg.MODEL.DEPTH_HEAD.CHAIN:
        raise InputError(
            "--compare-baseline compares with single frames, and the config has neither a chain "
            "nor fields: leave it out, or give --fields"
        )
    return changed_cfg(cfg, "MODEL.VIDEO_GCRF.STRENGTH", 0.0)


def _caption(cfg: CfgNode) -> str:
    if cfg.MODEL.VIDEO_GCRF.FIELDS:
        return "Depth, with fields"
    return "Depth, coupled over time" if cfg.MODEL.DEPTH_HEAD.CHAIN else "Depth"


def _write(path: Path, depth: Depth, unit: float) -> None:
    write_depth_png(path, depth.metres, unit)


class _Drawing:
    """Draws the depth of successive frames, all in the same colours."""

    def __init__(self, scale: tuple[float, float] | None, captions: Sequence[str]) -> None:
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
                (f"{caption}, {near:.1f} to {far:.1f} m", draw_depth(each.metres, *self.scale))
            )
        if found[0].deviation is not None:
            panels.append(("Its deviation", draw_deviation(found[0].deviation)))
        return side_by_side(panels)
