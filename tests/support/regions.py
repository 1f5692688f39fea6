"""Frames with instances and do-not-care regions that are rectangles."""

import torch
from detectron2.structures import BitMasks, Boxes, Instances

from videogcrf_det.structures import AnnotatedInstances

SIZE = (100, 120)  # height and width of a frame


def rectangles(*corners, size=SIZE):
    """A mask (H, W) that is set in rectangles x0, y0, x1, y1."""
    mask = torch.zeros(size, dtype=torch.bool)
    for x0, y0, x1, y1 in corners:
        mask[y0:y1, x0:x1] = True
    return mask


def annotated(boxes, regions=None, size=SIZE):
    """Instances of class 0 that fill their boxes, and regions; without any, plain Instances."""
    instances = Instances(size)
    instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    instances.gt_classes = torch.zeros(len(boxes), dtype=torch.long)
    if boxes:
        instances.gt_masks = BitMasks(torch.stack([rectangles(box, size=size) for box in boxes]))
    if regions is None:
        return instances
    masks = torch.zeros(len(regions), *size, dtype=torch.bool)
    for mask, region in zip(masks, regions, strict=True):
        mask |= rectangles(region, size=size)
    return AnnotatedInstances(size, BitMasks(masks), **instances.get_fields())


def proposals_at(boxes):
    """Proposals of an RPN."""
    proposals = Instances(SIZE)
    proposals.proposal_boxes = Boxes(torch.as_tensor(boxes, dtype=torch.float32))
    proposals.objectness_logits = torch.zeros(len(boxes))
    return proposals


def share_in(boxes, rectangle):
    """The share of each box (n, 4) that lies in a rectangle."""
    x0, y0, x1, y1 = rectangle
    width = boxes[:, 2].clamp(max=x1) - boxes[:, 0].clamp(min=x0)
    height = boxes[:, 3].clamp(max=y1) - boxes[:, 1].clamp(min=y0)
    return width.clamp(min=0) * height.clamp(min=0) / Boxes(boxes).area()


def random_boxes(count, generator, size=SIZE, margin=0.0):
    """Boxes (n, 4) with corners anywhere in the frame and up to ``margin`` outside of it."""
    corners = torch.rand(count, 2, 2, generator=generator)
    corners = corners * (torch.tensor([size[1], size[0]]) + 2 * margin) - margin
    return corners.sort(dim=1).values.flatten(1)
