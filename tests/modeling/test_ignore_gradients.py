"""What the whole detector learns from under a do-not-care region: nothing."""

from types import SimpleNamespace

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import (
    MaskRCNNConvUpsampleHead,
    StandardROIHeads,
    select_foreground_proposals,
)
from detectron2.structures import Boxes, pairwise_iou
from detectron2.utils.events import EventStorage

from tests.conftest import CONFIG
from tests.modeling.conftest import C4
from tests.support.regions import annotated, share_in
from videogcrf_det.engine import build_cfg
from videogcrf_det.modeling import (
    IgnoreRegionMaskHead,
    IgnoreRegionRes5ROIHeads,
    IgnoreRegionRPN,
    IgnoreRegionStandardROIHeads,
)

SIZE = (96, 128)
PERSON = (30, 20, 60, 80)
REGION = (48, 8, 116, 90)  # over a part of the person, and what is beside it: two regions in one
PARTS = [(48, 8, 116, 50), (48, 50, 116, 90)]
# so many samples that all anchors and proposals that take part are among them
ALL = [
    *["MODEL.RPN.BATCH_SIZE_PER_IMAGE", "100000", "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "10000"],
    *["MODEL.RPN.POST_NMS_TOPK_TRAIN", "60"],
]
DETECTORS = {"FPN": ALL, "C4": [*C4, *ALL, "MODEL.ROI_HEADS.NAME", "IgnoreRegionRes5ROIHeads"]}


def make_detector(opts):
    torch.manual_seed(0)
    return build_model(build_cfg(CONFIG, opts)).train()


def clip_of(*instances):
    """A clip of random frames with these instances."""
    generator = torch.Generator().manual_seed(0)
    return {
        "frames": [
            {
                "image": torch.randint(0, 256, (3, *SIZE), generator=generator).byte(),
                "instances": of_frame,
            }
            for of_frame in instances
        ]
    }


def learn(model, clip):
    """One backward pass. What the heads predicted, with gradients, and for which boxes."""
    seen = SimpleNamespace()
    rpn, heads = model.proposal_generator, model.roi_heads

    def keep(name, predictions):
        predictions.retain_grad()
        setattr(seen, name, predictions)

    def keep_objectness(_, inputs, outputs):
        seen.anchors = Boxes.cat(rpn.anchor_generator(inputs[0])).tensor
        for logits in outputs[0]:
            logits.retain_grad()
        seen.objectness = outputs[0]

    def keep_sampled(proposals, targets):
        seen.sampled = type(heads).label_and_sample_proposals(heads, proposals, targets)
        return seen.sampled

    hooks = [
        rpn.rpn_head.register_forward_hook(keep_objectness),
        heads.box_predictor.register_forward_hook(lambda _, __, out: keep("classes", out[0])),
        heads.mask_head.predictor.register_forward_hook(lambda _, __, out: keep("masks", out)),
    ]
    heads.label_and_sample_proposals = keep_sampled
    torch.manual_seed(0)
    with EventStorage():
        sum(model([clip]).values()).backward()
    for hook in hooks:
        hook.remove()
    del heads.label_and_sample_proposals
    # (frames, anchors), in the order of the anchors
    seen.objectness_gradient = torch.cat(
        [logits.grad.permute(0, 2, 3, 1).flatten(1) for logits in seen.objectness], 1
    )
    return seen


@pytest.fixture(scope="module", params=DETECTORS.values(), ids=DETECTORS)
def with_and_without(request):
    """What is learnt from a clip of two frames, the first of which has a region, or has not."""
    model = make_detector(request.param)
    second = annotated([PERSON], [], SIZE)
    return [
        learn(model, clip_of(annotated([PERSON], regions, SIZE), second)) for regions in (PARTS, [])
    ]


def test_objectness_is_not_learnt_under_a_region(with_and_without):
    with_region, without = with_and_without
    anchors = with_region.anchors
    unmatched = pairwise_iou(Boxes(torch.tensor([PERSON]).float()), Boxes(anchors))[0] < 0.3
    on_region = unmatched & (share_in(anchors, REGION) > 0.5)
    assert on_region.sum() > 10
    first, second = with_region.objectness_gradient
    expected_first, expected_second = without.objectness_gradient
    assert not first[on_region].any()
    assert expected_first[on_region].all()
    # all others learn what they would have learnt without it
    torch.testing.assert_close(first[~on_region], expected_first[~on_region])
    torch.testing.assert_close(second, expected_second)
    assert first[unmatched & ~on_region].all()


def test_classes_are_not_learnt_under_a_region(with_and_without):
    def background_on_region(seen):
        """Of each frame, how many proposals without an instance have a gradient."""
        gradients = seen.classes.grad.split([len(found) for found in seen.sampled])
        learnt = []
        for found, gradient in zip(seen.sampled, gradients, strict=True):
            boxes, background = found.proposal_boxes.tensor, found.gt_classes == 1
            on_region = background & (share_in(boxes, REGION) > 0.5)
            learnt.append((int(gradient[on_region].any(1).sum()), int(gradient.any(1).sum())))
        return learnt

    (on_region, count), (on_second, second_count) = background_on_region(with_and_without[0])
    assert on_region == 0
    (back, full_count), expected_second = background_on_region(with_and_without[1])
    assert back > 3
    assert count == full_count - back > 3  # and nothing else went missing
    assert (on_second, second_count) == expected_second
    assert on_second > 3


def test_masks_are_not_learnt_under_a_region(with_and_without):
    for seen, has_region in zip(with_and_without, [True, False], strict=True):
        proposals, _ = select_foreground_proposals(seen.sampled, 1)
        first, second = seen.masks.grad[:, 0].split([len(found) for found in proposals])
        share = share_under(proposals[0].proposal_boxes.tensor, first, REGION)
        assert (share == 1).sum() > 10
        assert (share == 0).sum() > 10
        assert first[share == 0].all()
        under = first[share == 1]
        assert not under.any() if has_region else under.all()
        assert len(second)
        assert second.all()


def share_under(boxes, masks, region):
    """The share of each entry of predicted masks (n, M, M) that lies in a rectangle."""
    side = masks.shape[-1]
    x0, y0, x1, y1 = boxes[:, :, None].unbind(1)
    steps = torch.arange(side + 1) / side
    x, y = x0 + (x1 - x0) * steps, y0 + (y1 - y0) * steps  # (n, M + 1)
    columns = [v[:, None, :].expand(-1, side, -1) for v in (x[:, :-1], x[:, 1:])]
    rows = [v[:, :, None].expand(-1, -1, side) for v in (y[:, :-1], y[:, 1:])]
    cells = torch.stack([columns[0], rows[0], columns[1], rows[1]], -1)
    return share_in(cells.flatten(0, 2), region).view_as(masks)


@pytest.mark.parametrize("opts", DETECTORS.values(), ids=DETECTORS)
def test_a_clip_of_nobody_but_regions(opts):
    everything = (0, 0, SIZE[1], SIZE[0])
    model = make_detector(opts)
    clip = clip_of(annotated([], [everything], SIZE), annotated([], [REGION], SIZE))
    seen = learn(model, clip)
    inside = share_in(seen.anchors, everything) > 0.5
    assert not seen.objectness_gradient[0, inside].any()
    assert len(seen.sampled[0]) == 0
    assert len(seen.sampled[1]) > 0
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_a_detector_of_stock_parts_does_not_know_of_regions():
    parts = {"PROPOSAL_GENERATOR": RPN, "ROI_HEADS": StandardROIHeads}
    parts["ROI_MASK_HEAD"] = MaskRCNNConvUpsampleHead
    opts = [opt for key, part in parts.items() for opt in (f"MODEL.{key}.NAME", part.__name__)]
    model = make_detector(opts)
    losses = []
    for regions in (None, [REGION]):
        torch.manual_seed(0)
        clip = clip_of(annotated([PERSON], regions, SIZE))
        with EventStorage():
            losses.append({name: loss.item() for name, loss in model([clip]).items()})
    assert losses[0] == losses[1]
    assert len(losses[0]) == 5
    assert parts_of(model) == list(parts.values())


def parts_of(model):
    heads = model.roi_heads
    return [type(part) for part in (model.proposal_generator, heads, heads.mask_head)]


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("mask_rcnn_R_50_C4", IgnoreRegionRes5ROIHeads),
        ("video_gcrf_R_50_C4_4f", IgnoreRegionRes5ROIHeads),
        ("mask_rcnn_R_50_FPN", IgnoreRegionStandardROIHeads),
        ("video_gcrf_R_50_FPN_4f", IgnoreRegionStandardROIHeads),
    ],
)
def test_the_papers_configs_know_of_regions(name, heads):
    model = build_model(build_cfg(f"configs/DAVIS-Person/{name}.yaml", ["MODEL.WEIGHTS", ""]))
    assert parts_of(model) == [IgnoreRegionRPN, heads, IgnoreRegionMaskHead]
