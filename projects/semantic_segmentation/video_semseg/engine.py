"""Training phase by phase, and evaluation."""

import argparse
import os
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.data.detection_utils import build_augmentation
from detectron2.engine import default_setup
from detectron2.evaluation import inference_context
from detectron2.projects.deeplab import build_lr_scheduler
from detectron2.utils import comm
from torch import nn

from video_semseg.config import PHASES, add_semantic_config
from video_semseg.evaluation import VideoSemSegEvaluator, evaluate_pairwise
from video_semseg.phases import is_done, phase_cfg
from videogcrf_det.data import ClipDatasetMapper, load_clips
from videogcrf_det.engine import VideoTrainer, build_cfg


class SemanticTrainer(VideoTrainer):
    """VideoTrainer for semantic segmentation, one phase."""

    @classmethod
    def training_clips(cls, cfg: CfgNode) -> list[dict[str, Any]]:
        """Clips around every frame of DATASETS.TRAIN."""
        clip = cfg.INPUT.CLIP
        return load_clips(cfg.DATASETS.TRAIN, clip.NUM_FRAMES, clip.STRIDE, filter_empty=False)

    @classmethod
    def build_train_mapper(cls, cfg: CfgNode) -> ClipDatasetMapper:
        """Scale, then crop: detectron2's mapper crops first, and every clip has another size."""
        augmentations = build_augmentation(cfg, is_train=True)
        if cfg.INPUT.CROP.ENABLED:
            augmentations.insert(1, T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE))
        return ClipDatasetMapper(cfg, is_train=True, augmentations=augmentations)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> VideoSemSegEvaluator:
        """Mean IoU; results go to OUTPUT_DIR/inference/<data set>."""
        output_dir = os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name)
        return VideoSemSegEvaluator(dataset_name, output_dir=output_dir)

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
        """detectron2's, or the polynomial decay of its DeepLab."""
        return build_lr_scheduler(cfg, optimizer)

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: Any = None) -> dict[str, Any]:
        """Mean IoU, and the accuracy of the pairwise objective except in phase "unary"."""
        results = super().test(cfg, model, evaluators)
        if PHASES[0] != cfg.MODEL.PHASE:
            for name in cfg.DATASETS.TEST:
                with inference_context(model), torch.no_grad():
                    found = evaluate_pairwise(model, cls.build_test_loader(cfg, name))
                (results if len(cfg.DATASETS.TEST) == 1 else results[name])["pairwise"] = found
        return results


def run_phases(args: argparse.Namespace) -> dict[str, Any]:
    """Train the phases that ``args.phase`` names, and evaluate each.

    Phases that are finished are left out unless one is asked for by name; one that was interrupted
    goes on with ``--resume``.

    Returns:
        the results of the last phase; empty except in the main process.
    """
    cfg = build_cfg(args.config_file, args.opts, add_semantic_config)
    results: dict[str, Any] = {}
    for phase in PHASES if args.phase == "all" else [args.phase]:
        if args.phase == "all" and is_done(cfg, phase) and not args.eval_only:
            continue
        settings = phase_cfg(cfg, phase)
        default_setup(settings, args)
        trainer = SemanticTrainer(settings)
        trainer.resume_or_load(args.resume or args.eval_only)
        if args.eval_only:
            results = SemanticTrainer.test(settings, trainer.model)
        else:
            trainer.train()
            results = trainer.last_eval_results
        comm.synchronize()
    return results
