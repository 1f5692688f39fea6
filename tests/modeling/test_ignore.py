"""Do-not-care regions on anchors and proposals that can be counted by hand."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.proposal_generator.rpn import StandardRPNHead
from detectron2.structures import BitMasks, Boxes, ImageList
from detectron2.utils.events import EventStorage

from tests.support.gpu import GPUTensor, simulated_gpu
from tests.support.regions import (
    SIZE,
    annotated,
    random_boxes,
    rectangles,
    share_in,
)
from videogcrf_det.modeling import IgnoreRegionRPN, ignore
from videogcrf_det.modeling.ignore import covered_area, lies_on_regions

# covered_area


@pytest.mark.parametrize(
    ("box", "area"),
    [
        ((2, 1, 5, 4), 9),
        ((2.5, 1, 5, 4), 7.5),
        ((2.25, 1.25, 2.75, 1.5), 0.125),  # within one pixel
        ((1.5, 0.5, 2.5, 1.5), 0.25),
        ((3, 2, 3, 4), 0),  # no area
        ((0, 0, 8, 6), 9),
        ((-1e4, -1e4, 1e4, 1e4), 9),
        ((-10, -10, 2.25, 1.5), 0.125),
        ((4.75, 3.5, 100, 100), 0.125),
        ((8, 6, 20, 20), 0),
        ((-5, 1, 0, 4), 0),
        ((5, 0, 8, 6), 0),
    ],
)
def test_covered_area_by_hand(box, area):
    covered = covered_area(torch.tensor([box]), rectangles((2, 1, 5, 4), size=(6, 8)))
    assert covered.tolist() == [area]


def test_covered_area_on_an_eight_times_finer_grid():
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(9, 13, generator=generator) < 0.4
    boxes = (random_boxes(200, generator, mask.shape, margin=3) * 8).round()
    fine = F.pad(mask.repeat_interleave(8, 0).repeat_interleave(8, 1), (24, 24, 24, 24))
    counts = [
        int(fine[y0 + 24 : y1 + 24, x0 + 24 : x1 + 24].sum())
        for x0, y0, x1, y1 in boxes.int().tolist()
    ]
    assert torch.equal(covered_area(boxes / 8, mask), torch.tensor(counts) / 64)


@pytest.mark.parametrize("size", [(9, 13), (480, 854), (1080, 1920)])
def test_covered_area_pixel_by_pixel(size):
    """Against the sum over pixels of their common area with a box, also for small boxes."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(size, generator=generator) < 0.7
    boxes = random_boxes(40, generator, size, margin=2)
    boxes[20:, 2:] = boxes[20:, :2] + 3 * torch.rand(20, 2, generator=generator)
    boxes = boxes.double()
    x, y = torch.arange(size[1]), torch.arange(size[0])
    x0, y0, x1, y1 = boxes[..., None].unbind(1)
    columns = (torch.minimum(x1, x + 1) - torch.maximum(x0, x)).clamp(min=0)
    rows = (torch.minimum(y1, y + 1) - torch.maximum(y0, y)).clamp(min=0)
    expected = torch.einsum("nh,hw,nw->n", rows, mask.double(), columns)
    covered = covered_area(boxes.float(), mask)
    torch.testing.assert_close(covered.double(), expected, rtol=1e-6, atol=1e-3)


def test_covered_area_of_nothing():
    boxes = torch.tensor([[0.0, 0, 8, 6], [1.5, 1.5, 2, 2]])
    assert covered_area(boxes, torch.zeros(6, 8, dtype=torch.bool)).tolist() == [0, 0]
    assert covered_area(boxes[:0], torch.ones(6, 8, dtype=torch.bool)).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_covered_area_is_float32_where_its_arguments_are(dtype):
    boxes, mask = torch.tensor([[0, 0, 2, 2]], dtype=dtype), torch.ones(3, 3, dtype=torch.bool)
    assert covered_area(boxes, mask).dtype == torch.float32
    assert covered_area(boxes.to("meta"), mask.to("meta")).device.type == "meta"


# lies_on_regions


def test_regions_on_a_gpu_are_not_read_back():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(5, 9, 13, generator=generator) < 0.05
    masks[:, 2, 3] = True
    boxes = random_boxes(50, generator, masks.shape[1:], margin=0)
    expected = lies_on_regions(Boxes(boxes), BitMasks(masks))
    assert 0 < expected.sum() < 50
    extents = BitMasks(masks).get_bounding_boxes().tensor
    assert torch.equal(ignore._extents(masks).tensor, extents)
    with simulated_gpu() as waits:
        on_gpu = Boxes(GPUTensor(boxes))
        regions = BitMasks(masks[:0])
        regions.tensor = GPUTensor(masks)
        found = lies_on_regions(on_gpu, regions)
        assert not waits, waits
    assert torch.equal(found.values, expected)


def on_regions(box, *masks):
    (lies,) = lies_on_regions(Boxes(torch.tensor([box]).float()), BitMasks(torch.stack(masks)))
    return bool(lies)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 8, 8), False),  # exactly half
        ((0, 0, 7.9, 8), True),
        ((-4, 0, 4, 8), False),  # half of it outside of the frame
        ((-3.9, 0, 4, 8), True),
        ((1, 1, 2, 2), True),
        ((4, 0, 8, 8), False),
        ((2, 2, 2, 6), False),  # no area
    ],
)
def test_more_than_half_of_a_box(box, expected):
    assert on_regions(box, rectangles((0, 0, 4, 8), size=(10, 10))) == expected


def test_regions_count_together_and_once():
    box = (0, 0, 10, 10)
    left, right = rectangles((0, 0, 3, 10)), rectangles((7, 0, 10, 10))
    assert on_regions(box, left, right)
    assert not on_regions(box, left)
    assert not on_regions(box, left, left)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((20, 10, 40, 50), True),
        ((20, 10, 40, 90), False),  # an IoU of exactly 0.5
        ((20, 10, 40, 89), True),
        ((20, 10, 40, 29), False),
        ((60, 10, 80, 50), False),
    ],
)
def test_a_detection_of_a_silhouette(box, expected):
    """A line from corner to corner covers next to nothing of its own box."""
    line = torch.zeros(SIZE, dtype=torch.bool)
    line[torch.arange(10, 50), 20 + torch.arange(40) // 2] = True
    assert on_regions(box, rectangles((90, 60, 95, 65)), line) == expected


def test_a_notch_is_not_on_the_region():
    corner = rectangles((0, 0, 10, 10))
    corner[0:6, 4:10] = False
    assert not on_regions((4, 0, 10, 6), corner)
    assert not on_regions((2, 0, 10, 4), corner)
    assert on_regions((0, 0, 10, 10), corner)
    assert on_regions((0, 6, 10, 10), corner)


def test_what_a_region_that_fills_its_box_adds():
    """Nothing: a detection of it lies on it. One that does not fill its box adds some."""
    generator = torch.Generator().manual_seed(0)
    added = {"full": 0, "thin": 0}
    for _ in range(30):
        x0, y0, x1, y1 = random_boxes(1, generator).round().int()[0].tolist()
        full = rectangles((x0, y0, x1 + 1, y1 + 1))
        thin = full & (torch.arange(SIZE[1]) % 4 == x0 % 4)
        thin[y0, x1] = True
        near = full.nonzero().amin(0).flip(0).repeat(2) + torch.tensor([0, 0, x1 - x0, y1 - y0])
        boxes = near + 20 * torch.randn(400, 4, generator=generator)
        boxes = torch.cat(
            [boxes[:, :2].minimum(boxes[:, 2:]), boxes[:, :2].maximum(boxes[:, 2:])], 1
        )
        for name, mask in [("full", full), ("thin", thin)]:
            lies = lies_on_regions(Boxes(boxes), BitMasks(mask[None]))
            half = covered_area(boxes, mask) > 0.5 * Boxes(boxes).area()
            assert lies[half].all()
            added[name] += int((lies & ~half).sum())
    assert added["full"] == 0
    assert added["thin"] > 0


# RPN

# first level: the instance; half of it, and the other half; on the region; half of that
ANCHORS = [
    [(0, 0, 10, 10), (0, 0, 10, 20), (20, 0, 30, 10), (15, 0, 25, 10)],
    [(16, 0, 26, 10), (0, 20, 10, 30), (60, 0, 70, 10)],
]


def make_rpn(cls, batch_size=256):
    torch.manual_seed(0)
    return cls(
        in_features=["p"],
        head=StandardRPNHead(in_channels=64, num_anchors=1),
        anchor_generator=DefaultAnchorGenerator(
            sizes=[[16]], aspect_ratios=[[1.0]], strides=[8], offset=0.5
        ),
        anchor_matcher=Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=True),
        box2box_transform=Box2BoxTransform((1.0, 1.0, 1.0, 1.0)),
        batch_size_per_image=batch_size,
        positive_fraction=0.5,
        pre_nms_topk=(100, 100),
        post_nms_topk=(20, 20),
    ).train()


def labels_of(rpn, anchors, *frames, seed=0):
    torch.manual_seed(seed)
    anchors = [Boxes(torch.tensor(level).float()) for level in anchors]
    labels, matched = rpn.label_and_sample_anchors(anchors, list(frames))
    assert all(boxes.shape == (len(Boxes.cat(anchors)), 4) for boxes in matched)
    return [label.tolist() for label in labels]


def test_labels_of_anchors_by_hand():
    rpn, instance, region = make_rpn(IgnoreRegionRPN), [(0, 0, 10, 10)], [(20, 0, 40, 20)]
    frames = [annotated(instance, r) for r in (region, [], None)] + [annotated([], region)]
    assert labels_of(rpn, ANCHORS, *frames) == [
        [1, -1, -1, 0, -1, 0, 0],
        [1, -1, 0, 0, 0, 0, 0],
        [1, -1, 0, 0, 0, 0, 0],
        [0, 0, -1, 0, -1, 0, 0],
    ]


def test_anchors_of_instances_on_a_region_stay_positive():
    anchors = [[(0, 0, 10, 9), (0, 0, 9, 16), (10, 0, 20, 20), (30, 0, 50, 20), (60, 0, 70, 10)]]
    # the second instance has no better anchor than one with an IoU of 0.25
    frame = annotated([(0, 0, 10, 10), (30, 0, 40, 10)], [(0, 0, 50, 20)])
    assert labels_of(make_rpn(IgnoreRegionRPN), anchors, frame) == [[1, -1, -1, 1, 0]]


def test_anchors_are_sampled_before_regions_are_left_out():
    """So what is left of the sample is the stock RPN's, of the same random numbers."""
    generator = torch.Generator().manual_seed(0)
    anchors = [random_boxes(n, generator).tolist() for n in (300, 100)]
    region = (60, 20, 110, 90)
    on_region = share_in(torch.tensor(anchors[0] + anchors[1]), region) > 0.5
    frames = [annotated([(10, 10, 40, 70)], regions) for regions in ([region], [])]
    ours, stock = (make_rpn(cls, 64) for cls in (IgnoreRegionRPN, RPN))
    with_region, without = map(torch.tensor, labels_of(ours, anchors, *frames))
    expected, also_without = map(torch.tensor, labels_of(stock, anchors, *frames))
    assert torch.equal(without, also_without)
    assert ((expected == 0) & on_region).sum() > 3
    assert torch.equal(with_region, expected.masked_fill((expected == 0) & on_region, -1))


def rpn_losses(rpn, frames, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = {"p": torch.randn(len(frames), 64, 12, 15, generator=generator)}
    images = ImageList(torch.zeros(len(frames), 3, *SIZE), [SIZE] * len(frames))
    torch.manual_seed(seed)
    with EventStorage():
        proposals, losses = rpn(images, features, frames)
    return proposals, losses


@pytest.mark.parametrize("regions", [None, []])
def test_an_rpn_without_regions_is_the_stock_one(regions):
    frames = [annotated([(10, 10, 40, 70), (60, 20, 80, 40)], regions), annotated([], regions)]
    proposals, losses = rpn_losses(make_rpn(IgnoreRegionRPN, 32), frames)
    expected_proposals, expected = rpn_losses(make_rpn(RPN, 32), frames)
    assert {name: loss.item() for name, loss in losses.items()} == {
        name: loss.item() for name, loss in expected.items()
    }
    for ours, stock in zip(proposals, expected_proposals, strict=True):
        assert torch.equal(ours.proposal_boxes.tensor, stock.proposal_boxes.tensor)


def test_a_frame_of_which_all_is_a_region_teaches_nothing():
    frames = [annotated([], [(0, 0, SIZE[1], SIZE[0])])]
    rpn = make_rpn(IgnoreRegionRPN)
    _, losses = rpn_losses(rpn, frames)
    sum(losses.values()).backward()
    assert all(loss == 0 for loss in losses.values())
    assert all(not parameter.grad.any() for parameter in rpn.parameters())


@pytest.mark.parametrize("cls", [IgnoreRegionRPN, RPN])
def test_a_bystander_who_looks_like_an_instance(cls):
    """Two people who look the same, one of them annotated. The stock RPN is taught to be unsure."""
    features = torch.zeros(1, 64, 12, 15)
    features[0, :, 6, [3, 11]] = 5 * torch.randn(64, 1, generator=torch.Generator().manual_seed(0))
    frame = annotated([(20, 44, 36, 60)], [(84, 44, 100, 60)])  # the anchors of these positions
    rpn = make_rpn(cls)
    optimizer = torch.optim.Adam(rpn.parameters(), lr=0.003)
    images = ImageList(torch.zeros(1, 3, *SIZE), [SIZE])
    with EventStorage():
        for _ in range(60):
            _, losses = rpn(images, {"p": features}, [frame])
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
    (logits,), _ = rpn.rpn_head([features])
    person, bystander, elsewhere = logits[0, 0, 6, [3, 11, 7]].sigmoid().tolist()
    assert person == pytest.approx(bystander, abs=1e-3)
    assert elsewhere < 0.2
    assert bystander > 0.9 if cls is IgnoreRegionRPN else bystander < 0.6
