"""Options and config keys by meta-architecture."""

import argparse

import pytest
from detectron2.config import CfgNode

from videogcrf_det import InputError
from videogcrf_det.config import keys_of
from videogcrf_det.dispatch import DETECTORS, ByArchitecture
from videogcrf_det.engine import build_cfg


@pytest.fixture
def call():
    """What a tool of two functions calls, and with what."""
    tool = ByArchitecture()

    @tool.register(DETECTORS, {"--confidence-threshold": {"type": float, "default": 0.5}})
    def detect(cfg, source, *, fps, confidence_threshold):
        return "detect", source, fps, confidence_threshold

    @tool.register("Labels", {"--maps": {"dest": "folder"}, "--opacity": {"default": 1.0}})
    def label(cfg, source, *, fps, folder, opacity):
        return "label", source, fps, folder, opacity

    def call(architecture, *words):
        parser = argparse.ArgumentParser()
        tool.add_arguments(parser)
        cfg = CfgNode({"MODEL": {"META_ARCHITECTURE": architecture}})
        return tool.of(cfg)(cfg, "a.mp4", fps=3, **tool.given(parser.parse_args(words), cfg))

    return call


def test_each_gets_its_own_options(call):
    assert call("GeneralizedRCNN") == ("detect", "a.mp4", 3, 0.5)
    assert call("RetinaNet", "--confidence-threshold", "0.1") == ("detect", "a.mp4", 3, 0.1)
    assert call("Labels", "--maps", "out") == ("label", "a.mp4", 3, "out", 1.0)


@pytest.mark.parametrize(
    ("architecture", "words", "sentence"),
    [
        ("GeneralizedRCNN", ["--maps", "out"], "--maps is for Labels, and .* GeneralizedRCNN"),
        ("Labels", ["--confidence-threshold", "0"], "--confidence-threshold is for detectors"),
    ],
)
def test_options_of_others_are_refused(call, architecture, words, sentence):
    with pytest.raises(InputError, match=sentence):
        call(architecture, *words)


def test_keys_are_those_of_the_architecture(tmp_path):
    import videogcrf_det.segmentation  # noqa: F401 - registers its keys

    (tmp_path / "base.yaml").write_text("MODEL: {META_ARCHITECTURE: VideoSegmentor}")
    (tmp_path / "own.yaml").write_text("_BASE_: base.yaml\nMODEL: {PHASE: unary}")
    own = str(tmp_path / "own.yaml")
    assert build_cfg(own).MODEL.PHASE == "unary"
    detector = ["MODEL.META_ARCHITECTURE", "ClipRCNN"]
    assert keys_of(own, detector) == keys_of("") != keys_of(own)
    with pytest.raises(InputError, match=r"own\.yaml.*MODEL\.PHASE"):
        build_cfg(own, detector)


def test_fields_are_not_for_labels(tmp_path):
    import videogcrf_det.segmentation  # noqa: F401 - registers its keys

    opts = ["MODEL.META_ARCHITECTURE", "VideoSegmentor", "MODEL.VIDEO_GCRF.FIELDS", "ready-made"]
    with pytest.raises(InputError, match="FIELDS ready-made would change nothing"):
        build_cfg("", opts)
