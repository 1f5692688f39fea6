"""Data sets known to detectron2, below $DETECTRON2_DATASETS (``datasets`` where that is not set).

Importing this module registers ``davis_2016_{train,val}_<resolution>``,
``davis_2017_{train,val,test-dev}_<resolution>`` for the resolutions 480p and 240p, and of the drawn
data set ``mini_davis_{train,val}``. Files are read when a data set is used, not before.
"""

import os
from functools import partial
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog

from video_tracking.davis import VOID, load_davis

SPLITS = {"2016": ("train", "val"), "2017": ("train", "val", "test-dev")}
RESOLUTIONS = ("480p", "240p")


def _register(name: str, folder: str, year: str, split: str, resolution: str) -> None:
    if name in DatasetCatalog:  # a user's own, or this module imported again
        return
    root = Path(os.getenv("DETECTRON2_DATASETS", "datasets")).expanduser() / folder
    DatasetCatalog.register(name, partial(load_davis, root, year, split, resolution))
    MetadataCatalog.get(name).set(
        stuff_classes=["background", "object"],
        stuff_colors=[(0, 0, 0), (220, 20, 60)],
        ignore_label=VOID,
        evaluator_type="davis",
    )


def _register_all() -> None:
    for year, splits in SPLITS.items():
        for split in splits:
            for resolution in RESOLUTIONS:
                name = f"davis_{year}_{split}_{resolution}"
                _register(name, "DAVIS", year, split, resolution)
    for split in ("train", "val"):
        _register(f"mini_davis_{split}", "mini_davis", "2017", split, "120p")


_register_all()
