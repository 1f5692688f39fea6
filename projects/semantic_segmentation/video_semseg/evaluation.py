"""Mean IoU over the frames of videos."""

from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog
from detectron2.evaluation import SemSegEvaluator
from detectron2.utils import comm
from numpy.typing import NDArray
from tabulate import tabulate

from videogcrf_det.data.images import read_label_map
from videogcrf_det.data.mappers import named_if_unreadable
from videogcrf_det.errors import InputError
from videogcrf_det.evaluation.frames import evaluated_frames
from videogcrf_det.evaluation.record import Evaluation, Metrics
from videogcrf_det.segmentation import check_labels


class VideoSemSegEvaluator(SemSegEvaluator):
    """detectron2's SemSegEvaluator, fed with videos: IoU as a whole and of every sequence."""

    def __init__(self, dataset_name: str, output_dir: str | None = None) -> None:
        """
        Args:
            dataset_name: a registered data set.
            output_dir: folder for the segmentation; None: it is not written.
        """
        if not all("sem_seg_file_name" in record for record in DatasetCatalog.get(dataset_name)):
            raise InputError(
                f"{dataset_name} has no label for every pixel, which mean IoU needs: name a data "
                "set that has in DATASETS.TEST, such as camvid_test or davis_person_semantic_val"
            )
        super().__init__(dataset_name, output_dir=output_dir)
        self._compute_boundary_iou = False

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.of_sequences: dict[str, NDArray[np.int64]] = {}

    def process(self, inputs: list[dict[str, Any]], outputs: list[Any]) -> None:
        """Take the labels of videos, reading them frame by frame; see VideoCOCOEvaluator."""
        for video, segmented in zip(inputs, outputs, strict=True):
            before = self._conf_matrix.copy()
            for record, output in evaluated_frames(video, segmented):
                self._process_frame(record, output["sem_seg"].argmax(0).cpu().numpy())
            name = str(video["video_name"])
            found = self._conf_matrix - before
            self.of_sequences[name] = self.of_sequences.get(name, 0) + found

    def _process_frame(self, record: dict[str, Any], found: NDArray[np.integer]) -> None:
        path = record["sem_seg_file_name"]
        with named_if_unreadable(record):
            labels = read_label_map(path).astype(int)
        check_labels(labels, self._num_classes, self._ignore_label, path)
        labels[labels == self._ignore_label] = self._num_classes
        counts = np.bincount(
            found.ravel() * len(self._conf_matrix) + labels.ravel(),
            minlength=self._conf_matrix.size,
        )
        self._conf_matrix += counts.reshape(self._conf_matrix.shape)
        self._predictions.extend(self.encode_json_sem_seg(found, record["file_name"]))

    def evaluate(self) -> Metrics:
        """The metrics of detectron2, in percent, and mIoU by sequence; empty but in the main
        process."""
        parts = comm.gather(self.of_sequences, dst=0)
        results = super().evaluate()
        if results is None:
            return {}
        self.sequences = {
            name: {"sem_seg": {"mIoU": mean_iou(matrix)}}
            for name, matrix in sorted(item for part in parts for item in part.items())
        }
        iou = [[name, results["sem_seg"][f"IoU-{name}"]] for name in self._class_names]
        iou.append(["mean", results["sem_seg"]["mIoU"]])
        table = tabulate(iou, ["class", "IoU"], floatfmt=".1f", tablefmt="pipe")
        self._logger.info("Per class:\n" + table)
        return results

    def write(self, results: Metrics) -> None:
        """Write ``evaluation.json``: metrics by task and name, as a whole and by sequence."""
        if self._output_dir is not None:
            Evaluation(self._dataset_name, results, self.sequences).write(self._output_dir)


def mean_iou(matrix: NDArray[np.int64]) -> float | None:
    """Mean IoU in percent over the labels that are annotated somewhere; None if none is.

    Args:
        matrix: (L + 1, L + 1), pixels by predicted and by annotated label; the last is none.
    """
    counts = matrix[:-1, :-1]
    hit, annotated = np.diagonal(counts), counts.sum(0)
    known = annotated > 0
    union = (annotated + counts.sum(1) - hit)[known]
    return 100 * float(np.mean(hit[known] / union)) if known.any() else None
