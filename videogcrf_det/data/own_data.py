"""Data sets of one's own, named in a config or on the command line, without writing Python.

They are entries ``NAME=JSON:IMAGES`` of DATASETS.OWN, which --train-data, --test-data and the YAML
file of DATASETS.FILE end up in. So they are part of the config, and whichever process builds it
registers them.
"""

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from videogcrf_det.data.annotations import clean_categories, read_json
from videogcrf_det.data.classes import head_of
from videogcrf_det.data.datasets import register_video_coco_instances
from videogcrf_det.errors import InputError

SPLITS = {"train": "DATASETS.TRAIN", "test": "DATASETS.TEST"}
# two paths with a colon between them, which may begin with a drive of Windows
PATHS = re.compile(r"(.+?):((?:[A-Za-z]:[\\/])?[^:]+)")
FORM = "give NAME=JSON:IMAGES, as in street=street/train.json:street/images"


def add_data_arguments(parser: ArgumentParser, splits: Sequence[str] = tuple(SPLITS)) -> None:
    """Add --train-data and --test-data, or one of them, to a tool's arguments."""
    for split in splits:
        parser.add_argument(
            f"--{split}-data",
            action="append",
            default=[],
            metavar="NAME=JSON:IMAGES",
            help=f"your own {split} data: a name, COCO-format annotations, and the folder of their "
            "images; may be given several times (docs/datasets.md)",
        )


def data_options(args: Namespace) -> list[Any]:
    """The config's keys and values for the arguments of add_data_arguments, alternately.

    Training data alone means that nothing is evaluated: the config's test sets are another's.

    Raises:
        InputError: an argument is not NAME=JSON:IMAGES.
    """
    given = {split: getattr(args, f"{split}_data", []) for split in SPLITS}
    names = {split: _names(entries) for split, entries in given.items()}
    if not any(names.values()):
        return []
    options: list[Any] = ["DATASETS.OWN", [*given["train"], *given["test"]]]
    for split, key in SPLITS.items():
        if names[split] or split == "test":
            options += [key, names[split]]
    return options


def use_own_data(cfg: CfgNode, opts: Sequence[Any], of_file: Sequence[str] = ()) -> None:
    """Register the data sets that a config brings along, and have NUM_CLASSES follow from them.

    The classes are those of the training data if it is one's own, else of the test data, and
    ``opts`` that name their number have the last word.

    Args:
        cfg: is changed: what DATASETS.FILE names moves to DATASETS.OWN, TRAIN and TEST.
        opts: what the command line changed in the config.
        of_file: DATASETS.OWN of the config file, which the command line adds to: its training data
            says what the classes of the model are.

    Raises:
        InputError: an entry or the file cannot be used, or names a data set twice.
    """
    if "OWN" not in cfg.DATASETS:
        return
    given = _names(cfg.DATASETS.OWN)
    kept = [entry for entry in of_file if _parse(entry)[0] not in given]
    cfg.DATASETS.OWN = [*kept, *cfg.DATASETS.OWN]
    if cfg.DATASETS.FILE:
        _take_file(cfg, opts)
    register_entries(cfg.DATASETS.OWN)
    own = set(_names(cfg.DATASETS.OWN))
    key = f"{head_of(cfg)}.NUM_CLASSES"
    if not own or key in opts:
        return
    # beside training data that is another's, the model is one of its classes
    tested = cfg.DATASETS.TEST if own.issuperset(cfg.DATASETS.TRAIN) else ()
    for name in (*cfg.DATASETS.TRAIN, *tested):
        json_file = MetadataCatalog.get(name).get("json_file")
        if name in own and Path(json_file).is_file():
            categories = clean_categories(read_json(json_file), json_file)
            cfg.merge_from_list([key, len(categories)])
            return


def register_entries(entries: Sequence[str]) -> None:
    """Register data sets given as NAME=JSON:IMAGES.

    Raises:
        InputError: an entry cannot be read, its folder does not exist, or its name is taken.
    """
    seen: dict[str, str] = {}
    for entry in entries:
        name, json_file, images = _parse(entry)
        if seen.setdefault(name, entry) != entry:
            raise InputError(
                f"the data set {name!r} is given twice, as {seen[name]} and {entry}: give each its "
                "own name"
            )
        if Path(json_file).is_file() and not Path(images).is_dir():
            raise InputError(
                f"the folder of images {images} of the data set {name!r} does not exist: {FORM}"
            )
        register_video_coco_instances(name, json_file, images)


def _parse(entry: Any) -> tuple[str, str, str]:
    """Name, file and folder of an entry."""
    name, _, paths = str(entry).partition("=")
    split = PATHS.fullmatch(paths)
    if not (split and name.strip()) or "/" in name:
        raise InputError(f"the data set {str(entry)!r} cannot be read: {FORM}")
    return name.strip(), split[1], split[2]


def _names(entries: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_parse(entry)[0] for entry in entries))


def _take_file(cfg: CfgNode, opts: Sequence[Any]) -> None:
    path = Path(cfg.DATASETS.FILE)
    entries = _read_file(path)
    for split, key in SPLITS.items():
        if entries[split] and key not in opts:
            setattr(cfg.DATASETS, split.upper(), _names(entries[split]))
    if entries["train"] and not entries["test"] and SPLITS["test"] not in opts:
        cfg.DATASETS.TEST = ()  # the config's are another's
    own = [*cfg.DATASETS.OWN, *entries["train"], *entries["test"]]
    cfg.DATASETS.OWN = list(dict.fromkeys(own))
    cfg.DATASETS.FILE = ""  # a config that is written down does not depend on it


def _read_file(path: Path) -> dict[str, list[str]]:
    """The entries of a YAML file by split; paths in it begin in its folder."""
    form = "write train: or test:, and below it NAME: {annotations: JSON, images: FOLDER}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"cannot read the file of data sets DATASETS.FILE {path} ({reason}): {form}"
        ) from None
    if not isinstance(content, Mapping) or not content or not set(content) <= set(SPLITS):
        raise InputError(f"the file of data sets {path} holds {content!r:.60}: {form}")
    entries: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split, data_sets in content.items():
        if not isinstance(data_sets, Mapping):
            raise InputError(f"{split!r} in the file of data sets {path} names nothing: {form}")
        for name, places in data_sets.items():
            if not (
                isinstance(places, Mapping)
                and set(places) == {"annotations", "images"}
                and all(isinstance(place, str) and place for place in places.values())
            ):
                raise InputError(f"the data set {name!r} in {path} is {places!r:.80}: {form}")
            json_file, images = (path.parent / places[key] for key in ("annotations", "images"))
            entries[split].append(f"{name}={json_file}:{images}")
    return entries
