import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from torch import nn

from tests.modeling.conftest import BASELINE, C4, STOCK
from videogcrf_det import InputError
from videogcrf_det.modeling import VideoGCRFBackbone


class Patches(Backbone):
    """A backbone whose cells see nothing beyond their own patch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, kernel_size=8, stride=8)
        self._out_features = ["patches"]

    def forward(self, images):
        return {"patches": self.conv(images)}

    def output_shape(self):
        return {"patches": ShapeSpec(channels=6, stride=8)}


def wrap(bottom_up, features=("patches",), **options):
    return VideoGCRFBackbone(
        bottom_up, features, spatial_dim=4, temporal_dim=4, conv_dim=4, **options
    ).requires_grad_(False)


@pytest.mark.parametrize("opts", [[], C4])
def test_output_is_described_as_the_wrapped_backbone_does(make_detector, opts):
    wrapped = make_detector(*opts).backbone
    name = "build_resnet_backbone" if opts else "build_resnet_fpn_backbone"
    plain = make_detector(*opts, "MODEL.BACKBONE.NAME", name).backbone
    assert isinstance(wrapped, VideoGCRFBackbone)
    assert type(wrapped.bottom_up) is type(plain)
    assert wrapped.output_shape() == plain.output_shape()
    assert wrapped.size_divisibility == plain.size_divisibility
    assert wrapped.padding_constraints == getattr(plain, "padding_constraints", {})


def test_frames_of_a_clip_are_coupled_and_clips_are_not():
    torch.manual_seed(0)
    backbone = wrap(Patches(), fusion="replace")
    images = torch.randn(5, 3, 32, 48)
    output = backbone(images, [3, 2])["patches"]
    images[4] += 1
    changed = (backbone(images, [3, 2])["patches"] - output).abs().amax(dim=(1, 2, 3))
    assert torch.equal(changed[:3], torch.zeros(3))
    assert (changed[3:] > 1e-5).all()


def test_features_not_named_go_through(make_detector):
    backbone = make_detector("MODEL.VIDEO_GCRF.FUSION", "replace").backbone
    images = torch.randn(2, 3, 64, 96)
    plain, coupled = backbone.bottom_up(images), backbone(images)
    for name in plain:
        assert torch.equal(plain[name], coupled[name]) == (name not in ("p3", "p4"))


@pytest.mark.parametrize("fusion", ["replace", "residual"])
def test_padding_changes_nothing(fusion):
    """Neither its amount nor what it holds, for frames of different sizes."""
    torch.manual_seed(0)
    backbone = wrap(Patches(), fusion=fusion)
    for parameter in backbone.gcrf["patches"].parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.3)
    lengths, sizes = [2, 1], [(32, 48), (32, 48), (24, 40)]
    images = torch.randn(3, 3, 32, 48)
    alone = [
        backbone(images[:2])["patches"],
        backbone(images[2:, :, :24, :40])["patches"],
    ]
    for height, width in [(32, 48), (40, 88)]:
        padded = torch.randn(3, 3, height, width) * 100
        for image, source, (h, w) in zip(padded, images, sizes, strict=True):
            image[:, :h, :w] = source[:, :h, :w]
        output = backbone(padded, lengths, sizes)["patches"]
        torch.testing.assert_close(output[:2, :, :4, :6], alone[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(output[2:, :, :3, :5], alone[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("opts", [[], C4])
def test_checkpoints_are_exchanged_with_the_stock_detector(make_detector, tmp_path, opts):
    name = ["MODEL.BACKBONE.NAME", "build_resnet_backbone"] if opts else BASELINE
    stock = make_detector(*opts, *STOCK[2:], *name)
    ours = make_detector(*opts)
    torch.manual_seed(1)
    for parameter in stock.parameters():
        nn.init.normal_(parameter)
    DetectionCheckpointer(stock, str(tmp_path)).save("stock")
    incompatible = DetectionCheckpointer(ours)._load_model(
        torch.load(tmp_path / "stock.pth", weights_only=True)
    )
    assert not incompatible.unexpected_keys
    assert not incompatible.incorrect_shapes
    assert all(key.startswith("backbone.gcrf.") for key in incompatible.missing_keys)
    for key, value in stock.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key

    new = set(ours.state_dict()) - set(stock.state_dict())
    assert new
    assert all(key.startswith("backbone.gcrf.") for key in new)
    fresh = make_detector(*opts)
    assert not fresh.load_state_dict(ours.state_dict()).missing_keys


def test_unknown_feature_is_an_error(make_detector):
    with pytest.raises(InputError, match=r"res7.*which gives p2, p3"):
        make_detector("MODEL.VIDEO_GCRF.IN_FEATURES", "['p3', 'res7']")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("NEIGHBOURHOOD", "[0]", r"NEIGHBOURHOOD takes distances.*\[0\]"),
        ("SELF_COUPLING", "half", "unknown SELF_COUPLING 'half'"),
        ("FUSION", "sum", "unknown fusion 'sum'"),
        ("SOLVER", "lu", "unknown solver 'lu'"),
        ("LAMBDA", "0.0", "LAMBDA must be above 0"),
        ("DISTANCE_DECAY", "-1.0", "DISTANCE_DECAY must be above 0"),
        ("SPATIAL_DIM", "-1", "embedding sizes"),
        ("BACKBONE_NAME", "build_nothing", "build_nothing"),
    ],
)
def test_bad_values_are_named(make_detector, key, value, message):
    with pytest.raises(InputError, match=message):
        make_detector(f"MODEL.VIDEO_GCRF.{key}", value)
