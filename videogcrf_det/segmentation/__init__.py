"""Labels for every pixel of a video, with the VideoGCRF as the last layer, trained in phases."""

from videogcrf_det.segmentation.config import PHASES, add_segmentation_config
from videogcrf_det.segmentation.dense_crf import DenseCRF
from videogcrf_det.segmentation.engine import (
    PhaseTrainer,
    phase_argument_parser,
    run_phases,
    segmentation_augmentations,
)
from videogcrf_det.segmentation.evaluation import evaluate_pairwise
from videogcrf_det.segmentation.frames import Frame, FrameTerms
from videogcrf_det.segmentation.given_unaries import GivenUnaries
from videogcrf_det.segmentation.heads import SegmentationHead
from videogcrf_det.segmentation.labels import check_labels
from videogcrf_det.segmentation.phases import phase_cfg
from videogcrf_det.segmentation.segmentor import VideoSegmentor

__all__ = [
    "PHASES",
    "DenseCRF",
    "Frame",
    "FrameTerms",
    "GivenUnaries",
    "PhaseTrainer",
    "SegmentationHead",
    "VideoSegmentor",
    "add_segmentation_config",
    "check_labels",
    "evaluate_pairwise",
    "phase_argument_parser",
    "phase_cfg",
    "run_phases",
    "segmentation_augmentations",
]
