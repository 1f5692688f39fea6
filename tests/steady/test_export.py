"""Exported detectors give what VideoPredictor gives at latency 0."""

import json
import runpy
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from detectron2.layers import paste_masks_in_image
from detectron2.modeling import build_model
from detectron2.structures import Boxes

from tests.conftest import CONFIG
from tests.steady.conftest import ARCHITECTURES, TINY
from tests.steady.test_fit import scene
from videogcrf_det.demo_loop import changed_cfg
from videogcrf_det.engine import build_cfg, load_video_model
from videogcrf_det.errors import InputError
from videogcrf_det.export import export_detector
from videogcrf_det.export.graph import NEXT, StepBackbone
from videogcrf_det.predictor import VideoPredictor, model_input
from videogcrf_det.steady.detector import demo_cfg
from videogcrf_det.steady.fields import SteadyFields
from videogcrf_det.steady.ready_made import READY_MADE

ABSENT = "onnx and onnxruntime are not installed: pip install '.[export]'"


@pytest.fixture
def frames(tmp_path):
    """Three frames of something that moves and changes, (H, W, 3) BGR; and a folder with them."""
    folder = tmp_path / "frames"
    folder.mkdir()
    made = []
    for number in range(3):
        frame = np.roll(scene(60, 90), 5 * number, 1)
        frame = cv2.convertScaleAbs(frame, alpha=1 - 0.3 * (number == 1))
        cv2.imwrite(str(folder / f"{number}.png"), frame)
        made.append(frame)
    return made, folder


@pytest.fixture
def cfg_of(tmp_path, make_model):
    """The config of one of ARCHITECTURES with random fields, whose couplings show."""

    def make(name="Mask R-CNN", *opts, motion="", ready_made=False):
        model = make_model(name)
        torch.save({"model": model.state_dict()}, tmp_path / "weights.pth")
        config, of_model = ARCHITECTURES[name]
        of_model = [*TINY, *of_model, "INPUT.MIN_SIZE_TEST", "64"]
        if ready_made:
            weights = ["MODEL.WEIGHTS", str(tmp_path / "weights.pth")]
            return demo_cfg(config, READY_MADE, [*of_model, *weights, *opts], latency=0)
        fields = SteadyFields.for_model(model, dim=4, conv_dim=4)
        for level in fields:
            torch.nn.init.constant_(fields[level].branch.embed.bias[-1:], -1.0)
        fields.source = {
            "config_file": config,
            "weights": str(tmp_path / "weights.pth"),
            "opts": of_model,
        }
        fields.motion = motion
        fields.save(tmp_path / "fields.pth")
        return demo_cfg(None, str(tmp_path / "fields.pth"), opts, latency=0)

    return make


@pytest.fixture
def window_cfg(tmp_path, small):
    """The config of a ClipRCNN with random fields of products, whose couplings show."""
    opts = [
        *["INPUT.CLIP.NUM_FRAMES", "3", "INPUT.MIN_SIZE_TEST", "64", "MODEL.VIDEO_GCRF.FUSION"],
        *["replace", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", "MODEL.RPN.POST_NMS_TOPK_TEST"],
        *["8", "MODEL.VIDEO_GCRF.IN_FEATURES", "['p2', 'p3', 'p6']"],
        *["MODEL.WEIGHTS", str(tmp_path / "weights.pth")],
    ]
    cfg = build_cfg(CONFIG, [*small, *opts])
    torch.manual_seed(0)
    model = build_model(cfg)
    for name, parameter in model.backbone.gcrf.named_parameters():
        if name.endswith("embed.weight"):
            parameter.data *= 10
    torch.save({"model": model.state_dict()}, cfg.MODEL.WEIGHTS)
    return cfg


# nothing of detectron2
RUN_WINDOW = """
import sys, torch, torchvision, videogcrf_det.gcrf
about = dict.fromkeys(("outputs", "state", "num_frames"), "")
module = torch.jit.load(sys.argv[1] + "/window.pt", _extra_files=about)
torch.save((about, module(torch.load(sys.argv[1] + "/images.pt"))), sys.argv[1] + "/made.pt")
"""


@pytest.fixture
def run_onnx():
    pytest.importorskip("onnx", reason=ABSENT)
    pytest.importorskip("onnxruntime", reason=ABSENT)
    return runpy.run_path("tools/run_onnx.py")


@pytest.mark.parametrize("ready_made", [False, True])
def test_onnx(ready_made, cfg_of, frames, run_onnx, tmp_path):
    cfg = cfg_of(ready_made=ready_made)
    images, folder = frames
    export_detector(cfg, folder, tmp_path / "detector.onnx")
    expected = [found for _, found in VideoPredictor(cfg)(images)]
    assert min(len(found) for found in expected) > 3
    rgb = [np.ascontiguousarray(image[:, :, ::-1]) for image in images]
    made = list(run_onnx["detect"](str(tmp_path / "detector.onnx"), rgb))
    for found, (boxes, classes, scores, masks) in zip(expected, made, strict=True):
        assert classes.tolist() == found.pred_classes.tolist()
        np.testing.assert_allclose(boxes, found.pred_boxes.tensor, atol=1e-3)
        np.testing.assert_allclose(scores, found.scores, atol=1e-5)
        for mask, its in zip(masks, found.pred_masks.numpy(), strict=True):
            assert mask.shape == its.shape == (60, 90)
            assert (mask != its).mean() <= 1e-3
        assert found.pred_masks.any()


def test_onnx_of_pictures_that_cells_do_not_divide(cfg_of, frames, run_onnx, tmp_path):
    cfg = cfg_of("C4", "INPUT.MIN_SIZE_TEST", "66", ready_made=True)
    export_detector(cfg, frames[1], tmp_path / "detector.onnx")  # which compares it with Python
    assert (tmp_path / "detector.onnx").is_file()


def test_torchscript(cfg_of, frames, tmp_path):
    cfg, (images, folder) = cfg_of(), frames
    export_detector(cfg, folder, tmp_path / "detector.pt")
    about = dict.fromkeys(("state", "outputs"), "")
    module = torch.jit.load(str(tmp_path / "detector.pt"), _extra_files=about)
    outputs = json.loads(about["outputs"])
    state = {name: torch.zeros(shape) for name, shape in json.loads(about["state"]).items()}
    for number, (_, found) in enumerate(VideoPredictor(cfg)(images)):
        image = model_input(cfg, images[number])["image"].permute(1, 2, 0)
        made = dict(zip(outputs, module(image, *state.values()), strict=True))
        state = {name: made[NEXT + name] for name in state}
        assert made["classes"].tolist() == found.pred_classes.tolist() != []
        torch.testing.assert_close(made["boxes"], found.pred_boxes.tensor, rtol=0, atol=1e-3)
        torch.testing.assert_close(made["scores"], found.scores, rtol=0, atol=1e-5)


def test_window_of_a_detector_with_its_own_fields(window_cfg, frames, tmp_path):
    images, folder = frames
    export_detector(window_cfg, folder, tmp_path / "window.pt")
    # another window than the one that it was traced with, in a process that knows of the operator
    inputs = [model_input(window_cfg, image)["image"].permute(1, 2, 0) for image in images[::-1]]
    torch.save(torch.stack(inputs), tmp_path / "images.pt")
    done = subprocess.run(
        [sys.executable, "-c", RUN_WINDOW, str(tmp_path)], capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    about, made = torch.load(tmp_path / "made.pt")
    made = dict(zip(json.loads(about["outputs"]), made, strict=True))
    assert [json.loads(about[name]) for name in ("num_frames", "state")] == [3, {}]
    predicted = [found for _, found in VideoPredictor(window_cfg)(images[::-1])]
    alone = [found for image in images[::-1] for _, found in VideoPredictor(window_cfg)([image])]
    for number, found in enumerate(predicted):
        own = {name: each[made["frames"] == number] for name, each in made.items()}
        assert own["classes"].tolist() == found.pred_classes.tolist() != []
        torch.testing.assert_close(own["boxes"], found.pred_boxes.tensor, rtol=0, atol=1e-3)
        torch.testing.assert_close(own["scores"], found.scores, rtol=0, atol=1e-5)
        masks = paste_masks_in_image(own["masks"], Boxes(own["boxes"]), (60, 90))
        assert (masks != found.pred_masks).float().mean() <= 1e-3
        # without its neighbours a frame has other detections
        assert found.scores.tolist() != pytest.approx(alone[number].scores.tolist(), abs=1e-4)


def test_window_gives_features_where_heads_cannot_be_traced(
    window_cfg, frames, tmp_path, monkeypatch, capsys
):
    def fails(*_):
        raise RuntimeError("no tracing")

    monkeypatch.setattr("videogcrf_det.export.window.in_frame", fails)
    export_detector(window_cfg, frames[1], tmp_path / "window.pt")
    assert "ClipRCNN cannot be exported whole (no tracing)" in capsys.readouterr().out
    about = {"outputs": ""}
    module = torch.jit.load(str(tmp_path / "window.pt"), _extra_files=about)
    inputs = [model_input(window_cfg, image)["image"] for image in frames[0][::-1]]
    made = module(torch.stack(inputs).permute(0, 2, 3, 1))
    model = load_video_model(window_cfg).eval()
    with torch.no_grad():
        whole = model.preprocess_image([{"image": image} for image in inputs])
        expected = model.backbone(whole.tensor, [3], whole.image_sizes)
    assert json.loads(about["outputs"]) == sorted(expected)
    for name, maps in zip(sorted(expected), made, strict=True):
        torch.testing.assert_close(maps, expected[name], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_first_frame_has_the_features_of_the_detector(cfg_of, frames):
    cfg, (images, _) = cfg_of(), frames
    model = load_video_model(cfg).model.eval()
    maps = [model.backbone.images_of(model, model_input(cfg, image)) for image in images]
    own = [model.backbone.backbone(each) for each in maps]
    step = StepBackbone(model.backbone).eval()
    step(maps[1])
    step.state = {name: torch.zeros_like(each) for name, each in step.state.items()}
    first, second = step(maps[0]), step(maps[1])
    assert all(torch.equal(first[name], own[0][name]) for name in first)
    assert not any(torch.equal(second[name], own[1][name]) for name in second)


def test_what_has_no_detections_gives_features(cfg_of, frames, tmp_path, capsys):
    export_detector(cfg_of("SemanticSegmentor"), frames[1], tmp_path / "detector.pt")
    out = capsys.readouterr().out
    assert "SemanticSegmentor cannot be exported whole (it finds no instances)" in out
    about = {"outputs": ""}
    torch.jit.load(str(tmp_path / "detector.pt"), _extra_files=about)
    assert {"p2", "p6", "next.p2.mean"} < set(json.loads(about["outputs"]))


def test_a_graph_that_gives_something_else_is_not_written(cfg_of, frames, tmp_path, monkeypatch):
    cfg = cfg_of("RetinaNet")
    monkeypatch.setattr(
        "videogcrf_det.export.graph.link", lambda a, b: 0 * (a * b).sum(1, keepdim=True)
    )
    with pytest.raises(InputError, match=r"is not written, because its features differ .* by"):
        export_detector(cfg, frames[1], tmp_path / "out" / "detector.pt")
    assert list((tmp_path / "out").iterdir()) == []


def test_bad_input(cfg_of, frames, tmp_path):
    folder = frames[1]

    def check(cfg, name, sentence):
        with pytest.raises(InputError, match=sentence):
            export_detector(cfg, folder, tmp_path / "out" / name)
        assert not (tmp_path / "out").exists()

    cfg = cfg_of("RetinaNet", "MODEL.RETINANET.SCORE_THRESH_TEST", "1.0")
    check(cfg, "detector.pt", r"nothing is detected on the first 3 frames.*SCORE_THRESH_TEST")
    check(cfg, "detector.zip", r"must end with \.onnx, or with \.pt .*detector\.zip")
    check(cfg_of("RetinaNet", motion="dis"), "detector.pt", "fit them without --motion")
    check(changed_cfg(cfg, "MODEL.VIDEO_GCRF.FIELDS", ""), "detector.pt", "fit, or ready-made")
    window = build_cfg(CONFIG)
    check(window, "detector.pt", "has only 3 frames, 4 are needed")
    check(changed_cfg(window, "MODEL.VIDEO_GCRF.PAIRWISE", "average"), "window.pt", "average, it")
    stock = changed_cfg(window, "MODEL.META_ARCHITECTURE", "GeneralizedRCNN")
    check(stock, "window.pt", "GeneralizedRCNN has no windows .* set it to ClipRCNN")
    check(changed_cfg(cfg, "TEST.DETECTION_WINDOW", 2), "detector.pt", r"WINDOW 2 .* set it to 1")


def test_onnx_has_no_cholesky():
    pytest.importorskip("onnx", reason=ABSENT)
    with pytest.raises(InputError, match=r"^ONNX has no Cholesky .* --fields$"):
        export_detector(build_cfg(CONFIG), "frames", "detector.onnx")
