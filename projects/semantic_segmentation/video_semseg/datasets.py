"""Data sets known to detectron2, below $DETECTRON2_DATASETS (``datasets`` where that is not set).

Importing this module registers ``camvid_{train,val,test}``, ``cityscapes_semantic_{train,val}``,
``davis_person_semantic_{train,val}`` and, of the drawn data set,
``mini_davis_person_semantic_{train,val}``. Files are read when a data set is used, not before.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from video_semseg import camvid, cityscapes, davis

Colours = dict[str, tuple[int, int, int]]


def _register(name: str, load: Callable[[], Any], colours: Colours, void: int) -> None:
    if name in DatasetCatalog:  # a user's own, or this module imported again
        return
    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(
        stuff_classes=list(colours),
        stuff_colors=list(colours.values()),
        ignore_label=void,
        evaluator_type="sem_seg",
    )


def _register_all() -> None:
    root = Path(os.getenv("DETECTRON2_DATASETS", "datasets")).expanduser()
    for split in camvid.SPLITS:
        load = partial(camvid.load_camvid, root / "CamVid", split)
        _register(f"camvid_{split}", load, camvid.COLOURS, camvid.VOID)
    for split in cityscapes.SPLITS:
        load = partial(cityscapes.load_cityscapes, root / "cityscapes", split)
        name = f"cityscapes_semantic_{split}"
        _register(name, load, cityscapes.COLOURS, cityscapes.VOID)
    for prefix, folder in [("davis_person", "DAVIS"), ("mini_davis_person", "mini_davis")]:
        for split in ("train", "val"):
            json_file = root / folder / "annotations" / f"{prefix}_{split}.json"
            load = partial(davis.load_davis_person, json_file)
            _register(f"{prefix}_semantic_{split}", load, davis.COLOURS, davis.VOID)


_register_all()
