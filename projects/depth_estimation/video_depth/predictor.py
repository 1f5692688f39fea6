"""Depth of any video, frame by frame."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from detectron2.config import CfgNode
from numpy.typing import NDArray

from video_depth.engine import load_depth_model, on_videos
from video_depth.model import VideoDepth
from videogcrf_det.data.depth import DepthMap
from videogcrf_det.predictor import FramePredictor


class Depth(NamedTuple):
    """The depth of everything on a frame, and its standard deviation."""

    metres: DepthMap  # (H, W)
    # (H, W), standard deviations of log depth: 0.1 is a tenth of the depth. None without a field.
    # Those of fields that were fitted without labels are right up to a factor alone.
    deviation: NDArray[np.float32] | None


class DepthPredictor(FramePredictor):
    """Frames in, depth out.

        predictor = DepthPredictor(cfg)
        for frame, depth in predictor(frames):
            depth.metres

    A result comes TEST.LATENCY frames after its frame, and no more frames than that are kept. Depth
    is that which the evaluation finds on the same video.
    """

    def __init__(self, cfg: CfgNode) -> None:
        """
        Args:
            cfg: a config of VideoDepth, with trained weights in MODEL.WEIGHTS, and fields in
                MODEL.VIDEO_GCRF.FIELDS if there are any.

        Raises:
            InputError: see FramePredictor.
        """
        super().__init__(
            cfg, load=load_depth_model, architecture=VideoDepth, task="estimate depth of videos"
        )

    def __call__(
        self, frames: Iterable[NDArray[np.uint8]]
    ) -> Iterator[tuple[NDArray[np.uint8], Depth]]:
        """Estimate the depth of a video, whose frames belong together.

        Args:
            frames: (H, W, 3) uint8 images in the order of time, BGR as OpenCV reads them whatever
                INPUT.FORMAT is.

        Yields:
            each frame and its Depth, in order.
        """
        with on_videos(self.cfg, self.model) as videos:
            for frame, output in self.outputs(frames, videos.detect_video):
                variance = output.get("variance")
                deviation = None if variance is None else variance.sqrt().cpu().numpy()
                yield frame, Depth(output["depth"].cpu().numpy(), deviation)
