"""Training and evaluation with detectron2's engine."""

import argparse
import contextlib
import logging
import os
import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import build_detection_test_loader
from detectron2.engine import (
    AMPTrainer,
    DefaultTrainer,
    SimpleTrainer,
    create_ddp_model,
    default_setup,
)
from detectron2.engine.train_loop import TrainerBase
from detectron2.evaluation import (
    COCOEvaluator,
    DatasetEvaluator,
    inference_on_dataset,
    print_csv_format,
    verify_results,
)
from detectron2.solver import get_default_optimizer_params
from detectron2.solver.build import maybe_add_gradient_clipping
from detectron2.utils import comm
from torch import nn
from yaml import YAMLError

from videogcrf_det.checkpoint import ClipCheckpointer, check_optimizer
from videogcrf_det.config import add_videogcrf_config, find_config
from videogcrf_det.config_keys import (
    built_from_config,
    check_for_fields,
    check_keys,
    check_parts,
    check_takes_clips,
    unreadable,
)
from videogcrf_det.data import (
    ClipDatasetMapper,
    ClipLoader,
    VideoDatasetMapper,
    build_clip_train_loader,
    load_videos,
    training_clips,
)
from videogcrf_det.data.classes import check_classes, check_masks
from videogcrf_det.data.own_data import data_options, use_own_data
from videogcrf_det.errors import InputError
from videogcrf_det.evaluation import VideoCOCOEvaluator
from videogcrf_det.evaluation.cost import measure_cost
from videogcrf_det.gcrf import VideoGCRF
from videogcrf_det.modeling import ClipRCNN, VideoGCRFBackbone
from videogcrf_det.modeling.video_model import with_fields
from videogcrf_det.steady.fields import SteadyFields

logger = logging.getLogger("detectron2.evaluation")
OPTIMIZERS = ("SGD", "AdamW")
AMP_PRECISIONS = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def build_cfg(
    config_file: str,
    opts: Sequence[str] = (),
    add_config: Callable[[CfgNode], None] = add_videogcrf_config,
) -> CfgNode:
    """The frozen config of a file and of ``KEY VALUE`` pairs; on the CPU where there is no GPU.

    Args:
        config_file: YAML, by path or by name (see find_config); "" for detectron2's defaults.
        opts: keys and values, alternately.
        add_config: adds the keys that detectron2 does not have.
    """
    path = config_file and find_config(config_file)
    cfg = get_cfg()
    add_config(cfg)
    stock = cfg.clone()
    try:
        if path:
            cfg.merge_from_file(path)
        own_data = list(cfg.DATASETS.get("OWN", ()))
        cfg.merge_from_list(list(opts))
    except (KeyError, ValueError, AssertionError, AttributeError, OSError, YAMLError) as error:
        # yacs raises KeyError("Non-existent config key: ..."), whose str() adds quotes
        reason = " ".join(str(error.args[0] if isinstance(error, KeyError) else error).split())
        raise InputError(f"in the config {config_file or '(none)'}: {unreadable(reason)}") from None
    check_keys(cfg, stock)
    cfg.MODEL.DEVICE = _available(cfg.MODEL.DEVICE)
    if "://" in cfg.OUTPUT_DIR:
        raise InputError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR} is an address, where files cannot be renamed: name a "
            "folder, and copy it there afterwards"
        )
    use_own_data(cfg, opts, own_data)
    cfg.freeze()
    return cfg


def _available(device: str) -> str:
    """A device, or the CPU where there is no GPU."""
    return "cpu" if device.startswith("cuda") and not torch.cuda.is_available() else device


def setup(args: argparse.Namespace) -> CfgNode:
    """The config of detectron2's command line, with its loggers, output folder and seed set up."""
    cfg = build_cfg(args.config_file, [*data_options(args), *args.opts])
    set_up_run(cfg, args)
    return cfg


def set_up_run(cfg: CfgNode, args: argparse.Namespace) -> None:
    """detectron2's default_setup, for a config that may be given by name."""
    if args.config_file:
        args.config_file = find_config(args.config_file)  # its text is logged
    default_setup(cfg, args)


class VideoTrainer(DefaultTrainer):
    """detectron2's DefaultTrainer on clips, with several processes on CPUs too.

    With a SEED, a training that was interrupted and resumed ends with the weights of one that was
    not: batches, augmentations and sampling follow from the iteration (docs/training.md).
    """

    def __init__(self, cfg: CfgNode) -> None:
        # DefaultTrainer's own constructor can make neither the checkpointer nor a process group
        # without GPUs, so its steps are repeated here
        TrainerBase.__init__(self)
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        model = self.build_model(cfg)
        with built_from_config("an optimizer"):
            optimizer = self.build_optimizer(cfg, model)
        data_loader = self.build_train_loader(cfg)
        device_ids = [comm.get_local_rank()] if cfg.MODEL.DEVICE.startswith("cuda") else None
        model = create_ddp_model(
            model,
            broadcast_buffers=False,
            device_ids=device_ids,
            find_unused_parameters=getattr(model, "has_unread_features", False),
        )
        precision = amp_precision(cfg)
        if precision and device_ids:
            self._trainer = AMPTrainer(model, data_loader, optimizer)
            # bfloat16 has the range of float32: nothing is to be scaled
            scaled = precision == torch.float16
            self._trainer.grad_scaler = torch.amp.GradScaler("cuda", enabled=scaled)
            self._trainer.precision = precision
        else:
            self._trainer = SimpleTrainer(model, data_loader, optimizer)
        with built_from_config("a schedule of learning rates"):
            self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = ClipCheckpointer(model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self))
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self.register_hooks(self.build_hooks())

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """A model, on the CPU where there is no GPU."""
        check_parts(cfg)
        if _available(cfg.MODEL.DEVICE) != cfg.MODEL.DEVICE:  # a config that build_cfg did not make
            cfg = cfg.clone()
            cfg.defrost()
            cfg.MODEL.DEVICE = _available(cfg.MODEL.DEVICE)
        with built_from_config("a model"):
            return super().build_model(cfg)

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """SOLVER.OPTIMIZER, with SOLVER.VIDEO_GCRF_LR_FACTOR for the weights of random fields."""
        solver = cfg.SOLVER
        if solver.OPTIMIZER not in OPTIMIZERS:
            raise InputError(
                f"SOLVER.OPTIMIZER {solver.OPTIMIZER!r} is not known: use {' or '.join(OPTIMIZERS)}"
            )
        if solver.OPTIMIZER == "SGD" and solver.VIDEO_GCRF_LR_FACTOR == 1:
            return super().build_optimizer(cfg, model)
        fields = tuple(
            f"{name}."
            for name, module in model.named_modules()
            if isinstance(module, VideoGCRF | SteadyFields)
        )
        parameters = get_default_optimizer_params(
            model,
            base_lr=solver.BASE_LR,
            weight_decay_norm=solver.WEIGHT_DECAY_NORM,
            bias_lr_factor=solver.BIAS_LR_FACTOR,
            weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
            lr_factor_func=lambda name: (
                solver.VIDEO_GCRF_LR_FACTOR if name.startswith(fields) else 1.0
            ),
        )
        optimizer: torch.optim.Optimizer
        if solver.OPTIMIZER == "AdamW":
            optimizer = torch.optim.AdamW(
                parameters, solver.BASE_LR, weight_decay=solver.WEIGHT_DECAY
            )
        else:
            optimizer = torch.optim.SGD(
                parameters,
                solver.BASE_LR,
                momentum=solver.MOMENTUM,
                nesterov=solver.NESTEROV,
                weight_decay=solver.WEIGHT_DECAY,
            )
        return maybe_add_gradient_clipping(cfg, optimizer)

    # detectron2 0.6 leaves the optimizer out of these two

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has beside the weights."""
        return {**TrainerBase.state_dict(self), "_trainer": self._trainer.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from ``state_dict()``.

        Raises:
            InputError: it is that of a training with other parameters or another optimizer.
        """
        try:
            check_optimizer(state_dict["_trainer"]["optimizer"], self._trainer.optimizer)
            TrainerBase.load_state_dict(self, state_dict)
            state = dict(state_dict["_trainer"])
            if isinstance(self._trainer, AMPTrainer) and not state.get("grad_scaler"):
                # of a training on a CPU, or in another precision: scaling starts anew
                state["grad_scaler"] = self._trainer.grad_scaler.state_dict()
            self._trainer.load_state_dict(state)
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            reason = str(error) if isinstance(error, InputError) else f"of it, {error!r} is wrong"
            raise InputError(
                f"--resume cannot go on with the training in {self.cfg.OUTPUT_DIR}: {reason}; take "
                "the config that it was begun with, or name its weights in MODEL.WEIGHTS, without "
                "--resume and with another OUTPUT_DIR"
            ) from error

    @property
    def last_eval_results(self) -> dict[str, Any]:
        """Results of the last evaluation; empty before the first."""
        return getattr(self, "_last_eval_results", None) or {}

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> ClipLoader:
        """Batches of SOLVER.IMS_PER_BATCH clips."""
        sampler = cfg.DATALOADER.SAMPLER_TRAIN
        if sampler != "TrainingSampler":
            raise InputError(
                f"DATALOADER.SAMPLER_TRAIN {sampler} does not know of clips: each is drawn once "
                "an epoch, by TrainingSampler; set that"
            )
        with built_from_config("a reader of training data"):
            mapper = cls.build_train_mapper(cfg)
        return build_clip_train_loader(
            cls.training_clips(cfg),
            mapper,
            clips_per_batch=cfg.SOLVER.IMS_PER_BATCH,
            seed=cfg.SEED,
            num_workers=cfg.DATALOADER.NUM_WORKERS,
            aspect_ratio_grouping=cfg.DATALOADER.ASPECT_RATIO_GROUPING,
        )

    @classmethod
    def training_clips(cls, cfg: CfgNode) -> list[dict[str, Any]]:
        """The clips of DATASETS.TRAIN."""
        return training_clips(cfg)

    @classmethod
    def build_train_mapper(cls, cfg: CfgNode) -> ClipDatasetMapper:
        """What reads and augments a clip in training."""
        return ClipDatasetMapper(cfg, is_train=True)

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on with the last checkpoint of OUTPUT_DIR, or start from MODEL.WEIGHTS."""
        super().resume_or_load(resume)
        self._trainer.data_loader.start = self.start_iter
        # a training can be killed between its last two checkpoints
        final = Path(self.cfg.OUTPUT_DIR, "model_final.pth")
        if self.start_iter and self.start_iter >= self.max_iter and not final.is_file():
            self.checkpointer.save(final.stem, iteration=self.start_iter - 1)
        if self.cfg.MODEL.VIDEO_GCRF.FREEZE_DETECTOR and not self.start_iter:
            self._check_detector()

    def _check_detector(self) -> None:
        """Raise InputError unless MODEL.WEIGHTS has all of a detector that is not trained."""
        weights, missing = self.cfg.MODEL.WEIGHTS, self.checkpointer.missing
        if missing or not weights:
            lacks = f"has no {missing[0]}, for one of {len(missing)}" if weights else "is empty"
            raise InputError(
                "MODEL.VIDEO_GCRF.FREEZE_DETECTOR keeps the detector as it is, but MODEL.WEIGHTS "
                f"{weights!r} {lacks}: name a trained detector there"
            )

    def train(self) -> dict[str, Any]:
        """Train and evaluate; see DefaultTrainer.

        Returns:
            the results, as ``last_eval_results``.
        """
        TrainerBase.train(self, self.start_iter, self.max_iter)
        verify(self.cfg, self.last_eval_results)
        return self.last_eval_results

    def run_step(self) -> None:
        """One iteration, whose random numbers depend on SEED and the iteration alone."""
        if self.cfg.SEED >= 0:
            seeds = np.random.SeedSequence([self.cfg.SEED, self.iter, comm.get_rank()])
            torch.manual_seed(int(seeds.generate_state(1)[0]))
        # AMPTrainer needs a GPU; bfloat16, which CPUs are fast in, needs no scaling of gradients
        on_cpu = self.cfg.MODEL.DEVICE == "cpu" and amp_precision(self.cfg) is not None
        try:
            with torch.autocast("cpu", torch.bfloat16, enabled=on_cpu):
                super().run_step()
        except FloatingPointError as error:
            raise InputError(
                f"the training diverged ({' '.join(str(error).split())}): lower SOLVER.BASE_LR, "
                f"which is {self.cfg.SOLVER.BASE_LR}, or set SOLVER.CLIP_GRADIENTS.ENABLED True; "
                "--resume goes on with the last checkpoint"
            ) from None

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
        """Whole videos, one at a time, whose frames are read as they are needed."""
        with built_from_config("a reader of test data"):
            mapper = cls.build_test_mapper(cfg)
        videos = load_videos(dataset_name)
        for video in videos:
            check_masks(cfg, video["frames"])
        return build_detection_test_loader(
            videos,
            mapper=mapper,
            num_workers=cfg.DATALOADER.NUM_WORKERS,
        )

    @classmethod
    def build_test_mapper(cls, cfg: CfgNode) -> VideoDatasetMapper:
        """What reads videos in evaluation."""
        return VideoDatasetMapper(cfg, is_train=False)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> COCOEvaluator:
        """COCO AP; predictions go to OUTPUT_DIR/inference/<data set>."""
        output_dir = os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name)
        # named, since without any detection the evaluator cannot tell
        tasks = ("bbox", "segm") if cfg.MODEL.MASK_ON else ("bbox",)
        return VideoCOCOEvaluator(dataset_name, tasks, output_dir=output_dir)

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: Any = None) -> dict[str, Any]:
        """Evaluate what a checkpoint of the model would hold; see DefaultTrainer.

        ``cost.json`` beside the results of a data set has what they took (Cost.metrics), and
        evaluators with a method ``write`` get the results, with ``further_results``.
        """
        if comm.get_world_size() > 1:
            # statistics of batch norms drift apart in training, and the main process's are saved
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, 0)
        names = cfg.DATASETS.TEST
        if isinstance(evaluators, DatasetEvaluator):
            evaluators = [evaluators]
        results = {}
        for name, evaluator in zip(names, evaluators or [None] * len(names), strict=True):
            loader = cls.build_test_loader(cfg, name)
            evaluator = evaluator or cls.build_evaluator(cfg, name)
            with measure_cost(getattr(model, "module", model)) as cost, _without_lazy_times():
                results[name] = inference_on_dataset(model, loader, evaluator)
            logger.info(cost.sentence())
            results[name].update(cls.further_results(cfg, model, name))
            if comm.is_main_process():
                logger.info(f"Results for {name}:")
                print_csv_format(results[name])
                cost.write(os.path.join(cfg.OUTPUT_DIR, "inference", name))
                if hasattr(evaluator, "write"):
                    evaluator.write(results[name])
        return results[names[0]] if len(names) == 1 else results

    @classmethod
    def check_evaluation(cls, cfg: CfgNode) -> None:
        """Raise InputError now for what would end the evaluation when training is over."""
        for name in cfg.DATASETS.TEST:
            cls.build_test_loader(cfg, name)
            cls.build_evaluator(cfg, name)

    @classmethod
    def further_results(cls, cfg: CfgNode, model: nn.Module, dataset_name: str) -> dict[str, Any]:
        """Results by task of what no evaluator sees; empty but in the main process."""
        return {}


def amp_precision(cfg: CfgNode) -> torch.dtype | None:
    """What SOLVER.AMP computes in; None: it is switched off.

    Raises:
        InputError: there is no such precision on MODEL.DEVICE.
    """
    if not cfg.SOLVER.AMP.ENABLED:
        return None
    on_cpu = cfg.MODEL.DEVICE == "cpu"
    name = cfg.SOLVER.AMP.PRECISION or ("bfloat16" if on_cpu else "float16")
    if name not in AMP_PRECISIONS:
        known = " or ".join(AMP_PRECISIONS)
        raise InputError(f"SOLVER.AMP.PRECISION {name!r} is not known: use {known}")
    if on_cpu and name == "float16":
        raise InputError(
            "SOLVER.AMP.PRECISION float16 takes scaled gradients, which there are on GPUs alone: "
            "on a CPU, use bfloat16"
        )
    return AMP_PRECISIONS[name]


def load_model(cfg: CfgNode, resume: bool = False) -> nn.Module:
    """A model with MODEL.WEIGHTS, or with the last checkpoint of OUTPUT_DIR if ``resume``.

    Raises:
        InputError: there is no file, it cannot be loaded, or it lacks weights, other than those of
            a VideoGCRF that then changes nothing.
    """
    model = VideoTrainer.build_model(cfg)
    if not model.state_dict():  # scores are given: nothing is needed
        return model
    checkpointer = ClipCheckpointer(model, cfg.OUTPUT_DIR)
    if not cfg.MODEL.WEIGHTS and not (resume and checkpointer.has_checkpoint()):
        absent = f" and {cfg.OUTPUT_DIR} has no last_checkpoint" if resume else ""
        raise InputError(
            f"there is nothing to evaluate but random weights: MODEL.WEIGHTS is empty{absent}; "
            "name a trained model in MODEL.WEIGHTS"
        )
    checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    checkpointer.require_all(cfg.MODEL.VIDEO_GCRF.FUSION == "residual")
    return model


def load_video_model(cfg: CfgNode, resume: bool = False) -> nn.Module:
    """A model that takes videos: that of load_model, with MODEL.VIDEO_GCRF.FIELDS if it names any.

    Models of single frames become a VideoModel.
    """
    check_for_fields(cfg)
    model = load_model(cfg, resume)
    plain = not cfg.MODEL.VIDEO_GCRF.FIELDS and cfg.TEST.DETECTION_WINDOW == 1
    if isinstance(model.backbone, VideoGCRFBackbone) and not plain:
        key = (
            "MODEL.VIDEO_GCRF.FIELDS are"
            if cfg.MODEL.VIDEO_GCRF.FIELDS
            else (f"TEST.DETECTION_WINDOW {cfg.TEST.DETECTION_WINDOW} is")
        )
        raise InputError(
            f"{key} for a detector without random fields of its own: set MODEL.BACKBONE.NAME "
            f"{cfg.MODEL.VIDEO_GCRF.BACKBONE_NAME}"
        )
    if isinstance(model, ClipRCNN) and plain:
        return model
    return with_fields(cfg, model)


@contextlib.contextmanager
def _without_lazy_times() -> Iterator[None]:
    """Leave out what detectron2 logs of the time that a call of a model takes: here it returns at
    once, and the work is done while its results are read."""

    def keep(record: logging.LogRecord) -> bool:
        return not re.search("pure compute time|Inference done|s / iter", record.getMessage())

    log = logging.getLogger("detectron2.evaluation.evaluator")
    log.addFilter(keep)
    try:
        yield
    finally:
        log.removeFilter(keep)


def verify(cfg: CfgNode, results: dict[str, Any]) -> None:
    """End the process with exit code 1 where results are not TEST.EXPECTED_RESULTS.

    Raises:
        InputError: a metric is expected that there is none of.
    """
    if not cfg.TEST.EXPECTED_RESULTS or not comm.is_main_process():
        return
    for task, metric, *_ in cfg.TEST.EXPECTED_RESULTS:
        if metric not in results.get(task, {}):
            known = ", ".join(f"{name} {key}" for name in results for key in results[name])
            raise InputError(
                f"TEST.EXPECTED_RESULTS names {task} {metric}, which was not measured: there "
                f"are {known}"
            )
    verify_results(cfg, results)


def run(cfg: CfgNode, *, resume: bool = False, eval_only: bool = False) -> dict[str, Any]:
    """Train and evaluate, or evaluate alone; what each process of tools/train_net.py does.

    Returns:
        results by task and metric, as detectron2's: ``{"segm": {"AP": ..., "AP50": ...}, ...}``,
        below the data set's name if there are several; empty except in the main process.
    """
    check_classes(cfg)
    if eval_only:
        results = VideoTrainer.test(cfg, load_video_model(cfg, resume))
        verify(cfg, results)
        return results
    if cfg.MODEL.VIDEO_GCRF.FIELDS:
        raise InputError(
            "MODEL.VIDEO_GCRF.FIELDS are for inference with a trained detector: leave them out in "
            "training, or add --eval-only"
        )
    check_takes_clips(cfg)
    check_for_fields(cfg)
    VideoTrainer.check_evaluation(cfg)
    trainer = VideoTrainer(cfg)
    trainer.resume_or_load(resume)
    trainer.train()
    return trainer.last_eval_results
