"""Mean IoU over the frames of videos, and how well couplings tell labels apart."""

import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data.detection_utils import read_image
from detectron2.evaluation import SemSegEvaluator
from detectron2.utils import comm
from numpy.typing import NDArray
from tabulate import tabulate
from tqdm import tqdm

from video_semseg.labels import check_labels
from video_semseg.segmentor import Frame, VideoSegmentor
from videogcrf_det.files import atomic_write
from videogcrf_det.versions import collect_versions

Figures = dict[str, Any]


class VideoSemSegEvaluator(SemSegEvaluator):
    """detectron2's SemSegEvaluator, fed with videos: IoU as a whole and of every sequence."""

    def __init__(self, dataset_name: str, output_dir: str | None = None) -> None:
        """
        Args:
            dataset_name: a registered data set.
            output_dir: folder for the segmentation; None: it is not written.
        """
        super().__init__(dataset_name, output_dir=output_dir, sem_seg_loading_fn=self._read_labels)
        self._compute_boundary_iou = False

    def _read_labels(self, path: str, dtype: Any = int) -> NDArray[np.integer]:
        labels = read_image(path, "L")[..., 0].astype(dtype)
        check_labels(labels, self._num_classes, self._ignore_label, path)
        return labels

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.of_sequences: dict[str, NDArray[np.int64]] = {}

    def process(self, inputs: list[dict[str, Any]], outputs: list[Any]) -> None:
        """Take the labels of videos, reading them frame by frame; see VideoCOCOEvaluator."""
        for video, segmented in zip(inputs, outputs, strict=True):
            before = self._conf_matrix.copy()
            for record, output in tqdm(
                zip(video["records"], segmented, strict=True),
                desc=str(video["video_name"]),
                total=len(video["records"]),
                unit="frame",
                leave=False,
                disable=not comm.is_main_process(),
            ):
                super().process([record], [output])
            name = str(video["video_name"])
            found = self._conf_matrix - before
            self.of_sequences[name] = self.of_sequences.get(name, 0) + found

    def evaluate(self) -> Figures:
        """The figures of detectron2, in percent, and mIoU by sequence; empty but in the main
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

    def write(self, results: Figures) -> None:
        """Write ``evaluation.json``: figures by task and name, as a whole and by sequence."""
        if self._output_dir is None:
            return
        content = {
            "dataset": self._dataset_name,
            "results": {
                # JSON has no nan, which is the IoU of a class that no frame shows
                task: {name: v if math.isfinite(v) else None for name, v in figures.items()}
                for task, figures in results.items()
            },
            "sequences": self.sequences,
            "versions": collect_versions(),
        }
        with atomic_write(Path(self._output_dir, "evaluation.json")) as path:
            path.write_text(json.dumps(content, indent=1), encoding="utf-8")


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


def evaluate_pairwise(model: VideoSegmentor, videos: Iterable[Any]) -> dict[str, float]:
    """The accuracy of the pairwise objective on videos, in percent, with that of chance.

    Videos are cut into clips of the model's length; each clip that has pairs counts the same. The
    pairs are drawn with a seed of their own.

    Args:
        model: in evaluation mode.
        videos: batches of videos whose frames have ``sem_seg``.
    """
    found: dict[str, list[float]] = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for video in (video for batch in videos for video in batch):
            for clip in _clips(video["frames"], model.num_frames):
                for name, result in model.pairwise(clip).items():
                    if result.accuracy.isfinite():
                        found.setdefault(name, []).append(result.accuracy.item())
    parts = comm.gather(found, dst=0)
    if not comm.is_main_process():
        return {}
    names = sorted({name for part in parts for name in part})
    merged = {name: [v for part in parts for v in part.get(name, ())] for name in names}
    accuracies = {f"{name}_accuracy": 100 * math.fsum(v) / len(v) for name, v in merged.items()}
    return {**accuracies, "chance": 100 / model.crf.num_labels**2}


def _clips(frames: Iterable[Frame], length: int) -> Iterator[list[Frame]]:
    iterator = iter(frames)
    while clip := list(islice(iterator, length)):
        yield clip
