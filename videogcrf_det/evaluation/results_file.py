"""Reading COCO results files."""

import json
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.data import MetadataCatalog

from videogcrf_det.errors import InputError

Results = dict[Any, list[dict[str, Any]]]  # by image_id

FIELDS = ("image_id", "category_id", "score", "segmentation")


def confident_results(
    dataset: str, videos: Sequence[dict[str, Any]], path: str | Path, threshold: float
) -> Results:
    """Read the results of a data set that score ``threshold`` or more; see read_results.

    Args:
        dataset: a registered data set.
        videos: it, as load_videos gives it.
        path: a ``coco_instances_results.json``.

    Returns:
        as read_results does, but each ``category_id`` is a position in ``thing_classes``, as in
        loaded annotations.
    """
    classes = MetadataCatalog.get(dataset).thing_dataset_id_to_contiguous_id
    records = {record["image_id"]: record for video in videos for record in video["frames"]}
    return {
        image: [
            {**result, "category_id": classes[result["category_id"]]}
            for result in results
            if result["score"] >= threshold
        ]
        for image, results in read_results(path, records, classes).items()
    }


def read_results(
    path: str | Path, records: Mapping[Any, dict[str, Any]], categories: Container[int]
) -> Results:
    """Read instance masks in the format of COCO results, as detectron2's COCOEvaluator writes them.

    Args:
        path: a ``coco_instances_results.json``.
        records: the data set's frames by ``image_id``, with their ``height`` and ``width``.
        categories: the category ids of the data set.

    Returns:
        lists of results by ``image_id``, highest score first.

    Raises:
        InputError: the file is missing, is no such list, or is of another data set.
    """
    results = read_list(path)
    by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for number, result in enumerate(results):
        reason = what_is_wrong(result, records, categories)
        if reason:
            raise InputError(
                f"result {number} of the predictions file {path} {reason}: name the "
                "coco_instances_results.json that the evaluation wrote for this data set"
            )
        by_image[result["image_id"]].append(result)
    for found in by_image.values():
        found.sort(key=lambda result: -result["score"])
    return dict(by_image)


def read_list(path: str | Path) -> list[Any]:
    """The list of a file of results, whose entries have not been looked at.

    Raises:
        InputError: the file is missing, or has no list.
    """
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"the predictions file {path} does not exist: name the coco_instances_results.json "
            "that the evaluation wrote to OUTPUT_DIR/inference"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"the predictions file {path} cannot be read as JSON: {error}") from None
    if not isinstance(results, list):
        raise InputError(
            f"the predictions file {path} holds a JSON {type(results).__name__}, not a list of "
            "COCO results: name the coco_instances_results.json that the evaluation wrote"
        )
    return results


def what_is_wrong(
    result: Any, records: Mapping[Any, dict[str, Any]], categories: Container[int]
) -> str:
    """The reason why a result does not fit, as the end of a sentence; empty if it does."""
    if not isinstance(result, dict):
        return f"is {result!r:.40}, not a COCO result"
    for field in FIELDS:
        if field not in result:
            return f"has no {field!r}"
    image_id, category_id = result["image_id"], result["category_id"]
    if not isinstance(image_id, int | str) or image_id not in records:
        return f"is of image_id {image_id!r:.40}, which the data set does not have"
    if not isinstance(category_id, int) or category_id not in categories:
        return f"is of category_id {category_id!r:.40}, which the data set does not have"
    if not isinstance(result["score"], int | float):
        return f"has the score {result['score']!r:.40}, which is not a number"
    size = [records[image_id]["height"], records[image_id]["width"]]
    mask = result["segmentation"]
    if (
        not isinstance(mask, dict)
        or mask.get("size") != size
        or not isinstance(mask.get("counts"), str | list)
    ):
        return (
            f"has a mask that is not run-length encoded at its image's size {size} (height, width)"
        )
    return ""
