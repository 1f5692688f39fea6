"""detectron2's COCO evaluation, fed with videos: AP as a whole and per video, and stability."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data.detection_utils import read_image
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm
from detectron2.utils.visualizer import GenericMask
from tabulate import tabulate
from tqdm import tqdm

from videogcrf_det.evaluation.sequences import (
    average_precision,
    count_ignored,
    count_instances,
    evaluate_nothing,
    read_sequences,
    restrict,
)
from videogcrf_det.evaluation.stability import Masks, Mean, StabilityMeter

LEAST_SCORE = 0.5  # of detections whose stability is measured
KINDS = ("predictions", "ground_truth")


class VideoCOCOEvaluator(COCOEvaluator):
    """COCO AP over the frames of all videos, every frame counting as an image.

    The figures are those of pycocotools itself. Beside detectron2's, there are the number of
    detections that do-not-care regions took out (``ignored``) and the temporal stability of masks;
    ``evaluation.json`` in the output folder has them all, for every video too
    (docs/evaluation.md). Files of an earlier evaluation are replaced when the new ones are whole.
    """

    def __init__(
        self,
        dataset_name: str,
        tasks: Sequence[str] | None = None,
        distributed: bool = True,
        output_dir: str | None = None,
    ) -> None:
        """
        Args:
            dataset_name: a registered data set.
            tasks: "bbox" and "segm", or one of them; None: by the detections.
            distributed: gather the detections of all processes.
            output_dir: folder for detections and figures; None: they are not written.
        """
        super().__init__(dataset_name, tasks, distributed, output_dir, use_fast_impl=False)
        self._output_dir: str | None = output_dir
        self._dataset_name = dataset_name
        self._sequences = read_sequences(self._coco_api)

    def reset(self) -> None:
        """Forget all detections."""
        super().reset()
        # image id of a video's first frame -> means by kind
        self._stability: dict[Any, dict[str, Mean]] = {}
        self._of_sequences: dict[str, dict[str, Any]] = {}

    def process(self, inputs: list[dict[str, Any]], outputs: list[Any]) -> None:
        """Take the detections of videos, reading them frame by frame.

        Args:
            inputs: videos as VideoDatasetMapper makes them.
            outputs: what ClipRCNN gives for them: for each an iterable of ``{"instances": ...}``.
        """
        for video, detections in zip(inputs, outputs, strict=True):
            meter = StabilityMeter()
            for record, detection in tqdm(
                zip(video["records"], detections, strict=True),
                desc=str(video["video_name"]),
                total=len(video["records"]),
                unit="frame",
                leave=False,
                disable=not comm.is_main_process(),
            ):
                super().process([record], [detection])
                found = detection["instances"].to("cpu")
                if found.has("pred_masks") and len(video["records"]) > 1:
                    gray = read_image(record["file_name"], "L")[..., 0]
                    kinds = (_confident(found), _annotated(record))
                    meter.add(gray, dict(zip(KINDS, kinds, strict=True)))
            self._stability[video["records"][0]["image_id"]] = meter.means

    def evaluate(self, img_ids: Any = None) -> dict[str, Any]:
        """The figures by task and name, in percent; see COCOEvaluator. Empty but in the main
        process."""
        stability = comm.gather(self._stability, dst=0) if self._distributed else [self._stability]
        with self._whole_files() as folder:
            results = super().evaluate(img_ids)
            if not results:
                return results
            means = {image: kinds for part in stability for image, kinds in part.items()}
            overall = _percents(means.values())
            if any(value is not None for value in overall.values()):
                results["temporal_stability"] = {k: v for k, v in overall.items() if v is not None}
            sequences = self._sequence_figures(means)
            self._log_sequences(sequences)
            if folder is not None:
                content = {
                    "dataset": self._dataset_name,
                    "results": _without_nan({**results, "temporal_stability": overall}),
                    "sequences": sequences,
                }
                text = json.dumps(content, indent=1)
                Path(folder, "evaluation.json").write_text(text, encoding="utf-8")
        return results

    @contextmanager
    def _whole_files(self) -> Iterator[Path | None]:
        """Have files written to a folder beside, and move them into place at the end."""
        final = self._output_dir
        if final is None or not comm.is_main_process():
            yield None
            return
        partial = Path(final, ".partial")
        partial.mkdir(parents=True, exist_ok=True)
        self._output_dir = str(partial)
        try:
            yield partial
        finally:
            self._output_dir = final
        for path in partial.iterdir():
            path.replace(Path(final, path.name))
        partial.rmdir()

    def _derive_coco_results(
        self, coco_eval: Any, iou_type: str, class_names: list[str] | None = None
    ) -> dict[str, float]:
        """The figures of one task; see COCOEvaluator. None for ``coco_eval``: no detections."""
        detections = 0 if coco_eval is None else len(coco_eval.cocoDt.anns)
        if not count_instances(self._coco_api):
            self._logger.warning(
                f"{self._dataset_name} has no annotated instance, so that there is no {iou_type} "
                f"AP; the model has {detections} detections in it"
            )
            return {}
        if coco_eval is None:
            self._logger.warning(
                f"the model detects nothing in any frame of {self._dataset_name}: {iou_type} AP 0"
            )
            coco_eval = evaluate_nothing(self._coco_api, iou_type)
        results = super()._derive_coco_results(coco_eval, iou_type, class_names)
        results["ignored"] = count_ignored(coco_eval)
        self._logger.info(
            f"{results['ignored']} of {detections} detections count neither for nor against "
            f"({iou_type}): they lie on do-not-care regions"
        )
        for sequence in self._sequences:
            figures = average_precision(restrict(coco_eval, sequence.images))
            self._of_sequences.setdefault(sequence.name, {})[iou_type] = figures
        return results

    def _sequence_figures(self, means: dict[Any, dict[str, Mean]]) -> dict[str, Any]:
        return {
            sequence.name: {
                "frames": len(sequence.images),
                "instances": sequence.instances,
                **self._of_sequences.get(sequence.name, {}),
                "temporal_stability": _percents(
                    means[image] for image in sequence.images if image in means
                ),
            }
            for sequence in self._sequences
        }

    def _log_sequences(self, sequences: dict[str, Any]) -> None:
        task = "segm" if any("segm" in figures for figures in sequences.values()) else "bbox"
        rows = [
            [
                *(name, figures["frames"], figures["instances"]),
                *figures.get(task, {}).values(),
                *figures["temporal_stability"].values(),
            ]
            for name, figures in sequences.items()
        ]
        headers = ["sequence", "frames", "instances", f"{task} AP", "AP50", "AP75"]
        headers += ["stability", "of the ground truth"]
        if rows:
            self._logger.info("\n" + tabulate(rows, headers, floatfmt=".1f", tablefmt="pipe"))


def _confident(found: Instances) -> Masks:
    found = found[found.scores >= LEAST_SCORE]
    return Masks(found.pred_masks.numpy().astype(bool), found.pred_classes.numpy())


def _annotated(record: dict[str, Any]) -> Masks:
    annotations = [a for a in record.get("annotations", ()) if not a.get("iscrowd", 0)]
    masks = np.zeros((len(annotations), record["height"], record["width"]), bool)
    for mask, annotation in zip(masks, annotations, strict=True):
        mask[:] = GenericMask(annotation["segmentation"], *masks.shape[1:]).mask
    return Masks(masks, np.array([a["category_id"] for a in annotations], int))


def _percents(videos: Any) -> dict[str, float | None]:
    """The mean of each kind over all pairs of frames of some videos."""
    videos = list(videos)
    # added up exactly, so that no order and no number of processes matters
    return {
        kind: Mean(
            math.fsum(means.get(kind, Mean()).total for means in videos),
            sum(means.get(kind, Mean()).pairs for means in videos),
        ).percent()
        for kind in KINDS
    }


def _without_nan(results: dict[str, Any]) -> dict[str, Any]:
    return {
        task: {name: None if value != value else value for name, value in figures.items()}
        for task, figures in results.items()
    }
