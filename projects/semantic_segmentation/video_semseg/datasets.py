"""CamVid, registered with detectron2: ``camvid_{train,val,test}`` below $DETECTRON2_DATASETS."""

import os
import re
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from videogcrf_det.errors import InputError

# name -> RGB, in the order of the labels 0 to 10; 11 is void
CAMVID = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "sidewalk": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
CAMVID_VOID = 11
FRAME_NAME = re.compile(r"(?P<sequence>.+?)_f?(?P<number>\d+)$")


def load_camvid(root: str | os.PathLike[str], split: str) -> list[dict[str, Any]]:
    """The frames of a split as detectron2's "dataset dicts", with ``sem_seg_file_name``.

    Args:
        root: folder with ``<split>.txt``: an image and its annotation a line, relative to ``root``
            (what comes before ``CamVid/`` in a path is dropped).
        split: "train", "val" or "test".

    Returns:
        frames sorted by sequence and number: names such as 0001TP_006690 or Seq05VD_f03210.

    Raises:
        InputError: a file is missing, or a name has no number.
    """
    root = Path(root)
    path = root / f"{split}.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(
            f"cannot read {path} ({error.strerror}): set DETECTRON2_DATASETS to the folder that "
            "has CamVid in the layout of the SegNet tutorial (the project's README)"
        ) from None
    records = []
    for line in filter(str.strip, lines):
        image, annotation = (root / name.rpartition("CamVid/")[2] for name in line.split()[:2])
        found = FRAME_NAME.match(image.stem)
        if found is None:
            raise InputError(f"{path}: {image.name} is not named <sequence>_<number>: rename it")
        for file in (image, annotation):
            if not file.is_file():
                raise InputError(f"{file}, which {path} names, does not exist: copy it there")
        with Image.open(image) as picture:
            width, height = picture.size
        records.append(
            {
                "file_name": str(image),
                "sem_seg_file_name": str(annotation),
                "image_id": image.stem,
                "height": height,
                "width": width,
                "video_name": found["sequence"],
                "video_id": found["sequence"],
                "frame_id": int(found["number"]),
            }
        )
    return sorted(records, key=lambda record: (record["video_id"], record["frame_id"]))


def _register() -> None:
    root = os.path.join(os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets")), "CamVid")
    for split in ("train", "val", "test"):
        name = f"camvid_{split}"
        if name in DatasetCatalog:
            continue
        DatasetCatalog.register(name, lambda split=split: load_camvid(root, split))
        MetadataCatalog.get(name).set(
            stuff_classes=list(CAMVID),
            stuff_colors=list(CAMVID.values()),
            ignore_label=CAMVID_VOID,
            evaluator_type="sem_seg",
        )


_register()
