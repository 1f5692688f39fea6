"""How well couplings tell labels apart, and the file that figures go to."""

import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from detectron2.utils import comm

from videogcrf_det.files import atomic_write
from videogcrf_det.segmentation.frames import Frame
from videogcrf_det.segmentation.segmentor import VideoSegmentor
from videogcrf_det.versions import collect_versions

Figures = dict[str, Any]


def write_evaluation(
    folder: str | Path, dataset: str, results: Figures, sequences: Figures
) -> None:
    """Write ``evaluation.json``: figures by task and name, as a whole and by sequence."""
    content = {
        "dataset": dataset,
        "results": {
            # JSON has no nan, which is the IoU of a class that no frame shows
            task: {name: v if math.isfinite(v) else None for name, v in figures.items()}
            for task, figures in results.items()
        },
        "sequences": sequences,
        "versions": collect_versions(),
    }
    with atomic_write(Path(folder, "evaluation.json")) as path:
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")


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
