"""Fields fitted with labels: the losses are the detector's own, and the detector stays as it is."""

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage

from tests.conftest import CONFIG
from videogcrf_det.demo_loop import changed_cfg
from videogcrf_det.engine import VideoTrainer, build_cfg
from videogcrf_det.errors import InputError
from videogcrf_det.steady.attach import attach, detach
from videogcrf_det.steady.clips import LENGTH, collect_clips
from videogcrf_det.steady.detector import Detector
from videogcrf_det.steady.fields import SteadyFields
from videogcrf_det.steady.fit import FitOptions, Fitter
from videogcrf_det.steady.fit_video import fit_video
from videogcrf_det.steady.labels import LabelledClips, label_loss
from videogcrf_det.steady.objective import ClipReader
from videogcrf_det.video.find import find_videos


@pytest.fixture
def detector(small):
    cfg = build_cfg(CONFIG, [*small, "MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone"])
    torch.manual_seed(0)
    model = VideoTrainer.build_model(cfg).eval()
    return Detector(model, cfg, False, 48, 1333, {"config_file": "", "weights": "", "opts": []})


def test_the_losses_are_those_of_the_detectors_training(detector):
    frames, labelled = LabelledClips(detector.cfg).draw(np.random.default_rng(0))
    assert len(frames) == len(labelled) == LENGTH
    assert frames[0].shape[:2] == labelled[0]["instances"].image_size
    labelled[1]["annotated"] = False
    model = detector.model
    attach(model, SteadyFields.for_model(model))
    clip = ClipReader(detector)([frames], np.random.default_rng(0))
    torch.manual_seed(0)
    ours = label_loss(model, clip, clip.clear, labelled)
    assert not any(module.training for module in model.modules())
    detach(model).train()
    torch.manual_seed(0)
    with EventStorage():
        own = model.losses([labelled])
    assert float(ours) == pytest.approx(float(sum(own.values())), rel=1e-5)
    model.eval()
    torch.manual_seed(0)
    assert float(label_loss(model, clip, clip.seen, labelled)) != pytest.approx(float(ours))


def test_fields_alone_are_fitted(detector, mini_root, tmp_path):
    before = {name: value.clone() for name, value in detector.model.state_dict().items()}
    videos = find_videos([str(mini_root / "JPEGImages/48p/*")])
    clips = collect_clips(videos, tmp_path / "clips", detector.resize, [])
    fields = SteadyFields.for_model(detector.model)
    start = {name: value.clone() for name, value in fields.state_dict().items()}
    options = FitOptions(iterations=2, clips=1, objective="labels", motion=True)
    fitter = Fitter(
        [detector], fields, clips, tmp_path, options, labels=LabelledClips(detector.cfg)
    )
    fitted = fitter.run().state_dict()
    assert any(not torch.equal(value, start[name]) for name, value in fitted.items())
    after = detector.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in detector.model.parameters())


def test_what_has_no_labels(detector, make_model, tmp_path, mini_root, damaged):
    options = FitOptions(iterations=1, objective="labels")
    lazy = Detector(detector.model, None, False, 48, 1333, detector.source)
    with pytest.raises(InputError, match=r"needs a YAML config, which has DATASETS.TRAIN"):
        fit_video(lazy, [str(mini_root)], tmp_path / "f.pth", options)
    with pytest.raises(InputError, match="RetinaNet is no R-CNN"):
        label_loss(make_model("RetinaNet"), None, {}, [])

    def shorten(_, content):
        content["images"] = [image for image in content["images"] if image["frame_id"] < LENGTH - 1]
        kept = {image["id"] for image in content["images"]}
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]

    with pytest.raises(InputError, match="has no 5 frames in a row"):
        LabelledClips(changed_cfg(detector.cfg, "DATASETS.TRAIN", (damaged(shorten),)))
