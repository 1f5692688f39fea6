"""The accuracy with which couplings tell labels apart."""

import math
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from detectron2.utils import comm

from videogcrf_det.segmentation.frames import Frame
from videogcrf_det.segmentation.segmentor import VideoSegmentor


def evaluate_pairwise(model: VideoSegmentor, videos: Iterable[Any]) -> dict[str, float]:
    """The accuracy of the pairwise objective on videos, in percent, and that of constant answers.

    Videos are cut into clips of the model's length; each clip that has pairs counts the same. The
    pairs of a video are drawn with a seed of its own.

    Args:
        model: in evaluation mode.
        videos: batches of videos whose frames have ``sem_seg``.

    Returns:
        ``spatial_accuracy`` and ``temporal_accuracy``, as far as there are such couplings;
        ``spatial_commonest`` and ``temporal_commonest``, the accuracy of always answering with the
        most frequent pair of labels; ``chance``, that of answering with any.
    """
    found: dict[str, list[list[float]]] = {}  # of each clip its accuracy, then shares of pairs
    with torch.random.fork_rng():
        for video in (video for batch in videos for video in batch):
            torch.manual_seed(zlib.crc32(str(video["video_id"]).encode()))
            for clip in _clips(video["frames"], model.num_frames):
                for name, result in model.pairwise(clip).items():
                    if result.accuracy.isfinite():
                        values = [result.accuracy.item(), *result.shares.tolist()]
                        found.setdefault(name, []).append(values)
    parts = comm.gather(found, dst=0)
    if not comm.is_main_process():
        return {}
    results: dict[str, float] = {}
    for name in sorted({name for part in parts for name in part}):
        clips = [clip for part in parts for clip in part.get(name, ())]
        columns = zip(*clips, strict=True)
        accuracy, *shares = (100 * math.fsum(column) / len(clips) for column in columns)
        results |= {f"{name}_accuracy": accuracy, f"{name}_commonest": max(shares)}
    return {**results, "chance": 100 / model.crf.field.num_labels**2}


def _clips(frames: Iterable[Frame], length: int) -> Iterator[list[Frame]]:
    iterator = iter(frames)
    while clip := list(islice(iterator, length)):
        yield clip
