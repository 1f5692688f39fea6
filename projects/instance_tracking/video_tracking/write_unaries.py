"""Writing our own unaries; what make_unaries.py does."""

from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode

from video_tracking.davis import VOID, FilePath, Record, read_object_mask
from video_tracking.mappers import ObjectVideoMapper
from video_tracking.provider import OnlineTracker
from video_tracking.unaries import check_unaries, write_unary
from videogcrf_det.data import load_videos
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_folder, atomic_write
from videogcrf_det.progress import progress


def make_unaries(
    cfg: CfgNode, dataset: str, output: FilePath, sequences: Sequence[str] = ()
) -> None:
    """Write the unaries of all objects of a data set; see unaries.py.

    Those of a first frame are its mask: 0, 1, and 0.5 where void. A video's folder is there when it
    is complete. Those that are there are left out.

    Args:
        cfg: of the network; see OnlineTracker.from_cfg. ``output`` keeps it, as config.yaml.
        dataset: a registered data set of davis.py.
        output: the folder.
        sequences: which of it; all if there are none.

    Raises:
        InputError: something of the above is not usable, or ``output`` has unaries of another
            config, or of other frames.
    """
    output = Path(output)
    videos = load_videos(dataset)
    known = {video["frames"][0]["sequence"] for video in videos}
    for name in sequences:
        if name not in known:
            raise InputError(f"{dataset} has no sequence {name!r}, only {', '.join(sorted(known))}")
    if sequences:
        videos = [video for video in videos if video["frames"][0]["sequence"] in sequences]
    tracker = OnlineTracker.from_cfg(cfg)
    _keep_config(cfg, output)
    missing = [video for video in videos if not _is_written(video, output)]
    mapper = ObjectVideoMapper(cfg, is_train=False)
    for video in progress(missing, desc="unaries", unit="video"):
        with atomic_folder(output / video["video_name"]) as temporary:
            _write_video(tracker, mapper(video), temporary)


def _is_written(video: Record, output: Path) -> bool:
    folder = output / video["video_name"]
    if folder.is_dir():
        try:
            check_unaries(output, video["frames"])
        except InputError as error:
            raise InputError(
                f"{folder} does not have the unaries of {video['video_name']} as they would be "
                f"written ({error}): name another folder, or remove it"
            ) from None
    return folder.is_dir()


def _write_video(tracker: OnlineTracker, video: Record, folder: Path) -> None:
    records = video["records"]
    mask = read_object_mask(records[0])
    given = np.where(mask == VOID, np.float32(0.5), mask)
    found = tracker(video["video_name"], iter(video["frames"]))
    for record, probability in zip(records, chain([given], found), strict=True):
        write_unary(folder / f"{Path(record['file_name']).stem}.png", probability)


def _keep_config(cfg: CfgNode, output: Path) -> None:
    """Write what makes the unaries what they are beside them, or compare with what is there."""
    keys = ("MODEL", "INPUT", "TEST", "SOLVER", "UNARIES", "SEED")
    content = CfgNode({key: cfg[key] for key in keys}).dump()
    path = output / "config.yaml"
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{output} cannot be a folder of unaries ({error.strerror}): name another"
        ) from None
    if not path.exists():
        with atomic_write(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
        return
    lines = [text.splitlines() for text in (path.read_text(encoding="utf-8"), content)]
    for old, new in zip_longest(*lines, fillvalue="nothing"):
        if old != new:
            raise InputError(
                f"{output} has unaries of another config ({path} has {old.strip()!r}, not "
                f"{new.strip()!r}): name another folder, or remove it"
            )
