"""The trainer of the phases."""

import os

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from video_semseg.evaluation import VideoSemSegEvaluator
from videogcrf_det.errors import InputError
from videogcrf_det.segmentation import PhaseTrainer


class SemanticTrainer(PhaseTrainer):
    """PhaseTrainer with mean IoU."""

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> VideoSemSegEvaluator:
        """Mean IoU; results go to OUTPUT_DIR/inference/<data set>."""
        classes = MetadataCatalog.get(dataset_name).stuff_classes
        labels = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        if len(classes) != labels:
            raise InputError(
                f"{dataset_name} has {len(classes)} labels and the model "
                f"MODEL.SEM_SEG_HEAD.NUM_CLASSES {labels}: set that, or name another data set"
            )
        output_dir = os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name)
        return VideoSemSegEvaluator(dataset_name, output_dir=output_dir)
