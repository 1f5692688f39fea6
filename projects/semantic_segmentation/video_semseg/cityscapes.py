"""Cityscapes: its labels and its frames, of each of which nothing but itself is annotated nearby.

The layout is that of the archives ``leftImg8bit_trainvaltest`` and ``gtFine_trainvaltest``:

    leftImg8bit/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png
    gtFine/<split>/<city>/<city>_<sequence>_<frame>_gtFine_labelTrainIds.png

The last are made by cityscapesScripts from the polygons: labels 0 to 18, and 255.
"""

import os
from pathlib import Path
from typing import Any

from video_semseg.label_maps import check_label_map, read_size, require_files
from videogcrf_det.errors import InputError

SPLITS = ("train", "val")

# name -> RGB, in the order of the labels 0 to 18
COLOURS = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
VOID = 255

FRAME, LABELS = "_leftImg8bit.png", "_gtFine_labelTrainIds.png"
ADVICE = (
    "set DETECTRON2_DATASETS to the folder that has cityscapes/leftImg8bit and cityscapes/gtFine, "
    "and make the label maps with cityscapesScripts (csCreateTrainIdLabelImgs)"
)


def load_cityscapes(root: str | os.PathLike[str], split: str) -> list[dict[str, Any]]:
    """The frames of a split as detectron2's "dataset dicts", with ``sem_seg_file_name``.

    Annotated frames lie seconds apart, so each is a video of its own.

    Args:
        root: folder with leftImg8bit and gtFine.
        split: "train" or "val".

    Returns:
        frames sorted by name, such as aachen_000000_000019.

    Raises:
        InputError: there are no frames, a label map is missing, or does not fit its frame.
    """
    folder = Path(root, "leftImg8bit", split)
    frames = sorted(folder.glob(f"*/*{FRAME}"))
    if not frames:
        raise InputError(f"{folder} has no frames (<city>/*{FRAME}): {ADVICE}")
    labels = [
        Path(root, "gtFine", split, frame.parent.name, frame.name.removesuffix(FRAME) + LABELS)
        for frame in frames
    ]
    require_files(labels, folder, ADVICE)
    records = []
    for number, (frame, label_map) in enumerate(zip(frames, labels, strict=True)):
        width, height = read_size(frame)
        check_label_map(label_map, (width, height), ADVICE)
        name = frame.name.removesuffix(FRAME)
        records.append(
            {
                "file_name": str(frame),
                "sem_seg_file_name": str(label_map),
                "image_id": name,
                "height": height,
                "width": width,
                "video_name": name,
                "video_id": number,
                "frame_id": 0,
            }
        )
    return records
