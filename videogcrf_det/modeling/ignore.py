"""Training that leaves do-not-care regions alone: RPN, RoI heads and mask head.

The paper marks people whom nobody annotated: "these image regions do not participate in the
training or the evaluation" (Sec. 3.2). The stock parts would take detections of them for errors.
Each class here is the stock one of the same name and with the same arguments, but for what it
makes of ``AnnotatedInstances.ignore_regions``. Where there are none it computes the same.

Letters: n boxes, R regions, H x W a frame, M x M a predicted mask.
"""

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.layers import ROIAlign, cat
from detectron2.modeling import (
    PROPOSAL_GENERATOR_REGISTRY,
    ROI_HEADS_REGISTRY,
    ROI_MASK_HEAD_REGISTRY,
)
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import (
    MaskRCNNConvUpsampleHead,
    Res5ROIHeads,
    StandardROIHeads,
)
from detectron2.structures import BitMasks, Boxes, Instances, pairwise_iou
from torch import Tensor

from videogcrf_det.structures import AnnotatedInstances

MOST = 0.5  # a box lies on a region if more than this share of it does


def covered_area(boxes: Tensor, mask: Tensor) -> Tensor:
    """The area of each box, in pixels, that a mask covers; parts of pixels count as parts.

    Args:
        boxes: (n, 4) corners x0, y0, x1, y1, which may lie outside of the mask.
        mask: (H, W) bool.

    Returns:
        (n,) float32.
    """
    height, width = mask.shape
    # total[y, x]: covered pixels above and to the left of the point (x, y); linear in between, and
    # too large for float32 to hold parts of pixels
    total = F.pad(mask.int().cumsum(0).cumsum(1), (1, 0, 1, 0)).double()

    def total_at(x: Tensor, y: Tensor) -> Tensor:
        x, y = x.clamp(0, width), y.clamp(0, height)
        left, top = x.long().clamp(max=width - 1), y.long().clamp(max=height - 1)
        above = torch.lerp(total[top, left], total[top, left + 1], x - left)
        below = torch.lerp(total[top + 1, left], total[top + 1, left + 1], x - left)
        return torch.lerp(above, below, y - top)

    x0, y0, x1, y1 = boxes.double().unbind(1)
    covered = total_at(x1, y1) - total_at(x0, y1) - total_at(x1, y0) + total_at(x0, y0)
    return covered.float()


def lies_on_regions(boxes: Boxes, regions: BitMasks) -> Tensor:
    """True if more than half of a box lies on regions, or it would be a detection of one.

    The latter, an IoU above 0.5 with the region's bounding box, follows from the former for regions
    that fill their boxes. The silhouette of a person covers half of its box or less.

    Args:
        boxes: n boxes.
        regions: R >= 1 masks, none of them empty.

    Returns:
        (n,) bool.
    """
    covered = covered_area(boxes.tensor, regions.tensor.any(0))
    is_detection = (pairwise_iou(_extents(regions.tensor), boxes) > MOST).any(0)
    return (covered > MOST * boxes.area()) | is_detection


def _extents(masks: Tensor) -> Boxes:
    """Bounding boxes of masks (R, H, W), none of them empty.

    BitMasks.get_bounding_boxes reads the corners of each mask back from a GPU; nothing is here.
    """
    corners: list[Tensor] = []
    for dim in (1, 2):
        used = masks.any(dim).int()  # (R, W) or (R, H)
        corners += [used.argmax(1), used.shape[1] - used.flip(1).argmax(1)]
    left, right, top, bottom = corners
    return Boxes(torch.stack([left, top, right, bottom], 1).float())


def _regions(instances: Instances) -> BitMasks | None:
    """The regions of a frame; None if it has none."""
    if isinstance(instances, AnnotatedInstances) and len(instances.ignore_regions):
        return instances.ignore_regions
    return None


@PROPOSAL_GENERATOR_REGISTRY.register()
class IgnoreRegionRPN(RPN):
    """An RPN whose negative anchors do not lie on do-not-care regions."""

    @torch.no_grad()
    def label_and_sample_anchors(
        self, anchors: list[Boxes], gt_instances: list[Instances]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Labels of anchors (1, 0, or -1: not in the loss) and matched boxes; see RPN."""
        # RPN draws its sample first; its loss divides by the nominal size of the sample, so that
        # those that remain weigh what they would without the region
        labels, matched_boxes = super().label_and_sample_anchors(anchors, gt_instances)
        for label, instances in zip(labels, gt_instances, strict=True):
            regions = _regions(instances)
            if regions is not None:
                label[(label == 0) & lies_on_regions(Boxes.cat(anchors), regions)] = -1
        return labels, matched_boxes


class _SharedMask:
    """A field of Instances that is the same mask for all n of them."""

    def __init__(self, mask: Tensor, count: int) -> None:
        self.mask = mask
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, item: Any) -> "_SharedMask":
        return _SharedMask(self.mask, len(torch.empty(self.count, device=self.mask.device)[item]))

    def crop_and_resize(self, boxes: Tensor, size: int) -> Tensor:
        """(n, size, size) bool, on the grid that BitMasks.crop_and_resize takes."""
        rois = F.pad(boxes, (1, 0))  # the first column is the index of the only image
        crop = ROIAlign((size, size), 1.0, 0, aligned=True)
        return crop(self.mask[None, None].float(), rois)[:, 0] >= 0.5


class _IgnoreRegions:
    """RoI heads that do not train on background proposals which lie on do-not-care regions."""

    proposal_matcher: Any

    @torch.no_grad()
    def label_and_sample_proposals(
        self, proposals: list[Instances], targets: list[Instances]
    ) -> list[Instances]:
        """Proposals to train on; see ROIHeads. On frames with do-not-care regions they also have
        ``ignored_pixels``, for IgnoreRegionMaskHead."""
        regions = [_regions(instances) for instances in targets]
        kept = [
            found if ignored is None else found[self._takes_part(found, instances, ignored)]
            for found, instances, ignored in zip(proposals, targets, regions, strict=True)
        ]
        sampled = super().label_and_sample_proposals(kept, targets)  # type: ignore[misc]
        for found, ignored in zip(sampled, regions, strict=True):
            if ignored is not None:
                found.ignored_pixels = _SharedMask(ignored.tensor.any(0), len(found))
        return sampled

    def _takes_part(self, proposals: Instances, targets: Instances, regions: BitMasks) -> Tensor:
        boxes = proposals.proposal_boxes
        _, label = self.proposal_matcher(pairwise_iou(targets.gt_boxes, boxes))
        return (label == 1) | ~lies_on_regions(boxes, regions)


@ROI_HEADS_REGISTRY.register()
class IgnoreRegionStandardROIHeads(_IgnoreRegions, StandardROIHeads):
    """StandardROIHeads, for an FPN, that leave do-not-care regions alone."""


@ROI_HEADS_REGISTRY.register()
class IgnoreRegionRes5ROIHeads(_IgnoreRegions, Res5ROIHeads):
    """Res5ROIHeads, for C4, that leave do-not-care regions alone."""


@ROI_MASK_HEAD_REGISTRY.register()
class IgnoreRegionMaskHead(MaskRCNNConvUpsampleHead):
    """A mask head whose loss is the mean over the pixels outside of do-not-care regions."""

    def forward(self, x: Tensor, instances: list[Instances]) -> Any:
        """Loss in training, masks in inference; see BaseMaskRCNNHead."""
        if not any(found.has("ignored_pixels") for found in instances):  # never in inference
            return super().forward(x, instances)
        return {"loss_mask": self.loss_weight * masked_loss(self.layers(x), instances)}


def masked_loss(logits: Tensor, instances: list[Instances]) -> Tensor:
    """Binary cross-entropy of masks, averaged over the pixels that are not ``ignored_pixels``.

    Args:
        logits: (n, classes, M, M), or (n, 1, M, M) for masks without classes.
        instances: the n foreground proposals, image by image.
    """
    size = logits.shape[-1]
    targets, counted = [], []
    for found in instances:
        boxes = found.proposal_boxes.tensor
        if not len(found):
            continue  # an image without annotations has no masks either
        targets.append(found.gt_masks.crop_and_resize(boxes, size).to(logits.device))
        counted.append(
            ~found.ignored_pixels.crop_and_resize(boxes, size)
            if found.has("ignored_pixels")
            else torch.ones_like(targets[-1])
        )
    if not targets:
        return logits.sum() * 0
    classes = cat([found.gt_classes for found in instances])
    if logits.shape[1] == 1:
        classes = torch.zeros_like(classes)
    chosen = logits[torch.arange(len(logits), device=logits.device), classes]
    loss = F.binary_cross_entropy_with_logits(chosen, cat(targets).float(), reduction="none")
    weight = cat(counted).float()
    return (loss * weight).sum() / weight.sum().clamp(min=1)
