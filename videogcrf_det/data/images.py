"""The one reader of images: frames, label maps, folders of frames."""

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

# what Pillow raises on broken files; TypeError at a TIFF that names a further image without a size
BAD_IMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, struct.error, EOFError, MemoryError),
    Image.DecompressionBombError,
)
TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange height and width
ORIENTATION = 0x0112


def read_image(path: str | os.PathLike[str], mode: str = "RGB") -> NDArray[np.uint8]:
    """An image as every part of the project sees it.

    It is turned as its EXIF orientation says. Of 16 bits a channel the upper 8 are taken. The file
    is decoded as a whole, so that one that is damaged anywhere is never half black.

    Args:
        path: of any format that Pillow reads, with one image in it.
        mode: "RGB", "BGR", or "L" for grey.

    Returns:
        (H, W, 3), or (H, W, 1) for "L", uint8.

    Raises:
        OSError: it is not there, is damaged, or holds something else; the end of a sentence.
    """
    try:
        with _opened(path) as image:
            pixels = _eight_bits(ImageOps.exif_transpose(image), "L" if mode == "L" else "RGB")
    except BAD_IMAGE as error:
        raise OSError(reason(error)) from error
    if mode == "L":
        return pixels[:, :, None]
    return np.ascontiguousarray(pixels[:, :, ::-1]) if mode == "BGR" else pixels


def read_label_map(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """A label map (H, W), whose grey levels are labels; turned like the frame beside it.

    Raises:
        OSError: see read_image; or it holds anything but 8 bits of grey, of which labels could only
            be guessed.
    """
    try:
        with _opened(path) as image:
            if image.mode != "L":
                raise ValueError(f"its mode is {image.mode}: save labels as 8 bits of grey")
            return np.asarray(ImageOps.exif_transpose(image))
    except BAD_IMAGE as error:
        raise OSError(reason(error)) from error


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """An image that has been decoded as a whole."""
    with Image.open(path) as image:
        _check_single(image)
        image.load()  # before anything that would swallow an error, and pass the second time
        yield image


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) of an open image, turned as read_image turns it.

    Of a PNG that names its orientation behind its pixels, against all custom, as it lies: to look
    for that would be to decode every PNG.
    """
    width, height = image.size
    if image.format == "TIFF":  # of which Pillow has turned the size already, or not: its version
        tags = image.tag_v2  # type: ignore[attr-defined]
        width, height = int(tags[256]), int(tags[257])
    orientation = Image.Image.getexif(image).get(ORIENTATION)
    return (height, width) if orientation in TURNED else (width, height)


def header_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(width, height) of an image, without decoding it; see upright_size.

    Raises:
        OSError: see read_image.
    """
    try:
        with Image.open(path) as image:
            _check_single(image)
            return upright_size(image)
    except BAD_IMAGE as error:
        raise OSError(reason(error)) from error


def check_whole(path: Path) -> None:
    """Check that a file does not end too early; it is decoded only where its end does not tell.

    Raises:
        OSError: see read_image.
    """
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(max(path.stat().st_size - 64, 0))
        end = file.read()
    if start != b"\xff\xd8" or b"\xff\xd9" in end:  # no JPEG, or one with its end
        return
    try:
        read_image(path)  # others follow the image in the same file, as in motion photos
    except OSError:
        raise OSError("the file is cut short") from None


def reason(error: BaseException) -> str:
    """A message of Pillow about a file, without its path."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):
        limit = f"{Image.MAX_IMAGE_PIXELS or 0:,}"
        return f"it has more than twice {limit} pixels: make it smaller"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _check_single(image: Image.Image) -> None:
    count = getattr(image, "n_frames", 1)
    if count > 1 and image.format != "MPO":  # which has previews after the image
        raise ValueError(f"it holds {count} images: save each as a file, or a video")


def _eight_bits(image: Image.Image, mode: str) -> NDArray[np.uint8]:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers: save 8 or 16 bits")
    if image.mode[0] == "I":  # more than 8 bits of grey, which Pillow would clip
        wide = np.asarray(image)
        if wide.min() < 0 or wide.max() > 65535:
            raise ValueError("its pixels are 32-bit integers: save 8 or 16 bits")
        grey = (wide // 256).astype(np.uint8)
        return grey if mode == "L" else np.stack([grey] * 3, axis=2)
    return np.asarray(image.convert(mode))
