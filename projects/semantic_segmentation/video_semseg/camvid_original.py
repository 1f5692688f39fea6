"""An original CamVid, with its 32 classes as colours, to the 11 labels of the SegNet tutorial."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from video_semseg import camvid
from video_semseg.label_maps import Size, save_image, told_if_not_writable
from videogcrf_det.data.images import read_image
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write
from videogcrf_det.progress import progress

# Class of the original -> its RGB there, and what it becomes (None: void). This is the grouping
# that is published with other tools; the tutorial gives label maps, but no table.
CLASSES: dict[str, tuple[tuple[int, int, int], str | None]] = {
    "Sky": ((128, 128, 128), "sky"),
    "Building": ((128, 0, 0), "building"),
    "Archway": ((192, 0, 128), "building"),
    "Bridge": ((0, 128, 64), "building"),
    "Tunnel": ((64, 0, 64), "building"),
    "Wall": ((64, 192, 0), "building"),
    "Column_Pole": ((192, 192, 128), "pole"),
    "TrafficCone": ((0, 0, 64), "pole"),
    "Road": ((128, 64, 128), "road"),
    "LaneMkgsDriv": ((128, 0, 192), "road"),
    "LaneMkgsNonDriv": ((192, 0, 64), "road"),
    "Sidewalk": ((0, 0, 192), "sidewalk"),
    "ParkingBlock": ((64, 192, 128), "sidewalk"),
    "RoadShoulder": ((128, 128, 192), "sidewalk"),
    "Tree": ((128, 128, 0), "tree"),
    "VegetationMisc": ((192, 192, 0), "tree"),
    "SignSymbol": ((192, 128, 128), "sign"),
    "Misc_Text": ((128, 128, 64), "sign"),
    "TrafficLight": ((0, 64, 64), "sign"),
    "Fence": ((64, 64, 128), "fence"),
    "Car": ((64, 0, 128), "car"),
    "SUVPickupTruck": ((64, 128, 192), "car"),
    "Truck_Bus": ((192, 128, 192), "car"),
    "Train": ((192, 64, 128), "car"),
    "OtherMoving": ((128, 64, 64), "car"),
    "Pedestrian": ((64, 64, 0), "pedestrian"),
    "Child": ((192, 128, 64), "pedestrian"),
    "CartLuggagePram": ((64, 0, 192), "pedestrian"),
    "Animal": ((64, 128, 64), "pedestrian"),
    "Bicyclist": ((0, 128, 192), "bicyclist"),
    "MotorcycleScooter": ((192, 0, 192), "bicyclist"),
    "Void": ((0, 0, 0), None),
}
UNKNOWN = 255
MAX_NAMES = 3  # files that a line of the summary names


@dataclass(frozen=True)
class Conversion:
    """The files that were written, and those that the original lacks."""

    output: Path
    frames: dict[str, int]  # split -> how many were written
    missing: list[Path]

    def __str__(self) -> str:
        wanted = {split: len(names) for split, names in camvid.frame_names().items()}
        parts = [f"{self.frames[split]} of {wanted[split]} {split}" for split in wanted]
        lines = [f"{self.output}: {', '.join(parts)} frames"]
        if self.missing:
            more = len(self.missing) - MAX_NAMES
            lines += [
                f"missing: {', '.join(map(str, self.missing[:MAX_NAMES]))}"
                + (f" and {more} more" if more > 0 else ""),
                "note: results on a part of CamVid do not compare with results on the whole",
            ]
        return "\n".join(lines)


def _labels_of_colours() -> NDArray[np.uint8]:
    """(2^24,) labels of all colours, ``red * 2^16 + green * 2^8 + blue``."""
    table = np.full(1 << 24, UNKNOWN, np.uint8)
    numbers = {name: label for label, name in enumerate(camvid.COLOURS)}
    for (red, green, blue), name in CLASSES.values():
        table[red << 16 | green << 8 | blue] = camvid.VOID if name is None else numbers[name]
    return table


def convert_camvid(
    images: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    output: str | os.PathLike[str],
    size: Size | None = None,
) -> Conversion:
    """Write the layout of the SegNet tutorial from an original, or from a part of one.

    The lists of frames come last: an interrupted conversion has none, and another repeats it.

    Args:
        images: folder with the frames, ``0001TP_006690.png`` and so on.
        labels: folder with their labels as colours, ``0001TP_006690_L.png``.
        output: folder to write to.
        size: (width, height) of what is written: frames are averaged over areas, labels taken from
            the nearest pixel. None: as they are.

    Raises:
        InputError: the original has no frame, a file is not an image, a label has another size
            than its frame, a colour is none of CamVid's, or ``output`` cannot be written to.
    """
    images, labels, output = Path(images), Path(labels), Path(output)
    pairs, missing = _find(images, labels)
    with told_if_not_writable(output):
        for split in pairs:
            (output / f"{split}.txt").unlink(missing_ok=True)
        _write(pairs, output, size)
    return Conversion(output, {split: len(found) for split, found in pairs.items()}, missing)


def _write(pairs: dict[str, list[tuple[Path, Path]]], output: Path, size: Size | None) -> None:
    table = _labels_of_colours()
    work = [(split, *pair) for split, of_split in pairs.items() for pair in of_split]
    for split, image, label in progress(work, desc="converting", unit="frame"):
        frame, label_map = _convert(image, label, table, size)
        save_image(output / split / image.name, frame)
        save_image(output / f"{split}annot" / image.name, label_map)
    for split, of_split in pairs.items():
        lines = [f"{split}/{image.name} {split}annot/{image.name}\n" for image, _ in of_split]
        if lines:
            with atomic_write(output / f"{split}.txt") as temporary:
                temporary.write_text("".join(lines), encoding="utf-8")


def _find(images: Path, labels: Path) -> tuple[dict[str, list[tuple[Path, Path]]], list[Path]]:
    """Split -> frames that are there, with their labels; and the files that are not."""
    pairs: dict[str, list[tuple[Path, Path]]] = {}
    missing = []
    for split, names in camvid.frame_names().items():
        pairs[split] = []
        for name in names:
            pair = images / f"{name}.png", labels / f"{name}_L.png"
            absent = [file for file in pair if not file.is_file()]
            missing += absent
            if not absent:
                pairs[split].append(pair)
    if not any(pairs.values()):
        raise InputError(
            f"{images} and {labels} have no frame of CamVid with its label, such as "
            f"{names[0]}.png and {names[0]}_L.png: name the two folders of an original"
        )
    return pairs, missing


def _convert(
    image: Path, label: Path, table: NDArray[np.uint8], size: Size | None
) -> tuple[Image.Image, NDArray[np.uint8]]:
    """A frame and its label map, (height, width), of ``size``."""
    frame, colours = Image.fromarray(_read(image)), _read(label)
    if frame.size != colours.shape[1::-1]:
        raise InputError(
            f"{label} is of another size than {image} ({colours.shape[1::-1]}, not {frame.size}, "
            "width and height): give labels of the frames' size"
        )
    red, green, blue = np.moveaxis(colours.astype(np.uint32), 2, 0)
    codes = red << 16 | green << 8 | blue
    label_map = table[codes]
    unknown, counts = np.unique(codes[label_map == UNKNOWN], return_counts=True)
    if len(unknown):
        code = int(unknown[counts.argmax()])
        worst = code >> 16, code >> 8 & 255, code & 255
        raise InputError(
            f"{label} has {counts.sum()} pixels of {len(unknown)} colours that CamVid has no class "
            f"for, most of them ({counts.max()}) of {worst}: "
            "give the original's labels, which were never resized or compressed with loss"
        )
    if size is None:
        return frame, label_map
    resized = Image.fromarray(label_map).resize(size, Image.Resampling.NEAREST)
    return frame.resize(size, Image.Resampling.BOX), np.asarray(resized)


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        return read_image(path)
    except OSError as error:
        raise InputError(f"cannot read the image {path} ({error}): copy it again") from None
