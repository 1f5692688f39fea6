"""The trainer of the phases."""

import os

from detectron2.config import CfgNode

from video_semseg.evaluation import VideoSemSegEvaluator
from videogcrf_det.segmentation import PhaseTrainer


class SemanticTrainer(PhaseTrainer):
    """PhaseTrainer with mean IoU."""

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> VideoSemSegEvaluator:
        """Mean IoU; results go to OUTPUT_DIR/inference/<data set>."""
        output_dir = os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name)
        return VideoSemSegEvaluator(dataset_name, output_dir=output_dir)
