"""Detections of any video, frame by frame."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.data.detection_utils import build_augmentation
from detectron2.structures import Instances
from numpy.typing import NDArray

from videogcrf_det.engine import load_model
from videogcrf_det.errors import InputError
from videogcrf_det.modeling import ClipRCNN


class Prediction(NamedTuple):
    """A frame of a video and what was detected on it."""

    frame: NDArray[np.uint8]  # (H, W, 3), the array that was given
    instances: Instances  # on the CPU, in pixels of the frame: pred_boxes, pred_masks, scores, ...


class VideoPredictor:
    """detectron2's DefaultPredictor for videos: frames in, detections out.

        predictor = VideoPredictor(cfg)
        for frame, instances in predictor(frames):
            ...

    Frames are read as they are needed: a prediction comes at most INPUT.CLIP.NUM_FRAMES - 1 frames
    after its frame, and no more frames than that are kept. A video may be endless. The detections
    are those that the evaluation finds on the same video.
    """

    def __init__(self, cfg: CfgNode) -> None:
        """
        Args:
            cfg: a config of ClipRCNN, with a trained detector in MODEL.WEIGHTS.

        Raises:
            InputError: the architecture is another, the weights do not fit, or INPUT.FORMAT is
                neither BGR nor RGB.
        """
        if cfg.INPUT.FORMAT not in ("BGR", "RGB"):
            raise InputError(f"INPUT.FORMAT must be BGR or RGB, got {cfg.INPUT.FORMAT}")
        if not cfg.MODEL.WEIGHTS:
            raise InputError("MODEL.WEIGHTS is empty: name a trained detector there")
        self.cfg = cfg
        self.model: Any = load_model(cfg).eval()
        if not isinstance(self.model, ClipRCNN):
            raise InputError(
                f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} detects on single images: "
                "set it to ClipRCNN"
            )

    def __call__(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[Prediction]:
        """Predict on a video, whose frames belong together.

        Args:
            frames: (H, W, 3) uint8 images in the order of time, BGR as OpenCV reads them whatever
                INPUT.FORMAT is.

        Yields:
            a Prediction for each frame, in order.
        """
        waiting: deque[NDArray[np.uint8]] = deque()

        def inputs() -> Iterator[dict[str, Any]]:
            for frame in frames:
                waiting.append(frame)
                yield model_input(self.cfg, frame)

        for output in self.model.detect_video(inputs()):
            yield Prediction(waiting.popleft(), output["instances"].to("cpu"))


def model_input(cfg: CfgNode, frame: NDArray[np.uint8]) -> dict[str, Any]:
    """What the mapper of test sets makes of a frame (H, W, 3), BGR, that it reads from disk."""
    aug_input = T.AugInput(frame if cfg.INPUT.FORMAT == "BGR" else frame[:, :, ::-1])
    T.AugmentationList(build_augmentation(cfg, is_train=False))(aug_input)
    pixels = np.ascontiguousarray(aug_input.image.transpose(2, 0, 1))
    return {"image": torch.as_tensor(pixels), "height": frame.shape[0], "width": frame.shape[1]}
