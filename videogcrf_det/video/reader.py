"""Videos as frames: from a file, a folder of images or a camera, one frame at a time.

Letters: H x W a frame.
"""

import re
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from videogcrf_det.data.images import header_size, read_image
from videogcrf_det.errors import InputError
from videogcrf_det.video.writer import require_av

IMAGES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
FOLDER_FPS = 10


class Frame(NamedTuple):
    """A frame of a video."""

    image: NDArray[np.uint8]  # (H, W, 3), RGB, upright
    time: Fraction  # in seconds since the first frame, later than the frame before


# an image with the time that its file gives it, on any clock; None: it gives none
_Timed = tuple[NDArray[np.uint8], Fraction | None]


class _Damaged(Exception):
    """Why there are no more frames, and what to do; the end of a sentence."""


class InputVideo:
    """A video that is read once, in constant memory, and as far as it can be read.

    Attributes:
        name: of the file, folder or camera.
        rate: frames a second, the nominal number where frames are spaced unevenly.
        num_frames: how many there should be, going by the file's header; None: nobody knows.
        damage: once the frames have been read, a sentence if some of them could not be.
    """

    def __init__(
        self,
        name: str,
        rate: Fraction,
        num_frames: int | None,
        images: Iterator[_Timed],
        about: bool = False,
    ) -> None:
        """
        Args:
            name, rate, num_frames: see the attributes.
            images: ends, or raises _Damaged.
            about: ``num_frames`` is an estimate.
        """
        self.name = name
        self.rate = rate
        self.num_frames = num_frames
        self.damage = ""
        self._images = images
        self._about = "about " if about else ""

    def __iter__(self) -> Iterator[Frame]:
        count, shape, clock, last = 0, None, None, None
        try:
            for image, stamp in self._images:
                shape = shape or image.shape
                if image.shape != shape:
                    size = image.shape[1::-1]
                    raise _Damaged(f"the next one has another size, {_size(size)}: split it")
                clock = stamp if clock is None else clock
                shown = None if stamp is None or clock is None else stamp - clock
                if shown is None or (last is not None and shown <= last):
                    shown = Fraction(0) if last is None else last + 1 / self.rate
                yield Frame(image, shown)
                last = shown
                count += 1
        except _Damaged as reason:
            total = f" of {self._about}{self.num_frames}" if (self.num_frames or 0) > count else ""
            self.damage = (
                f"only {count}{total} frames of {self.name} could be read, because {reason}"
            )


def open_video(source: str | Path, fps: float | None = None) -> InputVideo:
    """Open a video file, a folder of images in the order of their numbers, or a camera.

    Args:
        source: a path, or the number of a camera.
        fps: frames a second of a folder, which has no rate of its own; by default 10.

    Raises:
        InputError: there are no frames to be had, or ``fps`` is given for something else.
    """
    path, camera = Path(source), str(source).isdecimal()
    if path.is_dir() and not camera:
        return _open_folder(path, FOLDER_FPS if fps is None else fps)
    if not path.is_file() and not camera:
        raise InputError(f"the input {source} is no file, no folder and no number of a camera")
    if fps is not None:
        raise InputError(f"--fps is for folders of images, and {source} has a rate of its own")
    return _open_camera(int(str(source))) if camera else _open_file(path)


# ---- files ---------------------------------------------------------------------------------------


def _open_file(path: Path) -> InputVideo:
    require_av()
    import av

    try:
        # "file:" since a name with a colon would be a protocol; metadata need not be UTF-8
        container = av.open(f"file:{path}", metadata_errors="replace")
    except av.FFmpegError as error:
        raise InputError(
            f"cannot read {path} as a video ({error.strerror}): it is of another kind, damaged, or "
            "was cut off; copy it again, or name another"
        ) from None
    stream: Any = container.streams.best("video")
    if stream is None or stream.codec_context is None:
        container.close()
        raise InputError(f"{path} has no video that can be decoded: name another file")
    rate = stream.average_rate or stream.guessed_rate or 25
    rate = Fraction(rate.numerator, rate.denominator)
    # in seconds: of all that is in the file, sound as well, and of its video
    end = video_end = Fraction(container.duration or 0, av.time_base)
    if stream.duration is not None:
        video_end = stream.duration * stream.time_base
    if container.format.name == "avi":
        end = video_end = stream.frames / rate  # its durations are of what is left after a cut
    num_frames = round(video_end * rate) or None
    images = _decode(container, stream, rate, end)
    return InputVideo(path.name, rate, num_frames, images, about=stream.frames != num_frames)


def _decode(container: Any, stream: Any, rate: Fraction, end: Fraction) -> Iterator[_Timed]:
    """The images of a stream, upright, as long as some can be decoded.

    Args:
        end: in seconds, where the last packet of the file should end; 0: unknown.
    """
    import av

    to_rgb = av.video.reformatter.VideoReformatter()
    reached, started, damaged = Fraction(0), False, False
    joinable, losses = container.format.name == "mpegts", _Losses()
    with container:
        try:
            for packet in container.demux():
                if packet.pts is not None:
                    last = packet.pts + (packet.duration or 0)
                    reached = max(reached, last * packet.time_base)
                if packet.stream.index != stream.index:
                    continue
                losses.watch(packet)
                marked = packet.is_corrupt and not joinable
                frames, whole = ([], False) if marked else _frames_of(packet)
                for frame in frames:
                    yield _upright(to_rgb, frame), _time(frame)
                    started = True
                # recordings often begin in the middle of something
                damaged |= started and not whole
        except av.FFmpegError:
            damaged = True
    # the durations of last frames are often no more than a guess
    if reached < end - max(Fraction(1, 4), 2 / rate):
        raise _Damaged(
            f"it ends after {float(reached):.1f} of {float(end):.1f} seconds: copy it again"
        )
    if damaged or not started:
        raise _Damaged("the others are damaged: copy it again")
    if losses.marks:
        raise _Damaged("parts of it were lost, and frames there are damaged: copy it again")


class _Losses:
    """The places where parts of an MPEG-TS file were lost, as far as its packets tell.

    FFmpeg marks packets near which the counters of the stream jump. They also do where files were
    joined end to end, which nothing is lost by: there the clock starts again.
    """

    NEAR = 8  # packets; a mark is some before its reason

    def __init__(self) -> None:
        self.marks: list[int] = []  # which packets have one that no seam explains
        self._count = 0
        self._clock: int | None = None

    def watch(self, packet: Any) -> None:
        """Take note of the next packet of the video."""
        if packet.is_corrupt:
            self.marks.append(self._count)
        if packet.dts is not None:
            if self._clock is not None and packet.dts < self._clock:
                self.marks = [mark for mark in self.marks if mark < self._count - self.NEAR]
            self._clock = packet.dts
        self._count += 1


def _frames_of(packet: Any) -> tuple[list[Any], bool]:
    """The frames that a packet completes, but for damaged ones, and whether there were none."""
    import av

    try:
        frames = packet.decode()
    except av.FFmpegError:
        return [], False
    whole = [frame for frame in frames if not frame.is_corrupt]
    return whole, len(whole) == len(frames)


def _time(frame: Any) -> Fraction | None:
    return None if frame.pts is None else frame.pts * frame.time_base


def _upright(to_rgb: Any, frame: Any) -> NDArray[np.uint8]:
    """An image in RGB, turned as the file says: phones write portrait videos on their side."""
    # unless a video names its colours, players take them to be those of its resolution
    unnamed_hd = frame.colorspace == 2 and frame.height >= 720
    colours = "ITU709" if unnamed_hd else None
    image = to_rgb.reformat(frame, format="rgb24", src_colorspace=colours).to_ndarray()
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))


# ---- folders -------------------------------------------------------------------------------------


def _open_folder(folder: Path, fps: float) -> InputVideo:
    if not 0.001 <= fps < float("inf"):
        raise InputError(f"--fps must be at least 0.001, got {fps}")
    paths = [p for p in folder.iterdir() if p.suffix.lower() in IMAGES and p.name[0] != "."]
    if not paths:
        raise InputError(f"the folder {folder} holds no images ({', '.join(IMAGES)})")
    paths.sort(key=lambda p: [int(s) if s.isdecimal() else s for s in re.split(r"(\d+)", p.name)])
    sizes = [_header_size(path) for path in paths]
    other = next((i for i, size in enumerate(sizes) if size != sizes[0]), None)
    if other is not None:
        raise InputError(
            f"{paths[other]} has the size {_size(sizes[other])}, {paths[0].name} "
            f"{_size(sizes[0])}: give images of each size a folder of their own"
        )
    return InputVideo(folder.resolve().name, Fraction(fps), len(paths), map(_read_timed, paths))


def _header_size(path: Path) -> tuple[int, int]:
    try:
        return header_size(path)
    except OSError as error:
        raise InputError(f"cannot read the image {path} ({error}): replace it") from None


def _read_timed(path: Path) -> _Timed:
    try:
        return read_image(path), None
    except OSError as error:
        raise _Damaged(f"{path.name} is damaged ({error}): replace it") from None


def _size(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


# ---- cameras -------------------------------------------------------------------------------------


def _open_camera(index: int) -> InputVideo:
    log = getattr(cv2.utils, "logging", cv2)  # where OpenCV 5 and OpenCV 4 have it
    level = log.setLogLevel(0)  # silent: what is wrong is said below
    capture = cv2.VideoCapture(index)
    log.setLogLevel(level)
    if not capture.isOpened():
        raise InputError(
            f"camera {index} cannot be opened: check that it is there and that no other program "
            "uses it"
        )
    rate = Fraction(capture.get(cv2.CAP_PROP_FPS) or 30).limit_denominator(1001)
    return InputVideo(f"camera {index}", rate, None, _capture(capture))


def _capture(capture: Any) -> Iterator[_Timed]:
    """Images with the times at which they were had: a slow detector leaves out some."""
    try:
        while True:
            there, image = capture.read()
            if not there:
                raise _Damaged("it gave no more: check its cable")
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB), Fraction(time.monotonic())
    finally:
        capture.release()
