"""Checkpoints of detectron2's model zoo as weights: every tensor is accounted for.

The files are made here, in the zoo's formats, and lie where a download would have put them.
"""

import pickle
import re
from types import SimpleNamespace

import pytest
import torch
from detectron2 import model_zoo
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import LazyConfig, instantiate
from detectron2.modeling import build_model
from fvcore.common.checkpoint import Checkpointer

from tests.modeling.conftest import equal_detections, make_clip  # noqa: F401
from videogcrf_det.checkpoint import ClipCheckpointer
from videogcrf_det.engine import build_cfg

SITE = "https://dl.fbaipublicfiles.com/detectron2/"  # what detectron2:// stands for
IMAGENET = "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
CLASSES = {  # the layers whose shapes depend on the number of classes
    "roi_heads.box_predictor.cls_score",
    "roi_heads.box_predictor.bbox_pred",
    "roi_heads.mask_head.predictor",
}
FEW = ["MODEL.RPN.POST_NMS_TOPK_TEST", 20, "MODEL.DEVICE", "cpu"]


@pytest.fixture(scope="module")
def publish(tmp_path_factory):
    """Have ``detectron2://...`` stand for an object's pickle, without a network."""
    cache = tmp_path_factory.mktemp("cache")
    written = []

    def publish(url, content):
        written.append(cache / "detectron2" / url.removeprefix("detectron2://"))
        written[-1].parent.mkdir(parents=True)
        written[-1].write_bytes(pickle.dumps(content))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FVCORE_CACHE", str(cache))
        yield publish
    for path in written:
        path.unlink()  # they are large


@pytest.fixture(scope="module", params=["FPN", "C4"])
def zoo(request, publish):
    """A stock COCO detector with drawn weights: its kind, the model, and the URL of its file."""
    config = f"COCO-InstanceSegmentation/mask_rcnn_R_50_{request.param}_3x.yaml"
    cfg = model_zoo.get_config(config)
    cfg.merge_from_list(FEW)
    torch.manual_seed(1)
    model = build_model(cfg).eval()
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    # of no effect; the zoo's files have them
    for index, anchors in enumerate(model.proposal_generator.anchor_generator.cell_anchors):
        weights[f"proposal_generator.anchor_generator.cell_anchors.{index}"] = anchors.numpy()
    url = model_zoo.get_checkpoint_url(config).replace(SITE, "detectron2://")
    publish(url, {"model": weights, "__author__": "Detectron2 Model Zoo"})
    return SimpleNamespace(kind=request.param, model=model, url=url)


def from_yaml(kind, *opts):
    """Our model of four frames, and the checkpointer of tools/train_net.py."""
    path = f"configs/DAVIS-Person/video_gcrf_R_50_{kind}_4f.yaml"
    model = build_model(build_cfg(path, [*map(str, opts)]))
    return model, ClipCheckpointer(model)


def from_lazy_config(kind):
    """The same, and the checkpointer of detectron2's tool."""
    if kind != "FPN":
        pytest.skip("lazy configs are those of the FPN")
    model = instantiate(LazyConfig.load("configs/lazy/video_gcrf_R_50_FPN_4f.py").model)
    return model, DetectionCheckpointer(model)


@pytest.fixture(params=[from_yaml, from_lazy_config])
def load(request, monkeypatch):
    """Load a URL into our model: its weights before and after, and what would be logged."""
    reports = []
    monkeypatch.setattr(
        Checkpointer, "_log_incompatible_keys", lambda self, report: reports.append(report)
    )

    def load(kind, url):
        model, checkpointer = request.param(kind)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        checkpointer.load(url)
        (report,) = reports
        # missing tensors are named as modules are nested
        missing = {name.replace("backbone.bottom_up.", "backbone.") for name in report.missing_keys}
        return before, model.state_dict(), report._replace(missing_keys=missing)

    return load


def test_every_tensor_of_a_detector_is_accounted_for(zoo, load):
    stock = zoo.model.state_dict()
    before, after, report = load(zoo.kind, zoo.url)
    skipped = {name for name, _, _ in report.incorrect_shapes}
    assert skipped == {f"{layer}.{part}" for layer in CLASSES for part in ("weight", "bias")}
    for name, in_file, in_model in report.incorrect_shapes:
        assert (in_file, in_model) == (tuple(stock[name].shape), tuple(after[name].shape))
    new = {name for name in after if name.startswith("backbone.gcrf.")}
    assert new
    assert report.missing_keys == new | skipped  # what was skipped is absent as well
    assert not report.unexpected_keys

    assert after.keys() - new == stock.keys()
    for name, value in after.items():
        assert torch.equal(value, (before if name in new | skipped else stock)[name]), name


def test_coco_detections_are_those_of_the_stock_detector(zoo, make_clip, equal_detections):  # noqa: F811
    model, checkpointer = from_yaml(zoo.kind, "MODEL.ROI_HEADS.NUM_CLASSES", 80, *FEW)
    checkpointer.load(zoo.url)
    assert not checkpointer.missing
    clip = make_clip(5)
    with torch.no_grad():
        (ours,) = model.eval()([clip])
        expected = [zoo.model([frame])[0] for frame in clip["frames"]]
    assert equal_detections(ours, expected)


def in_resnet(name):
    """The name within the ResNet of a detector's tensor; None if that does not have it."""
    found = re.search(r"(?<!gcrf\.)(stem|res\d)\..*", name)
    return found and found[0]


def in_caffe2(name):
    """What the zoo's ImageNet models call a tensor of a ResNet."""
    name = name.replace("stem.conv1.norm", "res_conv1_bn").replace("stem.conv1", "conv1")
    name = name.replace("shortcut", "branch1").replace(".norm", "_bn")
    name = re.sub(r"\.conv(\d)", lambda found: ".branch2" + "-abc"[int(found[1])], name)
    name = name.replace("_bn.weight", "_bn.s")
    return name.replace(".weight", ".w").replace(".bias", ".b").replace(".", "_")


@pytest.fixture(scope="module")
def imagenet(publish):
    """The tensors of IMAGENET by their names in a ResNet."""
    _, checkpointer = from_yaml("FPN")
    drawn = {
        in_resnet(name): torch.rand_like(value)
        for name, value in checkpointer.model.state_dict().items()
        if in_resnet(name) and "running" not in name  # statistics are part of the scales there
    }
    weights = {in_caffe2(name): value.numpy() for name, value in drawn.items()}
    publish(IMAGENET, {**weights, "fc1000_b": weights["conv1_w"]})  # and a layer of its classes
    return drawn


@pytest.mark.parametrize("kind", ["FPN", "C4"])
def test_imagenet_weights_fill_the_resnet(kind, imagenet, load):
    """What all our configs start from."""
    before, after, report = load(kind, IMAGENET)
    rest = {name for name in after if not in_resnet(name)}
    assert report.missing_keys == rest
    assert report.unexpected_keys == ["fc1000.bias"]
    assert not report.incorrect_shapes
    for name, value in after.items():
        if "running" not in name:
            expected = before[name] if name in rest else imagenet[in_resnet(name)]
            assert torch.equal(value, expected), name
