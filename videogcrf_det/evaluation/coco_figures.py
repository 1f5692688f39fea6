"""Figures that an evaluation of pycocotools holds beside those that it prints."""

import contextlib
import copy
import io
from collections.abc import Collection
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


def restrict(evaluation: COCOeval, images: Collection[Any]) -> COCOeval:
    """An evaluation that was run, accumulated over some of its images, for all areas together."""
    params = copy.copy(evaluation.params)
    chosen = np.isin(params.imgIds, list(images))
    params.imgIds = np.asarray(params.imgIds)[chosen].tolist()
    areas = len(params.areaRng)
    params.areaRng = params.areaRng[ALL_AREAS : ALL_AREAS + 1]
    params.maxDets = params.maxDets[-1:]
    # accumulate(params) alone would take the first images instead of the chosen ones
    results = np.empty(len(evaluation.evalImgs), object)
    results[:] = evaluation.evalImgs
    part = copy.copy(evaluation)
    part.params = part._paramsEval = params
    # by category, range of areas and image
    part.evalImgs = results.reshape(-1, areas, len(chosen))[:, ALL_AREAS, chosen].ravel().tolist()
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
    every = evaluation.params.areaRng[ALL_AREAS]
    return sum(
        int(image["dtIgnore"][0].sum())
        for image in evaluation.evalImgs
        if image is not None and image["aRng"] == every
    )
