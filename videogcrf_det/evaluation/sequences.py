"""COCO's evaluation of a data set, taken apart into its videos."""

import copy
from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

ALL_AREAS = 0  # position in the parameters' areaRng


class Sequence:
    """A video of a data set.

    Attributes:
        name: unique in the data set.
        images: ids of its frames.
        instances: number of annotated instances, do-not-care regions left out.
    """

    def __init__(self, name: str, images: Collection[int], truth: COCO) -> None:
        self.name = name
        self.images = list(images)
        self.instances = count_instances(truth, self.images)


def read_sequences(truth: COCO) -> list[Sequence]:
    """The videos of a data set in the order of their ids; still images are none."""
    names = {video["id"]: str(video["name"]) for video in truth.dataset.get("videos", ())}
    images: dict[Any, list[int]] = {}
    for image in truth.dataset["images"]:
        if image.get("video_id") is not None:
            images.setdefault(image["video_id"], []).append(image["id"])
    times = Counter(names.get(video, str(video)) for video in images)

    def unique(video: Any) -> str:
        name = names.get(video, str(video))
        return name if times[name] == 1 else f"{name} ({video})"

    return [Sequence(unique(video), images[video], truth) for video in sorted(images)]


def count_instances(truth: COCO, images: Collection[int] = ()) -> int:
    """Annotated instances of some images (of all if none is named), without crowds."""
    found = truth.loadAnns(truth.getAnnIds(imgIds=list(images)))
    return sum(not annotation.get("iscrowd", 0) for annotation in found)


def evaluate_nothing(truth: COCO, iou_type: str) -> COCOeval:
    """The evaluation of a model that detects nothing, of which pycocotools cannot load results."""
    detections = COCO()
    detections.dataset = {**truth.dataset, "annotations": []}
    detections.createIndex()
    evaluation = COCOeval(truth, detections, iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def restrict(evaluation: COCOeval, images: Collection[int]) -> COCOeval:
    """An evaluation that was run, accumulated over some of its images alone."""
    params = copy.deepcopy(evaluation.params)
    chosen = np.isin(params.imgIds, list(images))
    params.imgIds = np.asarray(params.imgIds)[chosen].tolist()
    # one entry for each category, range of areas and image, in this order
    of_images = np.empty(len(evaluation.evalImgs), object)
    of_images[:] = evaluation.evalImgs
    part = copy.copy(evaluation)
    part.params = part._paramsEval = params
    part.evalImgs = of_images.reshape(-1, len(chosen))[:, chosen].ravel().tolist()
    part.accumulate()
    return part


def average_precision(evaluation: COCOeval) -> dict[str, float | None]:
    """AP, AP50 and AP75 of an accumulated evaluation in percent; None without instances."""
    precision = evaluation.eval["precision"][..., ALL_AREAS, -1]  # thresholds, recalls, categories
    thresholds = evaluation.params.iouThrs

    def mean(values: np.ndarray) -> float | None:
        values = values[values > -1]
        return 100 * float(values.mean()) if values.size else None

    return {
        "AP": mean(precision),
        "AP50": mean(precision[np.isclose(thresholds, 0.5)]),
        "AP75": mean(precision[np.isclose(thresholds, 0.75)]),
    }


def count_ignored(evaluation: COCOeval) -> int:
    """Detections that count neither way at IoU 0.5, since they lie on do-not-care regions."""
    every = evaluation.params.areaRng[ALL_AREAS]
    return sum(
        int(image["dtIgnore"][0].sum())
        for image in evaluation.evalImgs
        if image is not None and image["aRng"] == every
    )
