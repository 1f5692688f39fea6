"""Training phase by phase, and evaluation."""

import argparse
import logging
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.data.detection_utils import build_augmentation
from detectron2.engine import default_argument_parser
from detectron2.evaluation import inference_context
from detectron2.modeling import build_model
from detectron2.projects.deeplab import build_lr_scheduler
from detectron2.utils import comm
from torch import nn

from videogcrf_det.config_keys import built_from_config, check_parts
from videogcrf_det.data import ClipDatasetMapper, load_clips
from videogcrf_det.engine import VideoTrainer, load_model, set_up_run
from videogcrf_det.errors import InputError
from videogcrf_det.segmentation.config import PHASES
from videogcrf_det.segmentation.evaluation import evaluate_pairwise
from videogcrf_det.segmentation.phases import (
    final_model,
    is_evaluated,
    phase_cfg,
    phase_folder,
    phase_settings,
)


class PhaseTrainer(VideoTrainer):
    """VideoTrainer for VideoSegmentor, one phase.

    A project has its own ``build_evaluator``, for evaluators that can ``write`` metrics.
    """

    @classmethod
    def training_clips(cls, cfg: CfgNode) -> list[dict[str, Any]]:
        """Clips around every frame of DATASETS.TRAIN."""
        clip = cfg.INPUT.CLIP
        return load_clips(cfg.DATASETS.TRAIN, clip.NUM_FRAMES, clip.STRIDE, filter_empty=False)

    @classmethod
    def build_train_mapper(cls, cfg: CfgNode) -> ClipDatasetMapper:
        """The mapper that reads and augments a clip in training."""
        augmentations = segmentation_augmentations(cfg)
        return ClipDatasetMapper(cfg, is_train=True, augmentations=augmentations)

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
        """detectron2's, or the polynomial decay of its DeepLab."""
        return build_lr_scheduler(cfg, optimizer)

    @classmethod
    def further_results(cls, cfg: CfgNode, model: nn.Module, dataset_name: str) -> dict[str, Any]:
        """The accuracy of the pairwise objective where labels have couplings."""
        bare: Any = getattr(model, "module", model)
        if bare.crf is None or bare.crf.field.num_labels is None:
            return {}
        with inference_context(bare), torch.no_grad():
            pairwise = evaluate_pairwise(bare, cls.build_test_loader(cfg, dataset_name))
        return {"pairwise": pairwise} if comm.is_main_process() else {}


def segmentation_augmentations(cfg: CfgNode) -> list[T.Augmentation]:
    """Scale, then crop: detectron2's mapper crops first, and every clip has another size."""
    augmentations = build_augmentation(cfg, is_train=True)
    if cfg.INPUT.CROP.ENABLED:
        augmentations.insert(1, T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE))
    return augmentations


def phase_argument_parser(epilog: str | None = None) -> argparse.ArgumentParser:
    """detectron2's parser, with the phase to train or to evaluate."""
    parser = default_argument_parser(epilog)
    parser.add_argument("--phase", choices=[*PHASES, "all"], default="all")
    return parser


def run_phases(
    trainer: type[PhaseTrainer], cfg: CfgNode, args: argparse.Namespace
) -> dict[str, Any]:
    """Train the phases that ``args.phase`` names, and evaluate each.

    Of "all", those that are finished are left out; one that was interrupted goes on with
    ``--resume``. Phase "unary" can be evaluated where it is not trained, with given unaries.
    MODEL.WEIGHTS in ``args.opts`` are what ``--eval-only`` evaluates a phase with.

    Returns:
        the results of the last phase that was run; empty except in the main process.

    Raises:
        InputError: ``cfg`` has no such phase, the one before it has not been trained, or what a
            phase or its evaluation needs is wrong or missing, of later ones too.
    """
    names = cfg.PHASES.NAMES
    unknown = sorted({*names} - {*PHASES})
    if unknown or not names:
        raise InputError(f"PHASES.NAMES {list(names)} are not some of {', '.join(PHASES)}")
    evaluates_unaries = args.phase == "unary" and args.eval_only
    if args.phase not in ("all", *names) and not evaluates_unaries:
        raise InputError(f"--phase {args.phase} is none of {', '.join(names)}, nor all")
    phases = names if args.phase == "all" else [args.phase]
    named = args.eval_only and "MODEL.WEIGHTS" in args.opts
    if named and len(phases) > 1:
        raise InputError(
            f"MODEL.WEIGHTS are those of one phase, and --eval-only evaluates {', '.join(phases)}: "
            "say which with --phase"
        )
    trained = [p for p in phases if args.phase == "all" and final_model(cfg, p).is_file()]
    done = [p for p in trained if is_evaluated(cfg, p) and not args.eval_only]
    for phase in done if comm.is_main_process() else []:
        print(
            f"phase {phase} is done: its results are in {phase_folder(cfg, phase)}; to train it "
            "again, remove that folder and those of the phases after it"
        )
    due = [phase for phase in phases if phase not in done]
    for phase in due:
        _check_model(phase_settings(cfg, phase))
    if due and not args.eval_only:
        trainer.check_evaluation(phase_settings(cfg, due[-1]))
    results: dict[str, Any] = {}
    for phase in due:
        eval_only = phase in trained or args.eval_only
        settings = phase_settings(cfg, phase) if named else phase_cfg(cfg, phase, eval_only)
        results = run_phase(trainer, settings, args, eval_only)
        comm.synchronize()
    return results


def _check_model(cfg: CfgNode) -> None:
    """Raise InputError now for what would end a phase when those before it are trained."""
    on_cpu = cfg.clone()
    on_cpu.defrost()
    on_cpu.MODEL.DEVICE = "cpu"
    check_parts(cfg)
    with built_from_config("a model"):
        build_model(on_cpu)


def run_phase(
    trainer_class: type[PhaseTrainer], cfg: CfgNode, args: argparse.Namespace, eval_only: bool
) -> dict[str, Any]:
    """Train and evaluate one phase, or evaluate alone."""
    for name in ("detectron2", "fvcore"):
        logging.getLogger(name).handlers.clear()  # of the phase before
    set_up_run(cfg, args)
    if eval_only:
        return trainer_class.test(cfg, load_model(cfg))
    trainer = trainer_class(cfg)
    trainer.resume_or_load(args.resume)
    return trainer.train()
