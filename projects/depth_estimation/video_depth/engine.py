"""Training and evaluation."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from detectron2.config import CfgNode
from torch import nn

from video_depth.datasets import register_own
from video_depth.evaluation import VideoDepthEvaluator
from video_depth.mappers import DepthClipMapper
from video_depth.model import VideoDepth
from videogcrf_det.data import load_clips
from videogcrf_det.engine import VideoTrainer, load_model, load_video_model, verify
from videogcrf_det.errors import InputError
from videogcrf_det.modeling.video_model import VideoModel, check_options
from videogcrf_det.motion.estimate import motion_from
from videogcrf_det.steady.attach import Pictures, SteadyBackbone, detach


class DepthTrainer(VideoTrainer):
    """VideoTrainer for VideoDepth."""

    @classmethod
    def training_clips(cls, cfg: CfgNode) -> list[dict[str, Any]]:
        """Clips around every frame of DATASETS.TRAIN."""
        clip = cfg.INPUT.CLIP
        return load_clips(cfg.DATASETS.TRAIN, clip.NUM_FRAMES, clip.STRIDE, filter_empty=False)

    @classmethod
    def build_train_mapper(cls, cfg: CfgNode) -> DepthClipMapper:
        """The mapper that reads and augments a clip in training."""
        return DepthClipMapper(cfg, is_train=True)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> VideoDepthEvaluator:
        """Errors of depth; results go to OUTPUT_DIR/inference/<data set>."""
        options = cfg.TEST.DEPTH
        return VideoDepthEvaluator(
            dataset_name,
            os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name),
            least=options.MIN,
            greatest=options.MAX,
            median_scaling=options.MEDIAN_SCALING,
        )

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: Any = None) -> dict[str, Any]:
        """Evaluate on DATASETS.TEST, frames coupled over time; see VideoTrainer."""
        with on_videos(cfg, getattr(model, "module", model)) as videos:
            return super().test(cfg, videos, evaluators)


@contextmanager
def on_videos(cfg: CfgNode, model: nn.Module) -> Iterator[VideoModel]:
    """A model on videos, with its own chain between backbone and output, if it has one.

    Args:
        model: a VideoDepth, or a VideoModel of one with fields from a file.

    Raises:
        InputError: the model has both, or a value is out of range.
    """
    if isinstance(model, VideoModel):
        if isinstance(model.model, VideoDepth) and model.model.chain is not None:
            raise InputError(
                "MODEL.VIDEO_GCRF.FIELDS are for a model without a chain of its own: set "
                "MODEL.DEPTH_HEAD.CHAIN False"
            )
        yield model
        return
    assert isinstance(model, VideoDepth)
    if model.chain is None:
        yield VideoModel(model)
        return
    options = cfg.MODEL.VIDEO_GCRF
    check_options(cfg)
    model.backbone = SteadyBackbone(
        model.backbone,
        model.chain,
        Pictures(model),
        latency=None if cfg.TEST.LATENCY == -1 else cfg.TEST.LATENCY,
        strength=options.STRENGTH * model.coupled,
        motion=motion_from(options.MOTION) if model.coupled else None,
    ).train(model.training)
    try:
        yield VideoModel(model, cfg.TEST.FRAMES_PER_BATCH)
    finally:
        detach(model)


def load_depth_model(cfg: CfgNode, resume: bool = False) -> nn.Module:
    """A VideoDepth with MODEL.WEIGHTS, or a VideoModel of it with MODEL.VIDEO_GCRF.FIELDS."""
    if cfg.MODEL.VIDEO_GCRF.FIELDS:
        return load_video_model(cfg, resume)
    return load_model(cfg, resume)


def run(cfg: CfgNode, *, resume: bool = False, eval_only: bool = False) -> dict[str, Any]:
    """Train and evaluate, or evaluate alone; see videogcrf_det.engine.run."""
    register_own(cfg)
    if eval_only:
        results = DepthTrainer.test(cfg, load_depth_model(cfg, resume))
        verify(cfg, results)
        return results
    if cfg.MODEL.VIDEO_GCRF.FIELDS:
        raise InputError(
            "MODEL.VIDEO_GCRF.FIELDS are for inference with a trained network: leave them out in "
            "training, or add --eval-only"
        )
    DepthTrainer.check_evaluation(cfg)
    trainer = DepthTrainer(cfg)
    trainer.resume_or_load(resume)
    return trainer.train()
