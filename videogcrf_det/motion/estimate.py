"""Motion between successive pictures."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videogcrf_det.motion.flow import DISFlow, FlowFolder, FlowMap, Image
from videogcrf_det.motion.warp import Motion

# flow(previous, current) -> (H, W, 2): for each pixel of the current image, the way in pixels to
# where it was in the previous one
Flow = Callable[[Image, Image], FlowMap]

MOSTLY = 0.9  # of the pixels of a frame that nothing has spoilt have a way that leads home


class MotionEstimator:
    """Makes Motion of successive pictures, in both directions.

    Where going there and back does not lead home, something is spoilt, hidden or gone, and its
    motion is guessed. A spoilt frame is passed by: the way from the frame before it to the one
    after it is halved where that leads home; otherwise things move on as they did.

    Args:
        flow: see Flow.
        scale: of the images that ``flow`` gets.
    """

    def __init__(self, flow: Flow, scale: float = 0.5) -> None:
        self.flow = flow
        self.scale = scale
        self.reset()

    def reset(self) -> None:
        """Forget the last frames."""
        self._seen: list[Image] = []  # the last two
        self._way: FlowMap | None = None  # between them, backward
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
        if not self._seen or self._seen[-1].shape != image.shape:
            self._seen, self._way = [image], None
            return None
        *earlier, before = self._seen
        backward, forward = self.flow(before, image), self.flow(image, before)
        home = consistent(backward, forward)
        guess = np.zeros_like(backward) if self._way is None else _at(self._way, self._way)
        if earlier and home.mean() < MOSTLY and not isinstance(self.flow, FlowFolder):
            over_two = self.flow(earlier[0], image)
            leads_home = consistent(over_two, self.flow(image, earlier[0]))
            guess = np.where(leads_home[..., None], over_two / 2, guess)
        home_ahead = consistent(forward, backward)
        backward = np.where(home[..., None], backward, guess)
        forward = np.where(home_ahead[..., None], forward, -_at(backward, -backward))
        self._seen, self._way = [before, image], backward
        height, width = image.shape[:2]
        ways = [
            torch.from_numpy(flow / np.array([width, height], np.float32))
            .permute(2, 0, 1)[None]
            .to(device or picture.device)
            for flow in (backward, forward)
        ]
        return Motion(*ways)


def _at(flow: FlowMap, way: FlowMap) -> FlowMap:
    """A flow (H, W, 2) at the places that a way (H, W, 2) leads to."""
    rows, columns = np.indices(way.shape[:2], np.float32)
    x, y = columns + way[..., 0], rows + way[..., 1]
    found = cv2.remap(flow, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)


def consistent(there: FlowMap, back: FlowMap) -> NDArray[np.bool_]:
    """A mask of the pixels whose way there (H, W, 2) and back leads home, to a tenth or a pixel."""
    returned = _at(back, there)
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
