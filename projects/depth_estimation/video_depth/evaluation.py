"""Errors, steadiness and uncertainty of depth over the frames of videos."""

import logging
import math
from collections import defaultdict
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from numpy.typing import NDArray
from tabulate import tabulate

from video_depth.mappers import labels_of
from video_depth.measures import (
    calibration,
    errors,
    flow_warped_difference,
    known_pixels,
    prepared,
    sparsification,
)
from videogcrf_det.data.depth import DepthMap
from videogcrf_det.data.images import read_image
from videogcrf_det.data.mappers import named_if_unreadable
from videogcrf_det.errors import InputError
from videogcrf_det.evaluation.frames import evaluated_frames
from videogcrf_det.evaluation.record import Evaluation, Metrics
from videogcrf_det.motion.flow import DISFlow

Record = dict[str, Any]
Values = dict[tuple[str, str], list[float]]  # (task, metric) -> one for each frame that has it

TASKS = {
    "depth": ("AbsRel", "SqRel", "RMSE", "RMSElog", "delta1", "delta2", "delta3"),
    "temporal": ("OPW",),
    "uncertainty": ("area", "oracle", "AUSE", "within1", "within2"),
}


class VideoDepthEvaluator(DatasetEvaluator):
    """Metrics of frames, see measures.py, and their means over the frames of a video and over all.

    A frame without a known pixel has none. The flow for OPW is that of the frames, of degraded ones
    that of the clear frames.
    """

    def __init__(
        self,
        dataset_name: str,
        output_dir: str | None = None,
        *,
        least: float = 0.001,
        greatest: float = 80.0,
        median_scaling: bool = False,
    ) -> None:
        """
        Args:
            dataset_name: a registered data set.
            output_dir: gets ``evaluation.json``; None: nothing is written.
            least, greatest: metres; true depth that is outside counts nowhere.
            median_scaling: see prepared.
        """
        if not 0 < least < greatest < math.inf:
            raise InputError(
                f"TEST.DEPTH.MIN {least} and TEST.DEPTH.MAX {greatest} are no range of metres: "
                "give 0 < MIN < MAX"
            )
        if not any("depth_file_name" in record for record in DatasetCatalog.get(dataset_name)):
            raise InputError(
                f"{dataset_name} has no depth maps: name a data set in DATASETS.TEST that has, "
                "such as mini_davis_depth_val"
            )
        self.dataset_name, self.output_dir = dataset_name, output_dir
        self.least, self.greatest, self.median_scaling = least, greatest, median_scaling
        self._logger = logging.getLogger(__name__)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.of_videos: dict[str, Values] = {}

    def process(self, inputs: list[dict[str, Any]], outputs: list[Any]) -> None:
        """Take the depth of videos, reading them frame by frame; see VideoCOCOEvaluator."""
        for video, found in zip(inputs, outputs, strict=True):
            values = self.of_videos.setdefault(str(video["video_name"]), defaultdict(list))
            meter = _Meter(self, values)
            for record, output in evaluated_frames(video, found):
                variance = output.get("variance")
                meter.add(
                    record,
                    output["depth"].cpu().numpy(),
                    None if variance is None else variance.cpu().numpy(),
                )

    def evaluate(self) -> Metrics:
        """Means over all frames, by task; empty but in the main process."""
        parts = comm.gather({n: dict(v) for n, v in self.of_videos.items()}, dst=0)
        if not comm.is_main_process():
            return {}
        videos = {name: values for part in parts for name, values in sorted(part.items())}
        if not any(values for values in videos.values()):
            raise InputError(
                f"no frame of {self.dataset_name} has a depth from {self.least} to {self.greatest} "
                "m: check its unit, and TEST.DEPTH"
            )
        self.sequences = {name: means([values]) for name, values in sorted(videos.items())}
        results = means([videos[name] for name in sorted(videos)])
        rows = [[name, *part.get("depth", {}).values()] for name, part in self.sequences.items()]
        rows.append(["all", *results["depth"].values()])
        table = tabulate(rows, ["video", *TASKS["depth"]], floatfmt=".3f", tablefmt="pipe")
        self._logger.info("Per video:\n" + table)
        return results

    def write(self, results: Metrics) -> None:
        """Write ``evaluation.json``: metrics by task and name, as a whole and by video."""
        if self.output_dir is not None:
            Evaluation(self.dataset_name, results, self.sequences).write(self.output_dir)


class _Meter:
    """Measures one video, frame by frame; keeps the last frame."""

    def __init__(self, settings: VideoDepthEvaluator, values: Values) -> None:
        self.settings, self.values = settings, values
        self.flow = DISFlow()
        self.before: tuple[NDArray[np.uint8], DepthMap, DepthMap, NDArray[np.bool_]] | None = None

    def add(self, record: Record, depth: DepthMap, variance: DepthMap | None) -> None:
        """Take the next frame: its dataset dict, and (H, W) maps of what was predicted."""
        truth = labels_of(record)
        if truth is None:
            self.before = None
            return
        own = self.settings
        known = known_pixels(truth, own.least, own.greatest)
        depth = prepared(depth, truth, known, own.least, own.greatest, own.median_scaling)
        with named_if_unreadable(record):
            image = read_image(record.get("clear_file_name") or record["file_name"], "BGR")
        if known.any():
            d, t = depth[known].astype(float), truth[known].astype(float)
            self._keep("depth", errors(d, t))
            if variance is not None:
                v = variance[known].astype(float)
                self._keep("uncertainty", sparsification(np.abs(d - t) / t, v))
                self._keep("uncertainty", calibration(np.log(d) - np.log(t), v))
        if self.before is not None and self.before[0].shape == image.shape:
            old_image, old_depth, old_truth, old_known = self.before
            flows = self.flow(old_image, image), self.flow(image, old_image)
            opw = flow_warped_difference(
                (old_depth, depth), (old_truth, truth), (old_known, known), flows
            )
            if opw is not None:
                self._keep("temporal", {"OPW": opw})
        self.before = image, depth, truth, known

    def _keep(self, task: str, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self.values[task, name].append(value)


def means(parts: list[Values]) -> dict[str, dict[str, float]]:
    """The mean of every metric over the frames of all parts, nan where there are none; tasks that
    no frame has are absent."""
    results = {}
    for task, names in TASKS.items():
        lists = {name: [v for part in parts for v in part.get((task, name), ())] for name in names}
        if any(lists.values()):
            results[task] = {
                name: math.fsum(found) / len(found) if found else math.nan
                for name, found in lists.items()
            }
    return results
