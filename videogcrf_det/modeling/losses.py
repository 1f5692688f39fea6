"""The losses of an R-CNN, given the features of its frames."""

from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.structures import ImageList
from detectron2.utils.events import get_event_storage
from torch import Tensor


def rcnn_losses(
    model: Any, frames: Sequence[dict[str, Any]], images: ImageList, features: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Losses of proposals and of RoI heads over the annotated ones of M frames.

    Args:
        model: a GeneralizedRCNN whose heads are in training mode.
        frames: M dicts with ``instances``; those with ``annotated: False`` (data/few_labels.py) are
            in no loss.
        images: of the frames.
        features: maps (M, C, h, w) by name.
    """
    annotated = [index for index, frame in enumerate(frames) if frame.get("annotated", True)]
    if len(annotated) < len(frames):
        frames = [frames[index] for index in annotated]
        sizes = [images.image_sizes[index] for index in annotated]
        images = ImageList(images.tensor[annotated], sizes)
        features = {name: maps[annotated] for name, maps in features.items()}
    gt_instances = [frame["instances"].to(model.device) for frame in frames]
    proposals, proposal_losses = model.proposal_generator(images, features, gt_instances)
    _, head_losses = model.roi_heads(images, features, proposals, gt_instances)
    if model.vis_period > 0 and get_event_storage().iter % model.vis_period == 0:
        model.visualize_training(frames, proposals)
    return {**head_losses, **proposal_losses}
