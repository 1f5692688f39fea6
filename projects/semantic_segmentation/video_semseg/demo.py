"""Labels drawn over any video; what the project's demo.py does."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from numpy.typing import NDArray

from video_semseg.drawing import (
    OPACITY,
    LabelMap,
    draw_labels,
    palette_for,
    with_legend,
    write_label_map,
)
from video_semseg.predictor import SemanticPredictor
from videogcrf_det.demo_loop import (
    Predictor,
    changed_cfg,
    check_apart,
    check_paths,
    keep_maps,
    write_predictions,
)
from videogcrf_det.drawing.overlay import Picture, display_size
from videogcrf_det.drawing.panels import side_by_side
from videogcrf_det.errors import InputError
from videogcrf_det.video import open_video


def run_demo(
    cfg: CfgNode,
    source: str | Path,
    output: str | Path,
    *,
    compare_baseline: bool = False,
    labels: str | Path | None = None,
    opacity: float = OPACITY,
    fps: float | None = None,
    max_frames: int | None = None,
) -> None:
    """Segment a video, and draw the labels over it, with a legend below.

    Memory and what an interrupt or a damaged input leave are as in videogcrf_det.demo.

    Args:
        cfg: a config of VideoSegmentor, with trained weights in MODEL.WEIGHTS.
        source: a video file, a folder of images, or the number of a camera; see open_video.
        output: an mp4 file, or a new folder for PNG files.
        compare_baseline: show what the unaries of the same weights say on their own beside it.
        labels: a new folder, gets the label maps as indexed PNG files of the frames' size.
        opacity: of the labels' colours, from 0 to 1.
        fps: frames a second of a folder of images, by default 10.
        max_frames: stop after so many.

    Raises:
        InputError: something of the above is not usable, or only a part of the video could be read.
        KeyboardInterrupt: after Ctrl-C.
    """
    output = Path(output)
    if not 0 <= opacity <= 1:
        raise InputError(f"--opacity must be from 0 to 1, got {opacity}")
    check_paths(source, output, max_frames)
    if labels is not None:
        check_apart("--labels", labels, source, output)
    cfgs = [cfg, unary_cfg(cfg)] if compare_baseline else [cfg]
    video = open_video(source, fps)
    palette, captions = palette_for(cfg), [_caption(each) for each in cfgs]

    def draw(image: Picture, found: list[LabelMap]) -> Picture:
        if len(found) == 1:
            own_size = max(display_size(*image.shape[:2])) <= max(image.shape[:2])
            drawn = draw_labels(image, found[0], palette, opacity=opacity, own_size=own_size)
        else:
            pictures = [draw_labels(image, each, palette, opacity=opacity) for each in found]
            drawn = side_by_side(list(zip(captions, pictures, strict=True))[::-1])
        return with_legend(drawn, palette)

    write_predictions(
        video,
        [_decided(SemanticPredictor(each)) for each in cfgs],
        draw,
        output,
        max_frames=max_frames,
        keep=None
        if labels is None
        else keep_maps(labels, partial(write_label_map, palette=palette)),
        kept=labels,
    )


def unary_cfg(cfg: CfgNode) -> CfgNode:
    """The config of the unaries alone, with the same weights.

    Raises:
        InputError: it is ``cfg`` itself.
    """
    if cfg.MODEL.PHASE == "unary":
        raise InputError(
            "--compare-baseline compares the unaries with the random field, and MODEL.PHASE is "
            "unary: leave it out, or name a joint model and MODEL.PHASE joint"
        )
    return changed_cfg(cfg, "MODEL.PHASE", "unary")


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
