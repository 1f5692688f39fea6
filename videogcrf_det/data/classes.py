"""The classes of a model, of its training data and of test data, compared by name.

A class is a position in a list of names, so that data sets with other lists would be read by
position, and persons be scored as dogs, without a word.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.utils.file_io import PathManager

from videogcrf_det.data.annotations import clean_categories, read_json
from videogcrf_det.errors import InputError

Classes = dict[int, str]  # category id -> name, in the order of the classes


def read_classes(dataset_name: str) -> Classes | None:
    """The classes of a registered data set: of its file, or where that is absent, as far as known.

    Raises:
        InputError: its file has no usable categories.
    """
    if dataset_name not in MetadataCatalog.list():
        return None
    metadata = MetadataCatalog.get(dataset_name)
    json_file = metadata.get("json_file")
    if json_file is not None and PathManager.isfile(json_file):
        categories = clean_categories(read_json(json_file), json_file)
        return {category["id"]: category["name"] for category in categories}
    names = metadata.get("thing_classes")
    if names is None:
        return None
    to_class = metadata.get("thing_dataset_id_to_contiguous_id")
    if to_class is None:
        return dict(enumerate(names, start=1))
    return {identity: names[k] for identity, k in sorted(to_class.items(), key=itemgetter(1))}


def head_of(cfg: CfgNode) -> str:
    """Node of a config with the classes and the least score of its detector."""
    return "MODEL.RETINANET" if cfg.MODEL.META_ARCHITECTURE == "RetinaNet" else "MODEL.ROI_HEADS"


def number_of_classes(cfg: CfgNode) -> int:
    """The number of classes that a config's detector tells apart."""
    return int(attrgetter(head_of(cfg))(cfg).NUM_CLASSES)


def check_classes(cfg: CfgNode, datasets: Sequence[str] | None = None) -> None:
    """Raise InputError unless a model's classes are those of its data, by name and in order.

    The names of a model's classes are those of DATASETS.TRAIN, where they are known.

    Args:
        cfg: the config of a detector.
        datasets: those to be evaluated or drawn beside the training data; None: DATASETS.TEST.
    """
    tested = cfg.DATASETS.TEST if datasets is None else datasets
    named: dict[str, list[str]] = {}
    for dataset in dict.fromkeys([*cfg.DATASETS.TRAIN, *tested]):
        classes = read_classes(dataset)
        if classes is not None:
            named[dataset] = list(classes.values())
    if not named:
        return  # whatever needs them says what is missing
    first, names = next(iter(named.items()))
    for dataset, others in named.items():
        if others != names:
            raise InputError(
                f"the data set {dataset!r} has the classes {_listed(others)}, and {first!r} has "
                f"{_listed(names)}: give all of DATASETS.TRAIN and DATASETS.TEST the same "
                "categories, in the same order of their ids"
            )
    number = number_of_classes(cfg)
    if number != len(names):
        raise InputError(
            f"{head_of(cfg)}.NUM_CLASSES is {number}, and the data set {first!r} has "
            f"{len(names)}, {_listed(names)}: set it to {len(names)}, or name other data"
        )


def check_masks(cfg: CfgNode, records: Iterable[dict[str, Any]], *, training: bool = False) -> None:
    """Raise InputError for instances whose masks a detector with such a config cannot use.

    Args:
        cfg: says whether there are masks, and in which format training takes them.
        records: frames, as loaded.
        training: run-length encoded masks have to be allowed by INPUT.MASK_FORMAT.
    """
    if not cfg.MODEL.MASK_ON:
        return
    polygons_only = training and cfg.INPUT.MASK_FORMAT == "polygon"
    for record in records:
        for annotation in record.get("annotations", ()):
            if annotation.get("iscrowd", 0):
                continue
            mask = annotation.get("segmentation")
            if mask and not (polygons_only and isinstance(mask, dict)):
                continue
            box = ", ".join(f"{value:g}" for value in annotation["bbox"])
            where = f"the annotation with the bbox [{box}] of the image {record['image_id']!r}"
            if not mask:
                raise InputError(
                    f"{where}, {record['file_name']}, has no segmentation: add its mask, or set "
                    "MODEL.MASK_ON to False to detect boxes alone"
                )
            raise InputError(
                f"{where}, {record['file_name']}, is run-length encoded, and INPUT.MASK_FORMAT is "
                "'polygon': set it to 'bitmask', which takes both"
            )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"({shown})"
