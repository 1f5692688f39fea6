"""The answers of a frozen R-CNN's heads on coupled features, compared with those on clear ones."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.modeling import GeneralizedRCNN, StandardROIHeads
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn

from videogcrf_det.errors import InputError
from videogcrf_det.steady.objective import SpoiltClip

PROPOSALS = 32  # of a frame, the best of the clear one, whose classes and boxes are compared
MASKS = 8  # of a frame, the surest detections of the clear one


def head_loss(model: nn.Module, clip: SpoiltClip, made: Mapping[str, Tensor]) -> Tensor:
    """The distance of the heads' answers from those that they give for the clear frames.

    The sum of four means: cross-entropies of objectness, of classes, and of mask pixels, each less
    that of the clear frame's answer with itself, and absolute errors of box deltas.

    Args:
        model: a GeneralizedRCNN with StandardROIHeads.
        clip: with the features of the clear frames.
        made: coupled features (V, C, h, w) by name.

    Raises:
        InputError: the model has other heads.
    """
    if not isinstance(model, GeneralizedRCNN) or not isinstance(model.roi_heads, StandardROIHeads):
        raise InputError(
            f"the heads of {type(model).__name__} cannot be compared, those of Mask R-CNN on an "
            "FPN can: use --objective features"
        )
    with torch.no_grad():
        objectness, _ = _rpn(model, clip.clear)
        images = ImageList(clip.images, [clip.size] * len(clip.images))
        proposals, _ = model.proposal_generator(images, clip.clear, None)
        proposals = [p[:PROPOSALS] for p in proposals]
        scores, deltas = _boxes(model, clip.clear, proposals)
        detections, _ = model.roi_heads.box_predictor.inference((scores, deltas), proposals)
        detections = [found[:MASKS] for found in detections]
        masks = _masks(model, clip.clear, detections)
    ours, _ = _rpn(model, made)
    loss = torch.stack([_binary(a, b) for a, b in zip(ours, objectness, strict=True)]).mean()
    our_scores, our_deltas = _boxes(model, made, proposals)
    loss = loss + F.kl_div(our_scores.log_softmax(1), scores.softmax(1), reduction="batchmean")
    loss = loss + F.l1_loss(our_deltas, deltas)
    if masks is not None:
        loss = loss + _binary(_masks(model, made, detections), masks)
    return loss


def _binary(logits: Tensor | None, clear: Tensor) -> Tensor:
    """The Kullback-Leibler divergence of pixels' or anchors' probabilities, a mean."""
    assert logits is not None
    target = clear.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(clear, target)
    return F.binary_cross_entropy_with_logits(logits, target) - entropy


def _rpn(model: Any, features: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    rpn = model.proposal_generator
    logits, deltas = rpn.rpn_head([features[name] for name in rpn.in_features])
    return logits, deltas


def _boxes(
    model: Any, features: Mapping[str, Tensor], proposals: list[Instances]
) -> tuple[Tensor, Tensor]:
    heads = model.roi_heads
    maps = [features[name] for name in heads.box_in_features]
    pooled = heads.box_pooler(maps, [p.proposal_boxes for p in proposals])
    scores, deltas = heads.box_predictor(heads.box_head(pooled))
    return scores, deltas


def _masks(
    model: Any, features: Mapping[str, Tensor], detections: list[Instances]
) -> Tensor | None:
    heads = model.roi_heads
    boxes: list[Boxes] = [found.pred_boxes for found in detections]
    if not heads.mask_on or not sum(map(len, boxes)):
        return None
    pooled = heads.mask_pooler([features[name] for name in heads.mask_in_features], boxes)
    logits: Tensor = heads.mask_head.layers(pooled)
    classes = torch.cat([found.pred_classes for found in detections])
    if logits.shape[1] == 1:
        return logits[:, 0]
    return logits[torch.arange(len(classes)), classes]
