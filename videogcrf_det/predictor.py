"""Predictions on any video, frame by frame."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.data.detection_utils import build_augmentation
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from numpy.typing import NDArray
from torch import nn

from videogcrf_det.engine import load_model, load_video_model
from videogcrf_det.errors import InputError
from videogcrf_det.streams import in_step
from videogcrf_det.tracking import MaskTracker, Tracker, identify


class Prediction(NamedTuple):
    """A frame of a video and what was detected on it."""

    frame: NDArray[np.uint8]  # (H, W, 3), the array that was given
    # on the CPU, in pixels of the frame: pred_boxes, pred_masks, scores, track_ids, ...
    instances: Instances


class FramePredictor:
    """The base of predictors of videos: a model, and frames as it takes them."""

    def __init__(
        self,
        cfg: CfgNode,
        load: Callable[[CfgNode], nn.Module] = load_model,
        architecture: type[nn.Module] = nn.Module,
        task: str = "predict on videos",
    ) -> None:
        """
        Args:
            cfg: a config of ``architecture``, with trained weights in MODEL.WEIGHTS.
            load: makes the model.
            architecture: what the model has to be.
            task: what other models fail at, the end of a sentence.

        Raises:
            InputError: the architecture is another, the weights do not fit, or INPUT.FORMAT is
                neither BGR nor RGB.
        """
        if cfg.INPUT.FORMAT not in ("BGR", "RGB"):
            raise InputError(f"INPUT.FORMAT must be BGR or RGB, got {cfg.INPUT.FORMAT}")
        if not cfg.MODEL.WEIGHTS:
            raise InputError("MODEL.WEIGHTS is empty: name a trained model there")
        name = cfg.MODEL.META_ARCHITECTURE
        if name not in META_ARCH_REGISTRY or not issubclass(
            META_ARCH_REGISTRY.get(name), architecture
        ):
            raise InputError(
                f"MODEL.META_ARCHITECTURE {name} does not {task}: set it to {architecture.__name__}"
            )
        self.cfg = cfg
        self.model: Any = load(cfg).eval()

    def outputs(
        self, frames: Iterable[NDArray[np.uint8]], infer: Callable[[Iterator[Any]], Iterator[Any]]
    ) -> Iterator[tuple[NDArray[np.uint8], Any]]:
        """Each frame with what ``infer`` makes of it, which may read some frames ahead."""

        def made(numbered: Iterator[tuple[int, NDArray[np.uint8]]]) -> Iterator[Any]:
            return infer(self._input(*each) for each in numbered)

        for (_, frame), (output,) in in_step(enumerate(frames), [made]):
            yield frame, output

    def _input(self, number: int, frame: NDArray[np.uint8]) -> dict[str, Any]:
        check_frame(frame, number)
        return model_input(self.cfg, frame)


class VideoPredictor(FramePredictor):
    """detectron2's DefaultPredictor for videos: frames in, detections out.

        predictor = VideoPredictor(cfg)
        for frame, instances in predictor(frames):
            ...

    Frames are read as they are needed, and a video may be endless. A prediction comes at most
    INPUT.CLIP.NUM_FRAMES - 1 frames after its frame with a ClipRCNN, and TEST.LATENCY frames with
    MODEL.VIDEO_GCRF.FIELDS (and with TEST.FRAMES_PER_BATCH up to one batch later); no more frames
    than that are kept. The detections are those that the evaluation finds on the same video.
    Those of one object have the same number in ``track_ids``, (N,) int64.
    """

    def __init__(self, cfg: CfgNode, make_tracker: Callable[[], Tracker] = MaskTracker) -> None:
        """
        Args:
            cfg: of any meta-architecture that finds instances, with a trained detector in
                MODEL.WEIGHTS.
            make_tracker: makes the Tracker of a video, from which ``track_ids`` come.

        Raises:
            InputError: see FramePredictor and load_video_model.
        """
        super().__init__(cfg, load_video_model)
        self.make_tracker = make_tracker

    def __call__(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[Prediction]:
        """Predict on a video, whose frames belong together.

        Args:
            frames: (H, W, 3) uint8 images in the order of time, BGR as OpenCV reads them whatever
                INPUT.FORMAT is.

        Yields:
            a Prediction for each frame, in order.
        """
        tracker = self.make_tracker()
        for frame, output in self.outputs(frames, self.model.detect_video):
            if "instances" not in output:
                raise InputError(
                    f"MODEL.META_ARCHITECTURE {self.cfg.MODEL.META_ARCHITECTURE} finds no "
                    "instances: use one that does, such as GeneralizedRCNN"
                )
            instances = output["instances"].to("cpu")
            identify(tracker, frame, instances)
            yield Prediction(frame, instances)


def check_frame(frame: Any, number: int) -> None:
    """Raise InputError unless a frame is (H, W, 3) uint8, with how to make it that."""
    if frame is None:
        raise InputError(
            f"frame {number} is None, which OpenCV gives for what it cannot read: check the path"
        )
    if not isinstance(frame, np.ndarray):
        raise InputError(
            f"frame {number} is a {type(frame).__name__}: give a NumPy array (H, W, 3), uint8, BGR"
        )
    cures = {
        (2, None): "cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)",
        (3, 1): "cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)",
        (3, 4): "cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR)",
    }
    key = frame.ndim, frame.shape[2] if frame.ndim == 3 else None
    if key in cures:
        raise InputError(f"frame {number} has the shape {frame.shape}: give {cures[key]}")
    if key != (3, 3) or not frame.size:
        raise InputError(f"frame {number} has the shape {frame.shape}: give (H, W, 3), BGR")
    if frame.dtype != np.uint8:
        scale = "(255 * frame).astype(np.uint8)" if frame.dtype.kind == "f" else "8 bits a channel"
        raise InputError(f"frame {number} is of {frame.dtype}, not uint8: give {scale}")


def model_input(cfg: CfgNode, frame: NDArray[np.uint8]) -> dict[str, Any]:
    """A frame (H, W, 3), BGR, as the mapper of test sets makes it from one on disk."""
    aug_input = T.AugInput(frame if cfg.INPUT.FORMAT == "BGR" else frame[:, :, ::-1])
    T.AugmentationList(build_augmentation(cfg, is_train=False))(aug_input)
    pixels = np.ascontiguousarray(aug_input.image.transpose(2, 0, 1))
    return {"image": torch.as_tensor(pixels), "height": frame.shape[0], "width": frame.shape[1]}
