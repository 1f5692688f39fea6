"""Annotated clips, and what frozen heads lose on them: fields that are fitted with labels."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import GeneralizedRCNN
from detectron2.structures import ImageList
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from videogcrf_det.data.clips import training_clips
from videogcrf_det.data.mappers import ClipDatasetMapper
from videogcrf_det.demo_loop import changed_cfg
from videogcrf_det.errors import InputError
from videogcrf_det.modeling.losses import rcnn_losses
from videogcrf_det.steady.clips import LENGTH, Image
from videogcrf_det.steady.objective import SpoiltClip

Frame = dict[str, Any]


class LabelledClips:
    """Clips of DATASETS.TRAIN as the detector sees them in evaluation.

    Args:
        cfg: of the detector.

    Raises:
        InputError: there is no such data, or no clip of LENGTH frames.
    """

    def __init__(self, cfg: CfgNode) -> None:
        cfg = changed_cfg(
            cfg,
            *["INPUT.MIN_SIZE_TRAIN", (cfg.INPUT.MIN_SIZE_TEST,)],
            *["INPUT.MAX_SIZE_TRAIN", cfg.INPUT.MAX_SIZE_TEST],
            *["INPUT.RANDOM_FLIP", "none", "INPUT.CROP.ENABLED", False],
            *["INPUT.CLIP.NUM_FRAMES", LENGTH, "INPUT.CLIP.STRIDE", 1],
            *["INPUT.CLIP.DEGRADED", 0.0],
        )
        self._clips = [clip for clip in training_clips(cfg) if len(clip["frames"]) == LENGTH]
        if not self._clips:
            raise InputError(
                f"{', '.join(cfg.DATASETS.TRAIN) or 'DATASETS.TRAIN'} has no {LENGTH} frames in a "
                "row: name other data in DATASETS.TRAIN"
            )
        self._mapper = ClipDatasetMapper(cfg, is_train=True)
        self._rgb = cfg.INPUT.FORMAT == "RGB"

    def draw(self, rng: np.random.Generator) -> tuple[list[Image], list[Frame]]:
        """The frames of a clip, (H, W, 3) BGR, and for each a dict with its ``instances``."""
        clip = self._clips[int(rng.integers(len(self._clips)))]
        frames = self._mapper(clip)["frames"]
        pixels = [frame["image"].permute(1, 2, 0).numpy() for frame in frames]
        return [np.ascontiguousarray(p[:, :, ::-1] if self._rgb else p) for p in pixels], frames


def label_loss(
    model: nn.Module, clip: SpoiltClip, made: Mapping[str, Tensor], frames: list[Frame]
) -> Tensor:
    """The sum of the losses with which the detector was trained.

    Args:
        model: a GeneralizedRCNN; it stays as it is.
        clip: as it is seen.
        made: coupled features (V, C, h, w) by name.
        frames: V dicts with ``instances``.

    Raises:
        InputError: the model has no such losses.
    """
    if not isinstance(model, GeneralizedRCNN):
        raise InputError(
            f"{type(model).__name__} is no R-CNN, whose losses --objective labels takes: use "
            "--objective features"
        )
    images = ImageList(clip.images, [clip.size] * len(clip.images))
    with EventStorage(), _in_training(model.proposal_generator, model.roi_heads):
        losses = rcnn_losses(model, frames, images, {**clip.seen, **made})
    return torch.stack(list(losses.values())).sum()


@contextmanager
def _in_training(*heads: nn.Module) -> Iterator[None]:
    """Have heads sample proposals and give losses, with weights and statistics as they are."""
    modules = [module for head in heads for module in head.modules()]
    modules = [m for m in modules if not isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [module.training for module in modules]
    for module in modules:
        module.training = True
    try:
        yield
    finally:
        for module, training in zip(modules, before, strict=True):
            module.training = training
