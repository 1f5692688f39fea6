"""detectron2's COCO evaluation, fed with videos: metrics of frames, of tracks, of each video."""

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

from videogcrf_det.data.few_labels import is_annotated
from videogcrf_det.data.images import read_image
from videogcrf_det.evaluation.coco_metrics import (
    METRICS,
    average_precision,
    count_ignored,
    evaluate_nothing,
    ground_truth,
    instances_of,
    restrict,
)
from videogcrf_det.evaluation.frames import evaluated_frames
from videogcrf_det.evaluation.identities import with_identities
from videogcrf_det.evaluation.log_tables import metrics_of_frames, metrics_of_tracks
from videogcrf_det.evaluation.record import Evaluation, Metrics
from videogcrf_det.evaluation.speed import precision_by_speed, speeds
from videogcrf_det.evaluation.stability import Masks, Stability, StabilityMeter
from videogcrf_det.evaluation.track_metrics import TASKS as TRACK_TASKS
from videogcrf_det.evaluation.track_metrics import TrackMetrics, track_metrics
from videogcrf_det.evaluation.tracking import has_trackeval
from videogcrf_det.evaluation.tracks import VideoFrames, has_identities

LEAST_SCORE = 0.5  # of detections whose stability is measured, and which HOTA and MOTA count


class _Video(NamedTuple):
    """A video whose detections were taken."""

    video_id: Any  # None for a still image
    name: str
    images: list[Any]  # ids of its annotated frames
    sizes: list[tuple[int, int]]  # H, W of each
    stability: Stability
    every: VideoFrames  # context included (few_labels.py)


class VideoCOCOEvaluator(COCOEvaluator):
    """COCO AP over the frames of all videos, every frame counting as an image.

    The metrics are those of pycocotools itself. Beside detectron2's, there are the number of
    detections that lie on do-not-care regions (``ignored``), AP by speed, the temporal stability of
    masks, and of whole tracks the AP of YouTube-VIS, HOTA, IDF1 and MOTA, as far as the data set
    has videos and identities. ``evaluation.json`` in the output folder has them all, for every
    video too (docs/evaluation.md). Files of an earlier evaluation stay until the new ones are
    whole.

    Detections have the identities of the field ``track_ids`` of a model's Instances; without it
    they get those of VideoPredictor (see MaskTracker).

    Frames that nobody annotated (few_labels.py) are left out of all metrics.
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
            output_dir: folder for detections and metrics; None: they are not written.
        """
        truth = ground_truth(dataset_name)
        # of COCOEvaluator's own reading nothing but the cleaned content is to be seen
        with nullcontext() if truth is None else patch.object(stock, "COCO", lambda _: truth):
            super().__init__(dataset_name, tasks, output_dir=output_dir, use_fast_impl=False)
        self._output_dir: str | None = output_dir
        self._dataset_name = dataset_name
        # there is no AP without instances: COCO's -1 would be taken for a metric
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
            identified = with_identities(video, detections)
            for record, detection in evaluated_frames(video, identified):
                if not is_annotated(record):
                    meter.skip()
                    continue
                found = detection["instances"]
                super().process([record], [{"instances": found}])
                if found.has("track_ids"):
                    results = self._predictions[-1]["instances"]
                    for result, identity in zip(results, found.track_ids.tolist(), strict=True):
                        result["track_id"] = identity
                if found.has("pred_masks") and len(records) > 1:
                    gray = read_image(record["file_name"], "L")[..., 0]
                    meter.add(gray, self._annotated(record["image_id"]), _confident(found))
            named = video["video_id"], video["video_name"]
            every = VideoFrames(*named, *_images(records))
            images = _images([record for record in records if is_annotated(record)])
            self._videos.append(_Video(*named, *images, meter.stability, every))

    def _annotated(self, image: Any) -> Masks:
        annotations = instances_of(self._coco_api, [image])
        annotations = [a for a in annotations if a.get("segmentation")]
        size = self._coco_api.imgs[image]["height"], self._coco_api.imgs[image]["width"]
        masks = np.zeros((len(annotations), *size), bool)
        for mask, annotation in zip(masks, annotations, strict=True):
            mask[:] = self._coco_api.annToMask(annotation)
        classes = self._metadata.get("thing_dataset_id_to_contiguous_id", {})
        identities = [annotation.get("track_id") for annotation in annotations]
        return Masks(
            masks,
            np.array([classes.get(a["category_id"], a["category_id"]) for a in annotations], int),
            None if None in identities else identities,
        )

    def evaluate(self, img_ids: Any = None) -> Metrics:
        """The metrics by task and name, in percent; see COCOEvaluator.

        Empty but in the main process.
        """
        videos = [video for part in comm.gather(self._videos, dst=0) for video in part]
        self._evaluations: dict[str, COCOeval] = {}
        self._found: dict[Any, list[dict[str, Any]]] = {}
        with self._whole_files() as folder:
            results = super().evaluate(img_ids)
            if not videos:
                return {}
            self._add_speeds(results, videos)
            content = self._content(results, videos, self._track_metrics(videos, folder))
            self._log(content)
            if folder is not None:
                content.write(folder)
        if folder is not None:
            self._logger.info(f"Detections and metrics are in {self._output_dir}")
        for task in ("temporal_stability", *TRACK_TASKS):
            metrics = content.results.get(task, {})
            known = {name: value for name, value in metrics.items() if value is not None}
            if known and known.get("pairs") != 0:
                results[task] = known
        return results

    def _track_metrics(self, videos: list[_Video], folder: Path | None) -> TrackMetrics:
        """The metrics of whole tracks, whose file is written; empty if there are no tracks."""
        found = [result for frame in self._found.values() for result in frame]
        frames = [video for video in videos if video.video_id is not None]
        if not frames or not all("track_id" in result for result in found):
            return TrackMetrics({}, {})
        by_name = {name: _frames(group) for name, group in _sequences(frames).items()}
        return track_metrics(by_name, self._coco_api, self._found, LEAST_SCORE, folder)

    def _add_speeds(self, results: Metrics, videos: list[_Video]) -> None:
        """Add the AP of slow, medium and fast instances to each task."""
        frames = [video.every for video in videos if video.video_id is not None]
        if has_identities(self._coco_api, frames):
            speed = speeds(self._coco_api, frames)
            for task, evaluation in self._evaluations.items():
                metrics = precision_by_speed(evaluation, speed)
                results[task] |= {k: math.nan if v is None else v for k, v in metrics.items()}

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
        # by now with the category ids of the annotations
        self._found = {each["image_id"]: each["instances"] for each in predictions}

    def _derive_coco_results(
        self, coco_eval: COCOeval | None, iou_type: str, class_names: list[str] | None = None
    ) -> dict[str, float]:
        """The metrics of one task; see COCOEvaluator. None for ``coco_eval``: no detections."""
        if coco_eval is None:
            coco_eval = evaluate_nothing(self._coco_api, iou_type)
        self._evaluations[iou_type] = coco_eval
        results = super()._derive_coco_results(coco_eval, iou_type, class_names)
        results["ignored"] = count_ignored(coco_eval)
        return results

    def _content(self, results: Metrics, videos: list[_Video], tracks: TrackMetrics) -> Evaluation:
        """The content of evaluation.json."""
        tasks = sorted(self._tasks or results)
        sequences = {}
        for name, group in _sequences(videos).items():
            images = [image for video in group for image in video.images]
            sequences[name] = {
                "frames": len(images),
                "instances": len(instances_of(self._coco_api, images)),
                **{task: self._average_precision(task, images) for task in tasks},
                "temporal_stability": _percent(group),
                **tracks.sequences.get(name, {}),
            }
        undefined = dict.fromkeys([*METRICS, "ignored"])
        all_frames = {
            **{task: results.get(task, undefined) for task in tasks},
            "temporal_stability": _percent(videos),
            **tracks.results,
        }
        return Evaluation(self._dataset_name, all_frames, sequences)

    def _average_precision(self, task: str, images: list[Any]) -> dict[str, float | None]:
        if task not in self._evaluations:
            return dict.fromkeys(METRICS)
        return average_precision(restrict(self._evaluations[task], images))

    def _log(self, content: Evaluation) -> None:
        results = content.results
        for task in ("bbox", "segm"):
            ignored = results.get(task, {}).get("ignored")
            if ignored:
                self._logger.info(
                    f"{ignored} detections ({task}) lie on do-not-care regions and count neither "
                    "for nor against"
                )
        self._logger.info("Per sequence:\n" + metrics_of_frames(content))
        if set(TRACK_TASKS) <= set(results):
            self._logger.info("Tracks:\n" + metrics_of_tracks(content))
            if not has_trackeval():
                self._logger.warning(
                    "TrackEval is not installed, so there is no HOTA, IDF1 and MOTA: to have them, "
                    "pip install trackeval"
                )


def _confident(found: Instances) -> Masks:
    found = found[found.scores >= LEAST_SCORE]
    return Masks(found.pred_masks.numpy().astype(bool), found.pred_classes.numpy())


def _images(records: list[dict[str, Any]]) -> tuple[list[Any], list[tuple[int, int]]]:
    """Ids and sizes (H, W) of frames."""
    sizes = [(record["height"], record["width"]) for record in records]
    return [record["image_id"] for record in records], sizes


def _frames(videos: Iterable[_Video]) -> list[VideoFrames]:
    return [VideoFrames(v.video_id, v.name, v.images, v.sizes) for v in videos]


def _sequences(videos: list[_Video]) -> dict[str, list[_Video]]:
    """Videos by names of their own, and all still images as one sequence."""
    times = Counter(video.name for video in videos)
    sequences: dict[str, list[_Video]] = {}
    for video in videos:
        name = video.name if times[video.name] == 1 else f"{video.name} ({video.video_id})"
        sequences.setdefault("still images" if video.video_id is None else name, []).append(video)
    return sequences


def _percent(videos: Iterable[_Video]) -> dict[str, float | None]:
    """The stability over the pairs of some videos, and their number."""
    every = [video.stability for video in videos]
    pairs = sum(stability.pairs for stability in every)
    metrics: dict[str, float | None] = {}
    for kind in ("predictions", "ground_truth"):
        # added up exactly, so that no order and no number of processes matters
        total = math.fsum(getattr(stability, kind) for stability in every)
        metrics[kind] = 100 * total / pairs if pairs else None
    return {**metrics, "pairs": pairs}
