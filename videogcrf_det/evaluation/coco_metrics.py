"""Metrics that an evaluation of pycocotools holds beside those that it prints."""

import contextlib
import copy
import io
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from detectron2.data import MetadataCatalog
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from videogcrf_det.data.annotations import read_annotations

METRICS = ("AP", "AP50", "AP75")
ALL_AREAS = 0  # position in the parameters' areaRng


def ground_truth(dataset_name: str) -> COCO | None:
    """The annotations of a registered data set as the loader sees them, cleaned.

    None for data sets that were not registered with a file.
    """
    json_file = MetadataCatalog.get(dataset_name).get("json_file")
    if json_file is None:
        return None
    truth = COCO()
    truth.dataset = read_annotations(json_file)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def instances_of(truth: COCO, images: Collection[Any]) -> list[dict[str, Any]]:
    """The annotations of some images, do-not-care regions left out."""
    annotations = [annotation for image in images for annotation in truth.imgToAnns[image]]
    return [annotation for annotation in annotations if not annotation.get("iscrowd", 0)]


def evaluate_nothing(truth: COCO, iou_type: str) -> COCOeval:
    """The evaluation of a model that detects nothing, which pycocotools cannot load results of."""
    nothing = COCO()
    nothing.dataset = {**truth.dataset, "annotations": []}
    nothing.createIndex()
    evaluation = COCOeval(truth, nothing, iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def every_area(evaluation: COCOeval) -> Any:
    """The range of areas that has all instances."""
    return evaluation.params.areaRng[ALL_AREAS]


def restrict(evaluation: COCOeval, images: Collection[Any]) -> COCOeval:
    """An evaluation that was run, accumulated over some of its images, for all areas together."""
    chosen = np.isin(evaluation.params.imgIds, list(images))
    results = np.empty(len(evaluation.evalImgs), object)
    results[:] = evaluation.evalImgs
    # by category, range of areas and image
    results = results.reshape(-1, len(evaluation.params.areaRng), len(chosen))[:, ALL_AREAS, chosen]
    kept = np.asarray(evaluation.params.imgIds)[chosen].tolist()
    return accumulate_all_areas(evaluation, kept, results.ravel().tolist())


def accumulate_all_areas(
    evaluation: COCOeval, images: Sequence[Any], results: list[dict[str, Any] | None]
) -> COCOeval:
    """An evaluation of the results of some images, for all areas together.

    Args:
        evaluation: what they come from; it stays as it is.
        results: of evaluateImg, by category and image.
    """
    params = copy.copy(evaluation.params)
    params.imgIds = list(images)
    params.areaRng = [every_area(evaluation)]
    params.maxDets = params.maxDets[-1:]
    part = copy.copy(evaluation)
    # accumulate(params) alone would take the first images instead of the chosen ones
    part.params = part._paramsEval = params
    part.evalImgs = results
    with contextlib.redirect_stdout(io.StringIO()):
        part.accumulate()
    return part


def average_precision(evaluation: COCOeval) -> dict[str, float | None]:
    """The METRICS of an accumulated evaluation in percent; None where there is no instance."""
    precision = evaluation.eval["precision"][..., ALL_AREAS, -1]  # thresholds, recalls, categories
    thresholds = evaluation.params.iouThrs

    def mean(values: NDArray[np.floating]) -> float | None:
        values = values[values > -1]
        return 100 * float(values.mean()) if values.size else None

    at_50, at_75 = (precision[np.isclose(thresholds, least)] for least in (0.5, 0.75))
    return dict(zip(METRICS, map(mean, (precision, at_50, at_75)), strict=True))


def count_ignored(evaluation: COCOeval) -> int:
    """Detections that count neither way at IoU 0.5, since they lie on do-not-care regions."""
    every = every_area(evaluation)
    return sum(
        int(image["dtIgnore"][0].sum())
        for image in evaluation.evalImgs
        if image is not None and image["aRng"] == every
    )
