"""detectron2's COCO evaluation, fed with videos: AP as a whole and per video, and stability."""

import json
import math
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from detectron2.evaluation import COCOEvaluator
from detectron2.evaluation import coco_evaluation as stock
from detectron2.structures import Instances
from detectron2.utils import comm
from pycocotools.cocoeval import COCOeval
from tabulate import tabulate

from videogcrf_det.data.images import read_image
from videogcrf_det.evaluation.coco_figures import (
    METRICS,
    average_precision,
    count_ignored,
    evaluate_nothing,
    ground_truth,
    instances_of,
    restrict,
)
from videogcrf_det.evaluation.frames import evaluated_frames
from videogcrf_det.evaluation.stability import Masks, Mean, StabilityMeter
from videogcrf_det.versions import collect_versions

LEAST_SCORE = 0.5  # of detections whose stability is measured
KINDS = ("predictions", "ground_truth")

Figures = dict[str, Any]


class _Video(NamedTuple):
    """A video whose detections were taken."""

    video_id: Any  # None for a still image
    name: str
    images: list[Any]  # ids of its frames
    stability: dict[str, Mean]  # by kind


class VideoCOCOEvaluator(COCOEvaluator):
    """COCO AP over the frames of all videos, every frame counting as an image.

    The figures are those of pycocotools itself. Beside detectron2's, there are the number of
    detections that lie on do-not-care regions (``ignored``) and the temporal stability of masks;
    ``evaluation.json`` in the output folder has them all, for every video too
    (docs/evaluation.md). Files of an earlier evaluation stay until the new ones are whole.
    """

    def __init__(
        self,
        dataset_name: str,
        tasks: Sequence[str] | None = None,
        output_dir: str | None = None,
    ) -> None:
        """
        Args:
            dataset_name: a registered data set.
            tasks: "bbox" and "segm", or one of them; None: by the detections.
            output_dir: folder for detections and figures; None: they are not written.
        """
        truth = ground_truth(dataset_name)
        # of COCOEvaluator's own reading nothing but the cleaned content is to be seen
        with nullcontext() if truth is None else patch.object(stock, "COCO", lambda _: truth):
            super().__init__(dataset_name, tasks, output_dir=output_dir, use_fast_impl=False)
        self._output_dir: str | None = output_dir
        self._dataset_name = dataset_name
        # there is no AP without instances: COCO's -1 would be taken for a figure
        self._do_evaluation = bool(instances_of(self._coco_api, self._coco_api.imgs))

    def reset(self) -> None:
        """Forget all detections."""
        super().reset()
        self._videos: list[_Video] = []

    def process(self, inputs: list[dict[str, Any]], outputs: list[Any]) -> None:
        """Take the detections of videos, reading them frame by frame.

        Args:
            inputs: videos as VideoDatasetMapper makes them.
            outputs: what ClipRCNN gives for them: for each an iterable of ``{"instances": ...}``.
        """
        for video, detections in zip(inputs, outputs, strict=True):
            records, meter = video["records"], StabilityMeter()
            for record, detection in evaluated_frames(video, detections):
                found = detection["instances"].to("cpu")
                super().process([record], [{"instances": found}])
                if found.has("pred_masks") and len(records) > 1:
                    gray = read_image(record["file_name"], "L")[..., 0]
                    kinds = (_confident(found), self._annotated(record["image_id"]))
                    meter.add(gray, dict(zip(KINDS, kinds, strict=True)))
            images = [record["image_id"] for record in records]
            self._videos.append(_Video(video["video_id"], video["video_name"], images, meter.means))

    def _annotated(self, image: Any) -> Masks:
        annotations = instances_of(self._coco_api, [image])
        annotations = [a for a in annotations if a.get("segmentation")]
        size = self._coco_api.imgs[image]["height"], self._coco_api.imgs[image]["width"]
        masks = np.zeros((len(annotations), *size), bool)
        for mask, annotation in zip(masks, annotations, strict=True):
            mask[:] = self._coco_api.annToMask(annotation)
        return Masks(masks, np.array([a["category_id"] for a in annotations], int))

    def evaluate(self, img_ids: Any = None) -> Figures:
        """The figures by task and name, in percent; see COCOEvaluator.

        Empty but in the main process.
        """
        videos = [video for part in comm.gather(self._videos, dst=0) for video in part]
        self._evaluations: dict[str, COCOeval] = {}
        with self._whole_files() as folder:
            results = super().evaluate(img_ids)
            if not videos:
                return {}
            content = self._content(results, videos)
            self._log(content)
            if folder is not None:
                text = json.dumps(content, indent=1)
                Path(folder, "evaluation.json").write_text(text, encoding="utf-8")
        if folder is not None:
            self._logger.info(f"Detections and figures are in {self._output_dir}")
        stability = content["results"]["temporal_stability"]
        known = {kind: value for kind, value in stability.items() if value is not None}
        return {**results, **({"temporal_stability": known} if known else {})}

    @contextmanager
    def _whole_files(self) -> Iterator[Path | None]:
        """Have files written to a folder inside the final one, and move them at the end."""
        final = self._output_dir
        if final is None or not comm.is_main_process():
            yield None
            return
        partial = Path(final, ".partial")
        shutil.rmtree(partial, ignore_errors=True)  # of an evaluation that was killed
        partial.mkdir(parents=True)
        self._output_dir = str(partial)
        try:
            yield partial
            for path in partial.iterdir():
                path.replace(Path(final, path.name))
        finally:
            self._output_dir = final
            shutil.rmtree(partial)

    def _eval_predictions(self, predictions: list[dict[str, Any]], img_ids: Any = None) -> None:
        """See COCOEvaluator; says so where there is nothing to compare."""
        found = sum(len(prediction["instances"]) for prediction in predictions)
        if not self._do_evaluation:
            self._logger.warning(
                f"{self._dataset_name} has no annotated instance, so there is no AP; the model has "
                f"{found} detections on its {len(predictions)} frames"
            )
        elif not found:
            self._logger.warning(
                f"the model has no detection on any of the {len(predictions)} frames of "
                f"{self._dataset_name}, so AP is 0"
            )
        super()._eval_predictions(predictions, img_ids)

    def _derive_coco_results(
        self, coco_eval: COCOeval | None, iou_type: str, class_names: list[str] | None = None
    ) -> dict[str, float]:
        """The figures of one task; see COCOEvaluator. None for ``coco_eval``: no detections."""
        if coco_eval is None:
            coco_eval = evaluate_nothing(self._coco_api, iou_type)
        self._evaluations[iou_type] = coco_eval
        results = super()._derive_coco_results(coco_eval, iou_type, class_names)
        results["ignored"] = count_ignored(coco_eval)
        return results

    def _content(self, results: Figures, videos: list[_Video]) -> Figures:
        """What evaluation.json holds."""
        tasks = sorted(self._tasks or results)
        sequences = {}
        for name, group in _sequences(videos).items():
            images = [image for video in group for image in video.images]
            sequences[name] = {
                "frames": len(images),
                "instances": len(instances_of(self._coco_api, images)),
                **{task: self._average_precision(task, images) for task in tasks},
                "temporal_stability": _percent(group),
            }
        undefined = dict.fromkeys([*METRICS, "ignored"])
        return {
            "dataset": self._dataset_name,
            "results": {
                **{task: _without_nan(results.get(task, undefined)) for task in tasks},
                "temporal_stability": _percent(videos),
            },
            "sequences": sequences,
            "versions": collect_versions(),
        }

    def _average_precision(self, task: str, images: list[Any]) -> dict[str, float | None]:
        if task not in self._evaluations:
            return dict.fromkeys(METRICS)
        return average_precision(restrict(self._evaluations[task], images))

    def _log(self, content: Figures) -> None:
        results, sequences = content["results"], content["sequences"]
        tasks = [task for task in results if task != "temporal_stability"]
        for task in tasks:
            if results[task]["ignored"]:
                self._logger.info(
                    f"{results[task]['ignored']} detections ({task}) lie on do-not-care regions "
                    "and count neither for nor against"
                )
        headers = ["sequence", "frames", "instances"]
        headers += [name for task in tasks for name in (f"{task} AP", *METRICS[1:])]
        headers += ["stability", "of truth"]
        total = {key: sum(s[key] for s in sequences.values()) for key in ("frames", "instances")}
        rows = [
            [
                *(name, figures["frames"], figures["instances"]),
                *(figures[task][metric] for task in tasks for metric in METRICS),
                *figures["temporal_stability"].values(),
            ]
            for name, figures in {**sequences, "all": {**total, **results}}.items()
        ]
        table = tabulate(rows, headers, floatfmt=".1f", missingval="-", tablefmt="pipe")
        self._logger.info("Per sequence:\n" + table)


def _confident(found: Instances) -> Masks:
    found = found[found.scores >= LEAST_SCORE]
    return Masks(found.pred_masks.numpy().astype(bool), found.pred_classes.numpy())


def _sequences(videos: list[_Video]) -> dict[str, list[_Video]]:
    """Videos by names of their own, and all still images as one sequence."""
    times = Counter(video.name for video in videos)
    sequences: dict[str, list[_Video]] = {}
    for video in videos:
        name = video.name if times[video.name] == 1 else f"{video.name} ({video.video_id})"
        sequences.setdefault("still images" if video.video_id is None else name, []).append(video)
    return sequences


def _percent(videos: Iterable[_Video]) -> dict[str, float | None]:
    """The stability of each kind over the pairs of frames of some videos."""
    figures: dict[str, float | None] = {}
    for kind in KINDS:
        means = [video.stability.get(kind, Mean()) for video in videos]
        pairs = sum(mean.pairs for mean in means)
        # added up exactly, so that no order and no number of processes matters
        figures[kind] = 100 * math.fsum(mean.total for mean in means) / pairs if pairs else None
    return figures


def _without_nan(figures: Figures) -> Figures:
    return {name: None if value != value else value for name, value in figures.items()}
