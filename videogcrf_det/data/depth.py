"""Depth maps as files.

A depth map (H, W) float32 has metres; 0 is a pixel whose depth is missing. Read are

* ``.png`` of 16 bits, in a given unit of metres, 0 missing (NYU, ScanNet, KITTI);
* ``.npy``, (H, W) metres;
* ``.exr``, metres, where OpenCV was built with OpenEXR;
* ``.dpt``, metres, of MPI-Sintel.

What is not above 0 or not finite is missing in all of them.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from videogcrf_det.data.images import BAD_IMAGE, reason
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write

DepthMap = NDArray[np.float32]  # (H, W), metres, 0 where missing

SUFFIXES = (".png", ".npy", ".exr", ".dpt")
MOST_LEVELS = 65535  # of a PNG
DPT_TAG = 202021.25  # what .dpt files begin with


def read_depth(path: str | os.PathLike[str], unit: float | None = None) -> DepthMap:
    """Read a depth map.

    Args:
        path: of one of SUFFIXES.
        unit: metres a grey level of a PNG.

    Returns:
        (H, W) metres, 0 where missing.

    Raises:
        InputError: the file is not there, is damaged or of another kind, or is a PNG without a
            unit.
    """
    path = Path(path)
    readers = {".png": _read_png, ".npy": _read_npy, ".exr": _read_exr, ".dpt": _read_dpt}
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise InputError(f"the depth map {path} is none of {', '.join(SUFFIXES)}: convert it")
    if suffix == ".png" and (unit is None or not 0 < unit < np.inf):
        raise InputError(
            f"the unit of the depth map {path} is {unit}: state the metres a grey level stands for"
        )
    try:
        depth = np.asarray(readers[suffix](path), np.float32)
        if depth.ndim != 2 or not depth.size:
            raise ValueError(f"its shape is {depth.shape}, not (H, W)")
    except BAD_IMAGE as error:
        raise InputError(
            f"cannot read the depth map {path} ({reason(error)}): copy it again"
        ) from None
    if suffix == ".png":
        depth = depth * np.float32(unit)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))


def write_depth_png(path: str | os.PathLike[str], depth: DepthMap, unit: float) -> None:
    """Write a depth map (H, W) as a PNG of 16 bits.

    What is missing becomes 0; what is too near or too far for the unit, the nearest grey level.
    """
    levels = np.clip(np.rint(np.nan_to_num(depth) / unit), 1, MOST_LEVELS)
    levels = np.where(np.isfinite(depth) & (depth > 0), levels, 0).astype(np.uint16)
    with atomic_write(path) as temporary:
        Image.fromarray(levels).save(temporary, format="PNG")


def _read_png(path: Path) -> NDArray[np.generic]:
    with Image.open(path) as image:
        if image.format != "PNG" or not image.mode.startswith("I"):
            raise ValueError(f"it is {image.format} of mode {image.mode}, not a PNG of 16 bits")
        return np.asarray(image)


def _read_npy(path: Path) -> NDArray[np.generic]:
    depth = np.load(path, allow_pickle=False)
    if not isinstance(depth, np.ndarray) or depth.dtype.kind not in "fiu":
        raise ValueError("it holds no array of numbers")
    return depth


def _read_exr(path: Path) -> NDArray[np.generic]:
    if not path.is_file():
        raise FileNotFoundError(2, "No such file or directory")
    os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")  # read when OpenCV first needs it
    import cv2

    try:
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError("this OpenCV reads no OpenEXR: convert it to .npy") from error
    if depth is None:
        raise ValueError("this OpenCV reads no OpenEXR, or the file is damaged")
    return depth if depth.ndim == 2 else depth[:, :, 0]


def _read_dpt(path: Path) -> NDArray[np.generic]:
    content = path.read_bytes()
    if len(content) < 12 or np.frombuffer(content, "<f4", 1)[0] != np.float32(DPT_TAG):
        raise ValueError("it does not begin as a .dpt file does")
    width, height = np.frombuffer(content, "<i4", 2, 4).tolist()
    if width < 1 or height < 1 or len(content) != 12 + 4 * width * height:
        raise ValueError(f"it has {len(content)} bytes, which {width}x{height} pixels do not take")
    return np.frombuffer(content, "<f4", width * height, 12).reshape(height, width)
