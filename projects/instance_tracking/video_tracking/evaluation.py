"""J and F over the sequences of DAVIS."""

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from numpy.typing import NDArray
from tabulate import tabulate

from video_tracking.davis import VOID, Record, read_object_mask
from video_tracking.measures import PixelCounts, contour_accuracy, region_similarity, summary
from video_tracking.results import merge_objects, write_ids
from video_tracking.unaries import read_probability, unary_stem, write_unary
from videogcrf_det.evaluation.frames import evaluated_frames
from videogcrf_det.progress import progress
from videogcrf_det.segmentation import write_evaluation

Figures = dict[str, Any]
FIGURES = ("J", "J-recall", "J-decay", "F", "F-recall", "F-decay")
logger = logging.getLogger(__name__)


class TrackingEvaluator(DatasetEvaluator):
    """J and F of all objects, and results in the layout of DAVIS.

    In ``output_dir``, ``scores/<video>/00000.png`` are the probabilities of each object, which can
    be read as unaries, and ``masks/<sequence>/00000.png`` the objects merged. Several processes
    share the folder.
    """

    def __init__(self, dataset_name: str, output_dir: str) -> None:
        """
        Args:
            dataset_name: a registered data set of davis.py.
            output_dir: folder for the results.
        """
        self.dataset_name = dataset_name
        self.output_dir = Path(output_dir)
        self.scores = self.output_dir / "scores"
        self.sequences: Figures = {}

    def process(self, inputs: list[dict[str, Any]], outputs: list[Any]) -> None:
        """Take the probabilities of videos, reading them frame by frame; see VideoCOCOEvaluator."""
        for video, segmented in zip(inputs, outputs, strict=True):
            for record, output in evaluated_frames(video, segmented):
                foreground = output["sem_seg"][1].float().cpu().numpy()
                write_unary(f"{unary_stem(self.scores, record)}.png", foreground)

    def evaluate(self) -> Figures:
        """``{"tracking": ...}``: J, F, their recall and decay as means over objects, and the
        paper's mean pixel IoU, in percent; empty but in the main process.

        The first frame of a sequence, which is given, the last, and frames without annotation do
        not count.
        """
        comm.synchronize()  # all scores are written
        if not comm.is_main_process():
            return {}
        sequences: dict[str, list[Record]] = {}
        for record in DatasetCatalog.get(self.dataset_name):
            sequences.setdefault(record["sequence"], []).append(record)
        objects: list[dict[str, float]] = []
        counts = PixelCounts(np.zeros(2, int), np.zeros(2, int))
        for name, records in progress(
            sequences.items(), desc="J and F", unit="sequence", leave=False
        ):
            found, pixels = self._sequence(name, records)
            if not found:
                logger.warning(f"{name} has no annotated frame to measure but first and last")
                continue
            objects += found
            counts = counts.plus(pixels)
            self.sequences[name] = {"tracking": _figures(found, pixels)}
        results = _figures(objects, counts)
        rows = [[n, f["tracking"]["J"], f["tracking"]["F"]] for n, f in self.sequences.items()]
        rows.append(["mean over objects", results["J"], results["F"]])
        table = tabulate(rows, ["sequence", "J", "F"], floatfmt=".1f", tablefmt="pipe")
        logger.info("Per sequence:\n" + table)
        return {"tracking": results}

    def write(self, results: Figures) -> None:
        """Write ``evaluation.json``: figures by task and name, as a whole and by sequence."""
        write_evaluation(self.output_dir, self.dataset_name, results, self.sequences)

    def _sequence(
        self, sequence: str, records: list[Record]
    ) -> tuple[list[dict[str, float]], PixelCounts]:
        """Merge and measure a sequence: the figures of its objects, and pixels of all of them."""
        frames: dict[int, dict[int, Record]] = {}
        for record in records:
            frames.setdefault(record["frame_id"], {})[record["object_id"] or 1] = record
        values: dict[int, list[tuple[float, float]]] = {key: [] for key in frames[0]}
        counts = PixelCounts(np.zeros(2, int), np.zeros(2, int))
        for number, objects in frames.items():
            ids = self._merged(number, objects)
            stem = Path(objects[min(objects)]["file_name"]).stem
            write_ids(self.output_dir / "masks" / sequence / f"{stem}.png", ids)
            if number in (0, len(frames) - 1):
                continue
            for key, record in objects.items():
                if "mask_file" in record:
                    labels = read_object_mask(record)
                    masks = ids == key, labels == 1, labels == VOID
                    values[key].append((region_similarity(*masks), contour_accuracy(*masks)))
                    counts = counts.plus(PixelCounts.of(*masks))
        measured = [
            [value for measure in zip(*found, strict=True) for value in summary(measure)]
            for found in values.values()
            if found
        ]
        return [dict(zip(FIGURES, found, strict=True)) for found in measured], counts

    def _merged(self, number: int, objects: dict[int, Record]) -> NDArray[np.uint8]:
        if number == 0:
            return merge_objects(
                {key: (read_object_mask(record) == 1) * 1.0 for key, record in objects.items()}
            )
        return merge_objects(
            {key: read_probability(self.scores, record) for key, record in objects.items()}
        )


def _figures(objects: list[dict[str, float]], pixels: PixelCounts) -> dict[str, float]:
    """Means over objects, J&F, and the mean pixel IoU, in percent."""
    means = {
        name: 100 * sum(found[name] for found in objects) / len(objects) if objects else math.nan
        for name in FIGURES
    }
    return {**means, "J&F": (means["J"] + means["F"]) / 2, "mIoU": 100 * pixels.mean_iou()}
