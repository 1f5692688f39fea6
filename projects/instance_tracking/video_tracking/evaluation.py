"""J and F over the sequences of DAVIS."""

from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from numpy.typing import NDArray

from video_tracking.davis import VOID, Record, read_ids
from video_tracking.results import merge_objects, result_file, write_ids
from video_tracking.scoring import logger, score_masks
from video_tracking.unaries import read_unary, unary_stem, write_log_odds, write_unary
from videogcrf_det.evaluation.frames import evaluated_frames
from videogcrf_det.evaluation.record import Evaluation, Metrics


class TrackingEvaluator(DatasetEvaluator):
    """J and F of all objects, and results in the layout of DAVIS.

    In ``output_dir``, ``scores/<video>/00000.png`` (``.npy`` of DAVIS-2017) are the scores of each
    object, which can be read as unaries, and ``masks/<sequence>/00000.png`` the objects merged.
    Several processes share the folder.
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
        self.sequences: Metrics = {}

    def process(self, inputs: list[dict[str, Any]], outputs: list[Any]) -> None:
        """Take the probabilities of videos, reading them frame by frame; see VideoCOCOEvaluator."""
        for video, segmented in zip(inputs, outputs, strict=True):
            for record, output in evaluated_frames(video, segmented):
                background, foreground = output["sem_seg"].float().cpu().numpy()
                stem = unary_stem(self.scores, record)
                if record["object_id"] is None:
                    write_unary(f"{stem}.png", foreground)
                else:  # to be compared with other objects, where probabilities near 1 are all 1
                    write_log_odds(f"{stem}.npy", _log_odds(foreground, background))

    def evaluate(self) -> Metrics:
        """``{"tracking": ...}``: J, F, their recall and decay as means over objects, and the
        paper's mean pixel IoU, in percent; empty but in the main process. See scoring.py."""
        comm.synchronize()  # all scores are written
        if not comm.is_main_process():
            return {}
        frames: dict[tuple[str, int], list[Record]] = {}
        for record in DatasetCatalog.get(self.dataset_name):
            frames.setdefault((record["sequence"], record["frame_id"]), []).append(record)
        masks = self.output_dir / "masks"
        for (sequence, _), objects in frames.items():
            write_ids(result_file(masks / sequence, objects[0]), self._merged(objects))
        scores = score_masks(self.dataset_name, masks)
        self.sequences = {name: {"tracking": found} for name, found in scores.sequences.items()}
        logger.info("Per sequence:\n" + scores.table())
        return {"tracking": scores.metrics}

    def write(self, results: Metrics) -> None:
        """Write ``evaluation.json``: metrics by task and name, as a whole and by sequence."""
        Evaluation(self.dataset_name, results, self.sequences).write(self.output_dir)

    def _merged(self, objects: list[Record]) -> NDArray[np.uint8]:
        """The ids of a frame: those that are given of the first, else those of the scores."""
        if objects[0]["frame_id"] == 0:
            ids = read_ids(objects[0]["mask_file"])
            alone = objects[0]["object_id"] is None
            return (ids > 0 if alone else np.where(ids == VOID, 0, ids)).astype(np.uint8)
        return merge_objects(
            {record["object_id"] or 1: read_unary(self.scores, record) for record in objects}
        )


def _log_odds(
    foreground: NDArray[np.floating], background: NDArray[np.floating]
) -> NDArray[np.floating]:
    least = np.finfo(np.float32).tiny
    return np.log(np.maximum(foreground, least)) - np.log(np.maximum(background, least))
