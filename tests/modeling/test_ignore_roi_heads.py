"""RoI heads and mask losses with do-not-care regions, on boxes that can be counted by hand."""

import math

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads.mask_head import mask_rcnn_loss
from detectron2.structures import BitMasks, PolygonMasks
from detectron2.utils.events import EventStorage

from tests.conftest import CONFIG
from tests.modeling.conftest import C4
from tests.support.regions import annotated, proposals_at, rectangles
from videogcrf_det.engine import build_cfg
from videogcrf_det.modeling import IgnoreRegionMaskHead
from videogcrf_det.modeling.ignore import _SharedMask, masked_loss

STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "res4": 16}
FPN_HEADS = ["MODEL.ROI_HEADS.NAME", "IgnoreRegionStandardROIHeads"]
C4_HEADS = [*C4, "MODEL.ROI_HEADS.NAME", "IgnoreRegionRes5ROIHeads"]
C4_HEADS += ["MODEL.RESNETS.NORM", "FrozenBN"]
STOCK_MASK_HEAD = ["MODEL.ROI_MASK_HEAD.NAME", "MaskRCNNConvUpsampleHead"]
both_heads = pytest.mark.parametrize("opts", [FPN_HEADS, C4_HEADS], ids=["FPN", "C4"])


def make_heads(opts):
    cfg = build_cfg(CONFIG, opts)
    channels = 128 if "res4" in cfg.MODEL.ROI_HEADS.IN_FEATURES else 8
    shapes = {name: ShapeSpec(channels=channels, stride=s) for name, s in STRIDES.items()}
    torch.manual_seed(0)
    return ROI_HEADS_REGISTRY.get(cfg.MODEL.ROI_HEADS.NAME)(cfg, shapes).train()


def losses_of(heads, frames, proposals):
    torch.manual_seed(0)
    channels = 128 if "res4" in heads.in_features else 8
    features = {
        name: torch.randn(len(frames), channels, 128 // STRIDES[name], 128 // STRIDES[name])
        for name in heads.in_features
    }
    with EventStorage():
        _, losses = heads(None, features, proposals, frames)
    return losses


def sampled_of(heads, frames, proposals, seed=0):
    """Box and class of the proposals to train on, sorted, for each frame."""
    torch.manual_seed(seed)
    with EventStorage():
        sampled = heads.label_and_sample_proposals(proposals, frames)
    return [
        sorted(
            (tuple(box), label)
            for box, label in zip(
                found.proposal_boxes.tensor.tolist(), found.gt_classes.tolist(), strict=True
            )
        )
        for found in sampled
    ]


PERSON, HIDDEN = (10, 10, 30, 30), (60, 20, 80, 40)
REGION = (50, 10, 90, 50)
MATCHING, MATCHING_HIDDEN = (10, 10, 30, 29), (60, 20, 80, 39)
ON_REGION = (55, 15, 85, 45)  # IoU of 4/9 with HIDDEN
HALF_ON_REGION, ELSEWHERE = (50, 30, 90, 70), (5, 60, 25, 80)
PROPOSALS = [MATCHING, ON_REGION, ELSEWHERE, HALF_ON_REGION, MATCHING_HIDDEN]


@both_heads
def test_proposals_to_train_on_by_hand(opts):
    heads = make_heads([*opts, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "512"])
    frames = [
        annotated([PERSON, HIDDEN], [REGION]),
        annotated([PERSON, HIDDEN]),
        annotated([PERSON, HIDDEN], []),
        annotated([PERSON], [REGION]),
        annotated([], [REGION]),
        annotated([]),
    ]
    everything = [
        *[(box, 0) for box in (PERSON, HIDDEN, MATCHING, MATCHING_HIDDEN)],
        *[(box, 1) for box in (ON_REGION, HALF_ON_REGION, ELSEWHERE)],
    ]
    background = [(box, 1) for box in PROPOSALS]
    assert sampled_of(heads, frames, [proposals_at(PROPOSALS)] * 6) == [
        sorted(set(everything) - {(ON_REGION, 1)}),
        sorted(everything),
        sorted(everything),
        sorted([(PERSON, 0), (MATCHING, 0), (HALF_ON_REGION, 1), (ELSEWHERE, 1)]),
        sorted(set(background) - {(ON_REGION, 1), (MATCHING_HIDDEN, 1)}),
        sorted(background),
    ]


@both_heads
def test_a_full_sample_is_drawn_from_what_takes_part(opts):
    """Places of proposals on regions go to others."""
    heads = make_heads([*opts, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "8"])
    generator = torch.Generator().manual_seed(0)
    on_region = torch.tensor(ON_REGION) + torch.rand(200, 4, generator=generator)
    elsewhere = torch.tensor(ELSEWHERE) + torch.rand(10, 4, generator=generator)
    proposals = proposals_at(torch.cat([on_region, elsewhere]))
    for seed in range(5):
        (found,) = sampled_of(heads, [annotated([PERSON], [REGION])], [proposals], seed)
        assert len(found) == 8
        assert all(box[1] > 55 or label == 0 for box, label in found)


@both_heads
@pytest.mark.parametrize("regions", [None, []])
def test_heads_without_regions_are_the_stock_ones(opts, regions):
    generator = torch.Generator().manual_seed(0)
    near = torch.tensor([PERSON, HIDDEN, ELSEWHERE]).repeat(12, 1)
    frames = [annotated([PERSON, HIDDEN], regions), annotated([], regions)]
    proposals = [
        proposals_at((near + 4 * torch.randn(36, 4, generator=generator)).clamp(0, 100))
        for _ in frames
    ]
    ours = make_heads(opts)
    stock = make_heads([opt.removeprefix("IgnoreRegion") for opt in opts] + STOCK_MASK_HEAD)
    assert type(stock) is type(ours).__mro__[2]
    stock.load_state_dict(ours.state_dict())
    assert sampled_of(ours, frames, proposals) == sampled_of(stock, frames, proposals)
    losses, expected = (losses_of(heads, frames, proposals) for heads in (ours, stock))
    assert {name: loss.item() for name, loss in losses.items()} == {
        name: loss.item() for name, loss in expected.items()
    }
    assert losses["loss_mask"] > 0


@both_heads
def test_frames_with_and_without_regions_in_a_batch(opts):
    heads = make_heads(opts)
    frames = [
        annotated([PERSON], [REGION, (0, 0, 20, 20)]),
        annotated([PERSON]),
        annotated([HIDDEN], [REGION]),
        annotated([], [REGION]),
        annotated([], []),
    ]
    losses = losses_of(heads, frames, [proposals_at(PROPOSALS)] * 5)
    sum(losses.values()).backward()
    assert all(loss > 0 for loss in losses.values())
    assert all(p.grad.isfinite().all() for p in heads.parameters() if p.requires_grad)


@both_heads
def test_all_proposals_on_a_region(opts):
    heads, proposals = make_heads(opts), [proposals_at([ON_REGION] * 3)]
    frame = annotated([PERSON], [REGION])
    assert sampled_of(heads, [frame], proposals) == [[(PERSON, 0)]]
    frame = annotated([], [REGION])
    assert sampled_of(heads, [frame], proposals) == [[]]
    losses = losses_of(heads, [frame], proposals)
    sum(losses.values()).backward()
    assert all(loss == 0 for loss in losses.values())
    assert not any(p.grad.any() for p in heads.parameters() if p.grad is not None)


# mask loss. Frames have 12 x 12 pixels, predicted masks 4 x 4

SMALL = (12, 12)
PIXELS = (2, 2, 6, 6)  # a box of which a predicted mask has one entry a pixel
BLOCKS = (2, 2, 10, 10)  # one of which it has one entry for each 2 x 2 pixels


def foreground(boxes, masks, region=None, classes=None):
    """Foreground proposals of a frame with their masks, and with its region if it has one."""
    found = annotated(boxes, size=SMALL)
    found.proposal_boxes = found.gt_boxes
    found.gt_masks = masks if isinstance(masks, PolygonMasks) else BitMasks(torch.stack(masks))
    found.gt_classes = torch.tensor(classes or [0] * len(boxes))
    if region is not None:
        found.ignored_pixels = _SharedMask(region, len(boxes))
    return found


def mask_of(*corners):
    return rectangles(*corners, size=SMALL)


def random_logits(count, classes=1):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, classes, 4, 4, generator=generator).requires_grad_()


def by_hand(logits, targets, counted):
    """The mean cross-entropy over those of n x 4 x 4 logits that count."""
    pairs = zip(logits[counted].tolist(), targets[counted].tolist(), strict=True)
    terms = [math.log1p(math.exp(-logit if target else logit)) for logit, target in pairs]
    return sum(terms) / len(terms)


@pytest.mark.parametrize("classes", [1, 3])
def test_mask_loss_is_the_mean_over_counted_pixels(classes):
    """Masks without classes, and masks of three: two frames with regions, one without."""
    masks = [mask_of((3, 0, 5, 12)), mask_of((0, 0, 12, 4)), mask_of((4, 4, 12, 12))]
    regions = [mask_of((5, 5, 12, 12), (2, 2, 3, 3)), None, mask_of((0, 0, 4, 4))]
    labels = [2, 0, 1]
    frames = [
        foreground([PIXELS], [mask], region, [label])
        for mask, region, label in zip(masks, regions, labels, strict=True)
    ]
    logits = random_logits(3, classes)
    loss = masked_loss(logits, frames)
    crop = slice(2, 6)
    targets = torch.stack([mask[crop, crop] for mask in masks])
    counted = torch.stack(
        [torch.ones(4, 4, dtype=torch.bool) if r is None else ~r[crop, crop] for r in regions]
    )
    assert counted.sum((1, 2)).tolist() == [14, 16, 12]
    chosen = [0, 0, 0] if classes == 1 else labels
    of_class = logits[torch.arange(3), chosen]
    assert loss.item() == pytest.approx(by_hand(of_class.detach(), targets, counted), rel=1e-6)

    loss.backward()
    gradient = logits.grad[torch.arange(3), chosen]
    expected = (of_class.detach().sigmoid() - targets.float()) / 42
    torch.testing.assert_close(gradient[counted], expected[counted])
    assert not gradient[~counted].any()
    assert (logits.grad != 0).sum() == 42  # nothing for other classes


def test_a_pixel_of_a_mask_is_under_a_region_if_half_of_it_is():
    # of the 2 x 2 pixels of an entry of the mask, 1, 2, 3 and 4
    region = mask_of((2, 2, 3, 3), (4, 2, 5, 4), (6, 2, 8, 3), (6, 2, 7, 4), (8, 2, 10, 4))
    logits = random_logits(1)
    masked_loss(logits, [foreground([BLOCKS], [mask_of(BLOCKS)], region)]).backward()
    assert (logits.grad[0, 0] != 0).tolist() == [[True, False, False, False]] + [[True] * 4] * 3


def test_several_instances_of_a_frame_share_its_region():
    boxes = [PIXELS, (4, 4, 8, 8), (8, 8, 12, 12)]
    region = mask_of((4, 4, 6, 6))
    logits = random_logits(3)
    masked_loss(logits, [foreground(boxes, [mask_of(box) for box in boxes], region)]).backward()
    expected = torch.ones(3, 4, 4, dtype=torch.bool)
    expected[0, 2:, 2:] = expected[1, :2, :2] = False
    assert torch.equal(logits.grad[:, 0] != 0, expected)


@pytest.mark.parametrize("polygons", [True, False])
@pytest.mark.parametrize("classes", [1, 2])
def test_mask_loss_of_regions_elsewhere_is_the_stock_loss(polygons, classes):
    masks = [mask_of((3, 3, 5, 6)), mask_of((2, 2, 6, 5))]
    if polygons:
        masks = PolygonMasks([[[3, 3, 5, 3, 5, 6, 3, 6.0]], [[2, 2, 6, 2, 6, 5, 2, 5.0]]])
    frames = [
        foreground([PIXELS, BLOCKS], masks, region, [1, 0])
        for region in (mask_of((10, 10, 12, 12)), None)
    ]
    logits = random_logits(4, classes)
    with EventStorage():
        expected = mask_rcnn_loss(logits, frames)
    torch.testing.assert_close(masked_loss(logits, frames), expected)


def test_an_instance_wholly_under_a_region():
    box = [PIXELS]
    hidden = foreground(box, [mask_of(PIXELS)], mask_of((0, 0, 12, 12)))
    seen = foreground(box, [mask_of((2, 2, 4, 6))])
    logits = random_logits(2)
    loss = masked_loss(logits, [hidden, seen])
    assert loss.item() == pytest.approx(masked_loss(logits[1:], [seen]).item(), rel=1e-6)
    loss.backward()
    assert not logits.grad[0].any()
    assert logits.grad[1].all()

    alone = random_logits(1)
    loss = masked_loss(alone, [hidden])
    loss.backward()
    assert loss == 0
    assert not alone.grad.any()


def test_frames_without_foreground_have_no_mask_loss():
    region = mask_of((0, 0, 4, 4))
    nobody = annotated([], size=SMALL)  # has no masks at all
    nobody.proposal_boxes = nobody.gt_boxes
    with_region = annotated([], size=SMALL)
    with_region.proposal_boxes = with_region.gt_boxes
    with_region.ignored_pixels = _SharedMask(region, 0)
    somebody = foreground([PIXELS], [mask_of((2, 2, 4, 6))], region)
    logits = random_logits(1)
    alone = masked_loss(logits, [somebody])
    torch.testing.assert_close(masked_loss(logits, [with_region, somebody, nobody]), alone)
    nothing = random_logits(0)
    loss = masked_loss(nothing, [with_region, nobody])
    loss.backward()
    assert loss == 0


def test_the_mask_head_weighs_and_names_the_loss():
    head = IgnoreRegionMaskHead(
        ShapeSpec(channels=3, width=2, height=2), num_classes=2, conv_dims=[5], loss_weight=2.5
    ).train()
    region = mask_of((4, 4, 12, 12))
    frames = [foreground([PIXELS], [mask_of((3, 3, 5, 6))], r, [1]) for r in (region, None)]
    features = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    losses = head(features, frames)
    assert losses.keys() == {"loss_mask"}
    expected = 2.5 * masked_loss(head.layers(features), frames)
    torch.testing.assert_close(losses["loss_mask"], expected)
    with EventStorage():
        stock = head(features, [frames[1]] * 2)["loss_mask"]
        assert stock == 2.5 * mask_rcnn_loss(head.layers(features), [frames[1]] * 2)
    assert losses["loss_mask"] != stock
