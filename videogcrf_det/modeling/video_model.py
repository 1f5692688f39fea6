"""Any detectron2 model on videos: what takes single frames gets them in their order."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import nn

from videogcrf_det.checkpoint import ClipCheckpointer
from videogcrf_det.errors import InputError
from videogcrf_det.motion.estimate import motion_from
from videogcrf_det.steady.attach import SteadyBackbone, attach, detect_video
from videogcrf_det.steady.detections import average_detections
from videogcrf_det.steady.ready_made import READY_MADE, load_fields

Frame = dict[str, Any]


class VideoModel(nn.Module):
    """A model of single frames that is called as ClipRCNN is in inference.

    Args:
        model: of any meta-architecture, with fields attached or without.
        batch: frames that the backbone sees at a time, where there are fields.
        window: frames over which detections are averaged; see average_detections.
    """

    def __init__(self, model: nn.Module, batch: int = 1, window: int = 1) -> None:
        super().__init__()
        self.model = model
        self.batch = batch
        self.window = window

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[Any]:
        """For each video, a dict with ``"frames"``, an iterator of what its frames give."""
        return [self.detect_video(video.get("frames", [video])) for video in batched_inputs]

    @torch.no_grad()
    def detect_video(self, frames: Iterable[Frame]) -> Iterator[dict[str, Any]]:
        """The model's output for each frame of a video of any length, in order."""
        outputs = self._outputs(frames)
        yield from outputs if self.window == 1 else average_detections(outputs, self.window)

    def _outputs(self, frames: Iterable[Frame]) -> Iterator[dict[str, Any]]:
        if isinstance(self.model.backbone, SteadyBackbone):
            return detect_video(self.model, frames, self.batch)
        return (self.model([frame])[0] for frame in frames)


def with_fields(cfg: CfgNode, model: nn.Module) -> VideoModel:
    """A model on videos, with the fields and the latency that a config names.

    Raises:
        InputError: the fields are not there or of another detector, or a value is out of range.
    """
    options = cfg.MODEL.VIDEO_GCRF
    if options.FIELDS:
        check_options(cfg)
        _attach_named(model, options.FIELDS, cfg.TEST.LATENCY, options.STRENGTH, options.MOTION)
    if cfg.TEST.DETECTION_WINDOW < 1:
        raise InputError(f"TEST.DETECTION_WINDOW is {cfg.TEST.DETECTION_WINDOW}: give 1 or more")
    return VideoModel(model, cfg.TEST.FRAMES_PER_BATCH, cfg.TEST.DETECTION_WINDOW)


def steady_detector(
    model: nn.Module,
    weights: str,
    fields: str = READY_MADE,
    *,
    latency: int = 1,
    strength: float = 1.0,
    motion: str = "",
    batch: int = 1,
) -> VideoModel:
    """A trained detector with fields, on videos: what a LazyConfig can name.

    Args:
        model: of any meta-architecture that has a backbone; its weights are loaded here.
        weights: those of the detector.
        fields, latency, strength, motion, batch: as the config keys MODEL.VIDEO_GCRF.FIELDS,
            TEST.LATENCY, MODEL.VIDEO_GCRF.STRENGTH, MODEL.VIDEO_GCRF.MOTION, TEST.FRAMES_PER_BATCH.

    Raises:
        InputError: weights or fields are not there, or are of another detector.
    """
    if not weights:
        raise InputError("weights is empty: name those of the trained detector")
    checkpointer = ClipCheckpointer(model.eval())
    checkpointer.load(weights)
    checkpointer.require_all(False)
    _attach_named(model, fields, latency, strength, motion)
    return VideoModel(model, batch)


def _attach_named(model: nn.Module, name: str, latency: int, strength: float, motion: str) -> None:
    """Attach fields by name; see the config keys."""
    fields = load_fields(name)
    attach(
        model,
        fields,
        latency=None if latency == -1 else latency,
        strength=strength,
        motion=motion_from(motion or fields.motion),
    )


def check_options(cfg: CfgNode) -> None:
    """Raise InputError for values of the config with which no chain can run."""
    if cfg.TEST.LATENCY < -1:
        raise InputError(
            f"TEST.LATENCY is {cfg.TEST.LATENCY}: give 0 or more frames, or -1 for all"
        )
    strength = cfg.MODEL.VIDEO_GCRF.STRENGTH
    if not 0 <= strength <= 1:
        raise InputError(f"MODEL.VIDEO_GCRF.STRENGTH must be 0 to 1, got {strength}")
    if cfg.TEST.FRAMES_PER_BATCH < 1:
        raise InputError(f"TEST.FRAMES_PER_BATCH is {cfg.TEST.FRAMES_PER_BATCH}: give 1 or more")
