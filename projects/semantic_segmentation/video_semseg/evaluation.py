"""Mean IoU over the frames of videos, and how well couplings tell labels apart."""

from typing import Any

import torch
from detectron2.evaluation import SemSegEvaluator
from detectron2.utils import comm
from torch import nn
from tqdm import tqdm


class VideoSemSegEvaluator(SemSegEvaluator):
    """detectron2's SemSegEvaluator, fed with videos."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._compute_boundary_iou = False

    def process(self, inputs: list[dict[str, Any]], outputs: list[Any]) -> None:
        """Take the labels of videos, reading them frame by frame; see VideoCOCOEvaluator."""
        for video, segmented in zip(inputs, outputs, strict=True):
            for record, output in tqdm(
                zip(video["records"], segmented, strict=True),
                desc=str(video["video_name"]),
                total=len(video["records"]),
                unit="frame",
                leave=False,
                disable=not comm.is_main_process(),
            ):
                super().process([record], [output])


def evaluate_pairwise(model: nn.Module, videos: Any) -> dict[str, float]:
    """The accuracy of the pairwise objective on videos, in percent, with that of chance.

    Videos are cut into clips of the model's length; each clip counts the same. The pairs are drawn
    with a seed of their own.

    Args:
        model: a VideoSegmentor in evaluation mode.
        videos: batches of videos whose frames have ``sem_seg``.
    """
    model = getattr(model, "module", model)
    found: dict[str, list[float]] = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for batch in videos:
            for video in batch:
                for clip in _clips(video["frames"], model.num_frames):
                    for name, result in model.pairwise(clip).items():
                        found.setdefault(name, []).append(result.accuracy.item())
    parts = comm.gather(found, dst=0)
    if not comm.is_main_process():
        return {}
    merged = {name: [v for part in parts for v in part.get(name, ())] for name in sorted(found)}
    accuracies = {f"{name}_accuracy": 100 * sum(v) / len(v) for name, v in merged.items()}
    return {**accuracies, "chance": 100 / model.crf.num_labels**2}


def _clips(frames: Any, length: int) -> Any:
    clip: list[Any] = []
    for frame in frames:
        clip.append(frame)
        if len(clip) == length:
            yield clip
            clip = []
    if clip:
        yield clip
