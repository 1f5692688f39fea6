"""detectron2's trainer on clips."""

import os
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader
from detectron2.engine import AMPTrainer, DefaultTrainer, SimpleTrainer, create_ddp_model
from detectron2.engine.train_loop import TrainerBase
from detectron2.evaluation import COCOEvaluator, DatasetEvaluator
from detectron2.utils import comm
from torch import nn

from videogcrf_det.checkpoint import ClipCheckpointer, check_optimizer
from videogcrf_det.config import indefinite_named
from videogcrf_det.config_keys import built_from_config, check_parts
from videogcrf_det.data import (
    ClipDatasetMapper,
    ClipLoader,
    VideoDatasetMapper,
    build_clip_train_loader,
    load_videos,
    training_clips,
)
from videogcrf_det.data.classes import check_masks
from videogcrf_det.engine.evaluation import evaluate, verify
from videogcrf_det.engine.optimizer import amp_precision, build_optimizer, has_own_optimizer
from videogcrf_det.engine.setup import available_device
from videogcrf_det.errors import InputError
from videogcrf_det.evaluation import VideoCOCOEvaluator


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
        if (
            available_device(cfg.MODEL.DEVICE) != cfg.MODEL.DEVICE
        ):  # a config that build_cfg did not make
            cfg = cfg.clone()
            cfg.defrost()
            cfg.MODEL.DEVICE = available_device(cfg.MODEL.DEVICE)
        with built_from_config("a model"):
            return super().build_model(cfg)

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """SOLVER.OPTIMIZER, with SOLVER.VIDEO_GCRF_LR_FACTOR for the weights of random fields."""
        if not has_own_optimizer(cfg):
            return super().build_optimizer(cfg, model)
        return build_optimizer(cfg, model)

    # detectron2 0.6 leaves the optimizer out of these two

    def state_dict(self) -> dict[str, Any]:
        """The part of a checkpoint beside the weights."""
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
        """The mapper that reads and augments a clip in training."""
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
            lacks = f"lacks {len(missing)} tensors, such as {missing[0]}" if weights else "is empty"
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
            with torch.autocast("cpu", torch.bfloat16, enabled=on_cpu), indefinite_named():
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
        """The mapper that reads videos in evaluation."""
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
            further = partial(cls.further_results, cfg, model, name)
            folder = os.path.join(cfg.OUTPUT_DIR, "inference", name)
            results[name] = evaluate(model, loader, evaluator, folder, further)
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
