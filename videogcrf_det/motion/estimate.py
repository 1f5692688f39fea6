"""Motion between successive pictures."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videogcrf_det.motion.flow import DISFlow, FlowFolder
from videogcrf_det.motion.warp import Motion

Image = NDArray[np.uint8]  # (H, W, 3)
# flow(previous, current) -> (H, W, 2): for each pixel of the current image, the way in pixels to
# where it was in the previous one
Flow = Callable[[Image, Image], NDArray[np.float32]]


class MotionEstimator:
    """Makes Motion of successive pictures, in both directions, as far as it can be trusted.

    Where going there and back does not lead home, there is no motion: what is spoilt, hidden or
    gone stays where it was.

    Args:
        flow: see Flow.
        scale: of the images that ``flow`` gets.
    """

    def __init__(self, flow: Flow, scale: float = 0.5) -> None:
        self.flow = flow
        self.scale = scale
        self._before: Image | None = None

    def reset(self) -> None:
        """Forget the last frame."""
        self._before = None
        if isinstance(self.flow, FlowFolder):
            self.flow.reset()

    def __call__(self, picture: Tensor, device: torch.device | None = None) -> Motion | None:
        """The motion from the frame before to this one, a picture (1, 3, H, W), BGR from 0 to 1.

        None for the first frame, and after a change of size. It is on ``device``, None: that of the
        picture.
        """
        pixels = picture[0].float().cpu().numpy() * 255
        image = np.clip(np.rint(pixels), 0, 255).astype(np.uint8).transpose(1, 2, 0)
        image = cv2.resize(image, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)
        before, self._before = self._before, image
        if before is None or before.shape != image.shape:
            return None
        backward, forward = self.flow(before, image), self.flow(image, before)
        kept = consistent(backward, forward), consistent(forward, backward)
        height, width = image.shape[:2]
        ways = [
            torch.from_numpy(flow * mask[..., None] / np.array([width, height], np.float32))
            .permute(2, 0, 1)[None]
            .to(device or picture.device)
            for flow, mask in zip((backward, forward), kept, strict=True)
        ]
        return Motion(*ways)


def consistent(there: NDArray[np.float32], back: NDArray[np.float32]) -> NDArray[np.bool_]:
    """A mask of the pixels whose way there (H, W, 2) and back leads home, to a tenth or a pixel."""
    rows, columns = np.indices(there.shape[:2], np.float32)
    x, y = columns + there[..., 0], rows + there[..., 1]
    returned = cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    error = np.linalg.norm(there + returned, axis=2)
    length = np.linalg.norm(there, axis=2) + np.linalg.norm(returned, axis=2)
    return error <= 0.5 + 0.05 * length


def motion_from(source: str) -> MotionEstimator | None:
    """Motion along the flow that a name stands for.

    Args:
        source: "dis", a folder (see FlowFolder), or "" for none.
    """
    if not source:
        return None
    return MotionEstimator(DISFlow() if source == "dis" else FlowFolder(source))
