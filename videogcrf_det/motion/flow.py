"""Optical flow of successive frames: OpenCV's, or what a folder has.

A flow (H, W, 2) float32 is, for each pixel of the current frame, the way in pixels, x and y, to
where it was in the previous one.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from videogcrf_det.errors import InputError

Image = NDArray[np.uint8]  # (H, W, 3)
FlowMap = NDArray[np.float32]  # (H, W, 2)

LEAST_SIDE = 16  # OpenCV's DIS flow reads beyond the memory of frames that are smaller


class DISFlow:
    """OpenCV's DIS flow between two frames (H, W, 3); none if they are smaller than 16 pixels."""

    def __init__(self, preset: int = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM) -> None:
        self._dis = cv2.DISOpticalFlow.create(preset)

    def __call__(self, previous: Image, current: Image) -> FlowMap:
        """The flow (H, W, 2) from the current frame to the previous one."""
        if min(current.shape[:2]) < LEAST_SIDE:
            return np.zeros((*current.shape[:2], 2), np.float32)
        grey = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in (current, previous)]
        return np.asarray(self._dis.calc(*grey, None), np.float32)  # type: ignore[call-overload]


class FlowFolder:
    """The flow of one video that another program has computed.

    Of frame 7, ``backward/00007.flo`` has the way of its pixels to frame 6, and
    ``forward/00007.flo`` that of the pixels of frame 6 to frame 7. Files may be ``.npy`` as well,
    and of another size than the frames: ways are scaled with them.
    """

    def __init__(self, folder: str | Path) -> None:
        """
        Raises:
            InputError: there is no such folder, or it lacks one of the two in it.
        """
        self.folder = Path(folder)
        for name in ("backward", "forward"):
            if not (self.folder / name).is_dir():
                raise InputError(
                    f"the flow folder {folder} has no folder {name!r}: give one with backward/ and "
                    "forward/, each with 00001.flo or 00001.npy and so on"
                )
        self.reset()

    def reset(self) -> None:
        """Begin with frame 1 again."""
        self._calls = 0

    def __call__(self, previous: Image, current: Image) -> FlowMap:
        """The flow of the next frame, backward and forward by turns."""
        number, forward = self._calls // 2 + 1, self._calls % 2
        self._calls += 1
        stem = self.folder / ("forward" if forward else "backward") / f"{number:05d}"
        flow = read_flow(stem)
        height, width = current.shape[:2]
        scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
        return np.asarray(cv2.resize(flow, (width, height)) * scale, np.float32)


def read_flow(stem: Path) -> FlowMap:
    """The flow of a ``.flo`` or ``.npy`` file, named without its suffix.

    Raises:
        InputError: there is neither, or it holds no flow.
    """
    for suffix in (".flo", ".npy"):
        path = stem.with_suffix(suffix)
        if not path.is_file():
            continue
        try:
            flow = cv2.readOpticalFlow(str(path)) if suffix == ".flo" else np.load(path)
        except (ValueError, OSError, cv2.error):
            flow = None
        if flow is None or flow.ndim != 3 or flow.shape[2] != 2 or not np.isfinite(flow).all():
            raise InputError(f"{path} holds no flow (H, W, 2) of finite numbers: compute it again")
        return np.asarray(flow, np.float32)
    raise InputError(f"the flow {stem}.flo or .npy is not there: compute it for every frame")
