"""Semantic segmentation of any video, frame by frame."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from detectron2.config import CfgNode
from numpy.typing import NDArray
from torch import Tensor

from videogcrf_det.predictor import FramePredictor
from videogcrf_det.segmentation.segmentor import VideoSegmentor


class Segmentation(NamedTuple):
    """A frame of a video and what is where on it."""

    frame: NDArray[np.uint8]  # (H, W, 3), the array that was given
    probabilities: Tensor  # (L, H, W), on the CPU


class SemanticPredictor(FramePredictor):
    """Frames in, probabilities of labels out.

        predictor = SemanticPredictor(cfg)
        for frame, probabilities in predictor(frames):
            labels = probabilities.argmax(0)

    As VideoPredictor, with little latency and memory whatever the length of the video. The
    probabilities are those that the evaluation finds on the same video.
    """

    def __init__(self, cfg: CfgNode) -> None:
        """
        Args:
            cfg: a config of VideoSegmentor, with trained weights in MODEL.WEIGHTS. The random field
                is used unless MODEL.PHASE is "unary".

        Raises:
            InputError: see FramePredictor.
        """
        super().__init__(cfg, architecture=VideoSegmentor, task="segment videos")

    def __call__(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[Segmentation]:
        """Segment a video, whose frames belong together.

        Args:
            frames: (H, W, 3) uint8 images in the order of time, BGR as OpenCV reads them whatever
                INPUT.FORMAT is.

        Yields:
            a Segmentation for each frame, in order.
        """
        for frame, output in self.outputs(frames, self.model.segment_video):
            yield Segmentation(frame, output["sem_seg"].cpu())
