"""A data set in the layout of DAVIS at another resolution."""

from pathlib import Path

import cv2
from PIL import Image, ImageOps

from videogcrf_det.data.images import BAD_IMAGE, header_size, read_image, reason
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_folder, atomic_write
from videogcrf_det.progress import progress


def resize_davis(root: str | Path, source: str = "480p", height: int = 240) -> int:
    """Write frames and masks of ``root`` at another height, as ``<height>p`` beside the others,
    and the lists ``ImageSets/<source>/*.txt`` of DAVIS-2016 anew.

    Widths keep their proportion. Frames are averaged over pixels, and saved as JPEG; a pixel of a
    mask is that of the nearest one, so that ids stay ids.

    Args:
        root: has ``JPEGImages/<source>`` and, where there are masks, ``Annotations/<source>``.
        source: the resolution to start from.
        height: of the new ones, in pixels.

    Returns:
        How many files were written.

    Raises:
        InputError: there are no frames, the height is not smaller, a file cannot be read, or the
            new folder is there.
    """
    root = Path(root)
    if not (root / "JPEGImages" / source).is_dir():
        raise InputError(
            f"there are no frames in {root}/JPEGImages/{source}: check --root, --source"
        )
    if height < 16:
        raise InputError(f"--height is {height}: give 16 pixels or more")
    count = 0
    for kind in ("JPEGImages", "Annotations"):
        folder = root / kind / source
        files = sorted(p for p in folder.glob("*/*") if p.suffix.lower() in (".jpg", ".png"))
        if not files:
            continue
        with atomic_folder(root / kind / f"{height}p") as target:
            for path in progress(files, desc=f"{kind} {height}p", unit="file"):
                place = target / path.relative_to(folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                _resize(path, place, height, masks=kind == "Annotations")
                count += 1
    _write_lists(root, source, f"{height}p")
    return count


def _write_lists(root: Path, source: str, target: str) -> None:
    """The lists of DAVIS-2016, which name the paths of one resolution, for the new one."""
    for path in sorted((root / "ImageSets" / source).glob("*.txt")):
        text = path.read_text(encoding="utf-8-sig").replace(f"/{source}/", f"/{target}/")
        with atomic_write(root / "ImageSets" / target / path.name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _resize(path: Path, place: Path, height: int, masks: bool) -> None:
    try:
        wide, high = header_size(path)
        if high <= height:
            raise InputError(f"{path} has {high} rows: --height {height} has to be smaller")
        size = round(wide * height / high), height
        if masks:
            with Image.open(path) as image:
                image.load()
                upright = ImageOps.exif_transpose(image)  # indexed ones keep their colours
                upright.resize(size, Image.Resampling.NEAREST).save(place)
            return
        pixels = read_image(path)
    except BAD_IMAGE as error:
        raise InputError(f"{path} cannot be read ({reason(error)}): copy it again") from error
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    Image.fromarray(small).save(place, quality=95)
