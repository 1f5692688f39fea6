"""H.264 videos that every browser plays."""

import contextlib
import importlib.util
import os
from fractions import Fraction
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write


def require_av() -> None:
    """Raise InputError with the way to install PyAV, if it is missing."""
    if importlib.util.find_spec("av") is None:
        raise InputError(
            "writing videos needs PyAV, and the package av is not installed: "
            "pip install 'videogcrf-det[video]'"
        )


class VideoWriter:
    """Write frames to an mp4 file, which is there once the ``with`` block has ended well.

    Until then, and if the block ends with an exception, an earlier file of that name stays.
    Players can start before they have the whole file: its index comes first.

        with VideoWriter("parkour.mp4", fps=10) as video:
            video.write(frame)
    """

    def __init__(self, path: str | os.PathLike[str], fps: float = 10) -> None:
        """
        Args:
            path: a file name that ends in ``.mp4``.
            fps: frames a second, above 0.

        Raises:
            InputError: PyAV is missing, or ``fps`` is not positive.
        """
        require_av()
        if not 0 < fps < float("inf"):
            raise InputError(f"a video needs more than 0 frames a second, got {fps}")
        self.path = os.fspath(path)
        self.rate = Fraction(fps).limit_denominator(1000)
        self.num_frames = 0
        self._size: tuple[int, int] | None = None
        self._cleanup = contextlib.ExitStack()
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> "VideoWriter":
        import av

        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_write(self.path))
            options = {"movflags": "+faststart"}
            self._container = av.open(str(temporary), "w", format="mp4", options=options)
            stack.callback(self._container.close)
            self._cleanup = stack.pop_all()
        return self

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append one frame.

        Args:
            frame: (H, W, 3) uint8 RGB, of one size throughout. An odd height or width is made even
                by repeating the last row or column.
        """
        import av

        if self._size is None:
            self._open_stream(*frame.shape[:2])
        if frame.shape[:2] != self._size:
            raise ValueError(
                f"frame {self.num_frames} of {self.path} has the size {frame.shape[:2]}, the first "
                f"one {self._size} (height, width)"
            )
        height, width = frame.shape[:2]
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(even, format="rgb24")
        picture.pts = self.num_frames
        self._container.mux(self._stream.encode(picture))
        self.num_frames += 1

    def _open_stream(self, height: int, width: int) -> None:
        self._size = (height, width)
        # 4:2:0 is what browsers play, and it needs even sizes
        stream = self._container.add_stream("h264", rate=self.rate, options={"crf": "20"})
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        self._stream = stream

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # closes the video, then moves it into place or, on any error, removes it
        if error is not None:
            self._cleanup.__exit__(kind, error, traceback)
            return
        with self._cleanup:
            if self._stream is None:
                raise ValueError(f"no frame was written to the video {self.path}")
            self._container.mux(self._stream.encode(None))
