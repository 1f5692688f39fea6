"""Data sets known to detectron2, below $DETECTRON2_DATASETS (``datasets`` where that is not set).

Importing this module registers

* ``mini_davis_depth_{train,val}``, ``mini_davis_degraded_depth_{train,val}``: drawn videos of
  tools/make_mini_davis.py --depth;
* ``nyu_depth_{train,val}``, ``scannet_depth_{train,val}``, ``kitti_depth_{train,val}``,
  ``sintel_depth_{clean,final}``; the README says where to get them.

Files are read when a data set is used, not before.
"""

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from video_depth.layout import Record, VideoFolders, depth_records, own_videos
from videogcrf_det.data.mini_davis import DEPTH_UNIT
from videogcrf_det.errors import InputError

MILLIMETRES = 0.001
KITTI_UNIT = 1 / 256


def load_drawn(root: Path, split: str, clear: Path | None = None) -> list[Record]:
    """Drawn videos of one size.

    Args:
        root: that tools/make_mini_davis.py --depth wrote.
        split: "train" or "val".
        clear: the same without degraded frames.
    """
    names = _names(root / "ImageSets/2017" / f"{split}.txt", "draw them with make_mini_davis.py")
    sizes = sorted((root / "JPEGImages").glob("*p"))
    if len(sizes) != 1 or not (root / "Depth" / sizes[0].name).is_dir():
        raise InputError(f"{root} has no depth maps: draw it with make_mini_davis.py --depth")
    size = sizes[0].name
    videos = [
        VideoFolders(
            name,
            root / "JPEGImages" / size / name,
            root / "Depth" / size / name,
            clear=None if clear is None else clear / "JPEGImages" / size / name,
        )
        for name in names
    ]
    return depth_records(videos, root, DEPTH_UNIT)


def load_nyu(root: Path, split: str) -> list[Record]:
    """NYU Depth v2 as frames: ``sync/<scene>/rgb_00000.jpg``, ``sync_depth_00000.png``.

    ``<split>.txt`` names the scenes, one a line.
    """
    names = _names(root / f"{split}.txt", "write the names of scenes into it, one a line")
    return depth_records(
        [
            VideoFolders(name, root / "sync" / name, root / "sync" / name, "rgb_", "sync_depth_")
            for name in names
        ],
        root,
        MILLIMETRES,
    )


def load_scannet(root: Path, split: str) -> list[Record]:
    """ScanNet as its reader exports it: ``scans/<scene>/color/0.jpg``, ``depth/0.png``.

    ``scannetv2_<split>.txt`` of its repository names the scenes.
    """
    names = _names(root / f"scannetv2_{split}.txt", "copy it from ScanNet's repository")
    return depth_records(
        [
            VideoFolders(n, root / "scans" / n / "color", root / "scans" / n / "depth")
            for n in names
        ],
        root,
        MILLIMETRES,
    )


def load_kitti(root: Path, split: str) -> list[Record]:
    """KITTI's depth prediction: ``depth/<split>/<drive>/proj_depth/groundtruth/image_02/*.png``
    beside ``raw/<date>/<drive>/image_02/data/*.png``."""
    drives = sorted((root / "depth" / split).glob("*_sync"))
    if not drives:
        raise InputError(f"there are no drives in {root / 'depth' / split}: unpack KITTI's there")
    videos = [
        VideoFolders(
            drive.name,
            root / "raw" / drive.name[:10] / drive.name / "image_02" / "data",
            drive / "proj_depth" / "groundtruth" / "image_02",
        )
        for drive in drives
    ]
    return depth_records(videos, root, KITTI_UNIT)


def load_sintel(root: Path, kind: str) -> list[Record]:
    """MPI-Sintel: ``training/<kind>/<scene>/frame_0001.png``, ``training/depth/<scene>/
    frame_0001.dpt``; ``kind`` is clean or final."""
    scenes = sorted(p for p in (root / "training" / kind).glob("*") if p.is_dir())
    if not scenes:
        raise InputError(f"there are no scenes in {root / 'training' / kind}: unpack Sintel there")
    videos = [VideoFolders(p.name, p, root / "training" / "depth" / p.name) for p in scenes]
    return depth_records(videos, root, None)


def register_own(cfg: CfgNode) -> None:
    """Register what DATASETS.DEPTH names.

    Raises:
        InputError: an entry is not NAME=FOLDER.
    """
    for entry in cfg.DATASETS.DEPTH:
        name, separator, folder = str(entry).partition("=")
        if not name or not separator or not folder:
            raise InputError(f"DATASETS.DEPTH has {entry!r}: write NAME=FOLDER")
        if name in DatasetCatalog:  # another folder, on the same name, of an earlier config
            DatasetCatalog.remove(name)
        DatasetCatalog.register(name, partial(own_videos, folder))


def _names(path: Path, advice: str) -> list[str]:
    try:
        names = path.read_text(encoding="utf-8").split()
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}): {advice}") from None
    if not names:
        raise InputError(f"{path} names no video: {advice}")
    return names


def _loaders(root: Path) -> Iterable[tuple[str, Callable[[], list[Record]]]]:
    drawn, degraded = root / "mini_davis", root / "mini_davis_degraded"
    for split in ("train", "val"):
        yield f"mini_davis_depth_{split}", partial(load_drawn, drawn, split)
        yield f"mini_davis_degraded_depth_{split}", partial(load_drawn, degraded, split, drawn)
        yield f"nyu_depth_{split}", partial(load_nyu, root / "NYUDepthV2", split)
        yield f"scannet_depth_{split}", partial(load_scannet, root / "ScanNet", split)
        yield f"kitti_depth_{split}", partial(load_kitti, root / "KITTI", split)
    for kind in ("clean", "final"):
        yield f"sintel_depth_{kind}", partial(load_sintel, root / "MPI-Sintel", kind)


def _register_all() -> None:
    root = Path(os.getenv("DETECTRON2_DATASETS", "datasets")).expanduser()
    for name, load in _loaders(root):
        if name not in DatasetCatalog:  # a user's own, or this module imported again
            DatasetCatalog.register(name, load)
            MetadataCatalog.get(name).set(evaluator_type="depth")


_register_all()
