"""The trainer of the phases."""

import os
from collections.abc import Iterable
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from video_tracking.evaluation import TrackingEvaluator
from video_tracking.mappers import ObjectClipMapper, ObjectVideoMapper
from video_tracking.unaries import check_unaries
from videogcrf_det.errors import InputError
from videogcrf_det.segmentation import PhaseTrainer, segmentation_augmentations


class TrackingTrainer(PhaseTrainer):
    """PhaseTrainer on clips of objects, with the measures of DAVIS."""

    @classmethod
    def training_clips(cls, cfg: CfgNode) -> list[dict[str, Any]]:
        """Clips around every frame of every object of DATASETS.TRAIN."""
        clips = super().training_clips(cfg)
        # every frame is the reference of one clip
        _check_unaries(cfg, (clip["frames"][clip["reference"]] for clip in clips))
        return clips

    @classmethod
    def build_train_mapper(cls, cfg: CfgNode) -> ObjectClipMapper:
        """The mapper that reads and augments a clip in training."""
        augmentations = segmentation_augmentations(cfg)
        return ObjectClipMapper(cfg, is_train=True, augmentations=augmentations)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
        """Whole videos of objects, whose unaries are looked at first."""
        loader = super().build_test_loader(cfg, dataset_name)
        _check_unaries(cfg, DatasetCatalog.get(dataset_name))
        return loader

    @classmethod
    def build_test_mapper(cls, cfg: CfgNode) -> ObjectVideoMapper:
        """The mapper that reads videos in evaluation."""
        return ObjectVideoMapper(cfg, is_train=False)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> TrackingEvaluator:
        """J and F; results go to OUTPUT_DIR/inference/<data set>."""
        output_dir = os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name)
        return TrackingEvaluator(dataset_name, output_dir=output_dir)


def _check_unaries(cfg: CfgNode, frames: Iterable[dict[str, Any]]) -> None:
    """Raise InputError unless there are the unaries that a model without its own needs."""
    if cfg.INPUT.UNARIES:
        check_unaries(cfg.INPUT.UNARIES, frames)
    elif cfg.MODEL.SEM_SEG_HEAD.NAME == "GivenUnaries":
        raise InputError(
            "INPUT.UNARIES is empty, and MODEL.SEM_SEG_HEAD.NAME GivenUnaries takes unaries from "
            "there: name the folder that make_unaries.py wrote, or another method's"
        )
