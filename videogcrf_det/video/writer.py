"""Videos as files: H.264 that every browser plays, or a picture for each frame."""

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_folder, atomic_write

BT709 = 1  # the number that H.264 has for the colours of high definition


def require_av() -> None:
    """Raise InputError with the way to install PyAV, if it is missing."""
    if importlib.util.find_spec("av") is None:
        raise InputError(
            "reading and writing videos needs PyAV, and the package av is not installed: "
            "pip install 'videogcrf-det[video]'"
        )


class VideoWriter:
    """Write frames to an mp4 file, which is there once the ``with`` block has ended well.

    Until then, and if the block ends with an exception, an earlier file of that name stays.
    Players can start before they have the whole file: its index comes first.

        with VideoWriter("parkour.mp4", fps=10) as video:
            video.write(frame)
    """

    def __init__(self, path: str | os.PathLike[str], fps: Fraction | float = 10) -> None:
        """
        Args:
            path: a file name that ends in ``.mp4``.
            fps: frames a second, 0.001 or more.

        Raises:
            InputError: PyAV is missing, or ``fps`` is too low.
        """
        require_av()
        if not 0.001 <= fps < float("inf"):
            raise InputError(f"a video needs at least 0.001 frames a second, got {fps}")
        self.path = os.fspath(path)
        self.rate = Fraction(fps).limit_denominator(1001)
        # ticks of 0.1 ms or less, of which both a frame and a second are a whole number
        self.time_base = Fraction(1, self.rate.numerator * -(-10000 // self.rate.numerator))
        self.num_frames = 0
        self._step = int(1 / self.rate / self.time_base)
        self._shown = -self._step  # when the last frame is, in ticks
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

    def write(self, frame: NDArray[np.uint8], time: Fraction | float | None = None) -> None:
        """Append one frame.

        Args:
            frame: (H, W, 3) uint8 RGB, of one size throughout. An odd height or width is made even
                by repeating the last row or column.
            time: when it is shown, in seconds, after the frame before; None: 1 / ``fps`` after it.
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
        picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709")
        picture.time_base = self.time_base
        due = self._shown + self._step if time is None else round(time / self.time_base)
        picture.pts = self._shown = max(due, self._shown + 1)  # no two frames in one tick
        self._container.mux(self._stream.encode(picture))
        self.num_frames += 1

    def _open_stream(self, height: int, width: int) -> None:
        self._size = (height, width)
        # with B-frames, mp4 gives the last of unevenly spaced frames no time to be seen
        options = {"crf": "20", "bf": "0"}
        stream = self._container.add_stream("h264", rate=self.rate, options=options)
        # 4:2:0 is what browsers play, and it needs even sizes
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        coding = stream.codec_context
        coding.time_base = self.time_base
        # players guess the colours of videos that do not name them, by their size
        coding.colorspace = coding.color_primaries = coding.color_trc = BT709
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


@contextlib.contextmanager
def frame_folder(path: str | os.PathLike[str]) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """Yield a function that writes (H, W, 3) uint8 RGB frames as 00000.png, 00001.png, ...

    The folder ``path`` is there once the ``with`` block has ended well, and not after an error.

    Raises:
        InputError: ``path`` exists and is no empty folder.
    """
    count = 0
    with atomic_folder(path) as folder:

        def write(frame: NDArray[np.uint8]) -> None:
            nonlocal count
            file = folder / f"{count:05d}.png"
            if not cv2.imwrite(str(file), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)):
                raise OSError(f"cannot write the picture {file}")
            count += 1

        yield write
