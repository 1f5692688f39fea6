"""Fitting fields to raw videos: what it restores, what it is asked, how it goes on."""

import json

import cv2
import numpy as np
import pytest
import torch

from tests.conftest import CONFIG
from tests.support.pictures import scene
from videogcrf_det.errors import InputError
from videogcrf_det.gcrf.chain_field import ChainField
from videogcrf_det.steady import spoil
from videogcrf_det.steady.clips import LENGTH, collect_clips, read_clip
from videogcrf_det.steady.detector import Detector, demo_cfg, find_config, load_detector
from videogcrf_det.steady.fields import SteadyFields
from videogcrf_det.steady.fit import FitOptions, Fitter
from videogcrf_det.steady.fit_video import fit_video
from videogcrf_det.steady.spoil import KINDS, compress, shake, spoil_clip
from videogcrf_det.steady.stream import FieldStream
from videogcrf_det.video import VideoWriter
from videogcrf_det.video.codec import H264
from videogcrf_det.video.find import find_videos


@pytest.fixture
def footage(tmp_path):
    """Folders of frames of still scenes, as a fixed camera sees them."""
    for video in range(4):
        folder = tmp_path / "footage" / f"video{video}"
        folder.mkdir(parents=True)
        for index in range(2 * LENGTH):
            cv2.imwrite(str(folder / f"{index:05d}.png"), scene(seed=video))
    return tmp_path / "footage"


@pytest.fixture
def detector(make_model):
    return Detector(make_model(), None, False, 0, 0, {"config_file": "", "weights": "", "opts": []})


def fitter_of(detector, clips, folder, iterations, refine=0):
    torch.manual_seed(0)
    fields = SteadyFields.for_model(detector.model, refine=refine)
    options = FitOptions(iterations=iterations, refine=bool(refine))
    return Fitter([detector], fields, clips, folder, options)


def test_restores_what_is_spoilt_and_leaves_the_rest(footage, detector, tmp_path):
    own = {name: value.clone() for name, value in detector.model.state_dict().items()}
    clips = collect_clips(find_videos([str(footage)]), tmp_path / "clips", detector.resize, [])
    fitter = fitter_of(detector, clips, tmp_path, 120)
    before = fitter.restored()
    fitter.run()
    after = fitter.restored()
    for name in ("p2", "p3", "p4", "p5"):  # p6 has few cells of such small frames
        assert after.smoothed[name] < 0.5 * after.spoilt[name]  # still scenes: most is there
        assert after.smoothed[name] < before.smoothed[name]
        assert after.clear[name] < 0.05
    assert own.keys() == detector.model.state_dict().keys()
    assert all(torch.equal(v, detector.model.state_dict()[k]) for k, v in own.items())


def test_refinements_restore_what_no_neighbour_shows(footage, detector, tmp_path, monkeypatch):
    """Of clips that are dim in all frames; and they go where the file of fields goes."""

    def dim(frames, _):
        return [np.uint8(frame // 4 + 20) for frame in frames]

    monkeypatch.setattr("videogcrf_det.steady.spoil.KINDS", (dim,))
    clips = collect_clips(find_videos([str(footage)]), tmp_path / "clips", detector.resize, [])
    fitter = fitter_of(detector, clips, tmp_path, 16, refine=32)
    fields = fitter.run()
    before, after = fitter.restored().throughout
    assert after["p2"] < 0.85 * before["p2"]  # 1 without: still scenes, dim in all frames
    fields.save(tmp_path / "fields.pth")
    again = SteadyFields.load(tmp_path / "fields.pth")
    assert again["p2"].refinement is not None
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in fields.state_dict().items())


def test_refinements_start_at_nothing_and_spare_what_is_trusted():
    field = ChainField(6, refine=4)
    features = torch.randn(2, 6, 5, 7)
    assert not field.refinement(features, torch.ones(2, 1, 5, 7)).any()
    plain = SteadyFields({"p2": 6}).describe({"p2": features}, torch.zeros(2, 3, 20, 28))
    assert plain["p2"].change is None
    torch.nn.init.normal_(field.refinement.layers[-1].weight)
    low, high = (field.refinement(features, torch.full((2, 1, 5, 7), c)) for c in (0.02, 50.0))
    assert torch.allclose(low * 1.02, high * 51, rtol=1e-4, atol=1e-5)
    scaled = field.refinement(10 * features, torch.full((2, 1, 5, 7), 0.02))
    assert torch.allclose(scaled, 10 * low, rtol=1e-3, atol=1e-3), "in units of the features"
    fields = SteadyFields({"p2": 6}, refine=4)
    torch.nn.init.normal_(fields["p2"].refinement.layers[-1].weight)
    row = {"p2": features[:1]}
    for strength in (0.0, 1.0):
        described = fields.describe(row, torch.zeros(1, 3, 20, 28))
        (result,) = FieldStream(0, strength).push(row, described)
        assert torch.equal(result["p2"], features[:1]) == (strength == 0)


def test_an_interrupted_fit_ends_as_if_it_had_not_been(footage, detector, tmp_path, monkeypatch):
    clips = collect_clips(find_videos([str(footage)]), tmp_path / "clips", detector.resize, [])

    def fitter(name):
        (tmp_path / name).mkdir(exist_ok=True)
        return fitter_of(detector, clips, tmp_path / name, 4)

    whole = fitter("whole").run().state_dict()
    first = fitter("parts")
    step, calls = first._step, []

    def interrupted(reader):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return step(reader)

    monkeypatch.setattr(first, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    second = fitter("parts")
    second.resume()
    assert second.done == 2
    parts = second.run().state_dict()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())  # same machine
    other = fitter_of(detector, clips, tmp_path / "parts", 5)
    with pytest.raises(InputError, match="was begun with"):
        other.resume()


def test_clips_do_not_span_cuts_and_are_used_again(tmp_path):
    folder = tmp_path / "cut"
    folder.mkdir()
    for index in range(14):  # 7 frames, a cut, 7 frames: one clip of each shot
        shade = np.uint8([40, 200][index // 7] + scene() / 16)
        cv2.imwrite(str(folder / f"{index:05d}.png"), shade)
    clips = collect_clips([folder], tmp_path / "clips", lambda image: image, [])
    assert len(clips.train) == len(clips.held_out) == 1
    means = [
        np.mean(frame) for path in (*clips.train, *clips.held_out) for frame in read_clip(path)
    ]
    assert np.ptp(means[:LENGTH]) < 5
    assert np.ptp(means[LENGTH:]) < 5
    assert abs(means[0] - means[-1]) > 100
    stamp = (clips.train[0] / "0.jpg").stat().st_mtime_ns
    again = collect_clips([folder], tmp_path / "clips", lambda image: image, [])
    assert again == clips
    assert (clips.train[0] / "0.jpg").stat().st_mtime_ns == stamp


def test_spoilt_frames_are_in_a_row_and_never_all():
    frames, seen = [scene()] * LENGTH, set()
    for seed in range(60):
        spoilt = spoil_clip(frames, np.random.default_rng(seed))
        assert sorted(spoilt) == list(range(min(spoilt), min(spoilt) + len(spoilt)))
        assert 1 <= len(spoilt) <= 3
        seen.add(len(spoilt))
        assert all(not np.array_equal(image, frames[0]) for image in spoilt.values())
    assert seen == {1, 2, 3}
    every = spoil_clip(frames, np.random.default_rng(0), throughout=True)
    assert sorted(every) == list(range(LENGTH))


@pytest.mark.parametrize("size", [(64, 96), (63, 97)])
def test_kinds_of_spoiling_keep_size_and_type(size, monkeypatch):
    frames = [scene(*size)] * 2
    for kind in KINDS:
        for image in kind(frames, np.random.default_rng(0)):
            assert image.shape == (*size, 3)
            assert image.dtype == np.uint8
    clear = frames[0].astype(float)
    shaken = shake(frames[0], np.random.default_rng(0))
    assert cv2.Laplacian(shaken, cv2.CV_32F).var() < cv2.Laplacian(frames[0], cv2.CV_32F).var()
    for encoder in (H264, "none such"):  # then another one
        monkeypatch.setattr(spoil, "H264", encoder)
        for image in compress(frames, np.random.default_rng(0)):
            assert 2 < np.abs(image - clear).mean() < 30  # coarse, and still the same picture


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nowhere/*.mp4"], "no video and no folder of frames at nowhere"),
        (["{empty}"], "no video and no folder of frames"),
    ],
)
def test_videos_that_are_not_there(names, message, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        find_videos([name.format(empty=tmp_path / "empty") for name in names])


def test_videos_that_are_too_short(tmp_path, detector):
    folder = tmp_path / "short"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), scene())
    with pytest.raises(InputError, match="0 clips of 5 successive frames"):
        fit_video(detector, [str(folder)], tmp_path / "f.pth", FitOptions(iterations=1))
    assert not (tmp_path / "f.pth").exists()


@pytest.mark.parametrize(
    "options", [{}, {"iterations": 0}, {"minutes": -1.0}, {"iterations": 3, "minutes": 1.0}]
)
def test_budgets_that_are_none(options):
    with pytest.raises(InputError, match="give one of them"):
        FitOptions(**options)


def test_configs_that_are_not_there():
    with pytest.raises(InputError, match="no config nothing"):
        load_detector("nothing.yaml")
    with pytest.raises(InputError, match="give --config-file"):
        demo_cfg(None, None)
    with pytest.raises(InputError, match="are for fields"):
        demo_cfg(CONFIG, None, latency=1)


@pytest.mark.slow
def test_the_tools_from_footage_to_a_steady_video(footage, small, start, tmp_path, make_cfg_model):
    """The README's two lines, on a detector with random weights."""
    weights, opts = make_cfg_model
    video = tmp_path / "new.mp4"
    with VideoWriter(video, 10) as writer:
        for index in range(6):
            writer.write(scene(), index / 10)
    fields = tmp_path / "fields.pth"
    fit = ["tools/fit_video.py", "--config-file", CONFIG, "--weights", weights, "--videos", footage]
    test = ["DATASETS.TEST", "('mini_davis_person_val',)"]
    code, out, err = start(*fit, "--iterations", 2, "--output", fields, "--evaluate", *opts, *test)
    assert code == 0, err
    inference = tmp_path / "out/inference/mini_davis_person_val"
    assert "segm" in json.loads((inference / "evaluation.json").read_text())["results"]
    assert "| p2" in out
    assert fields.is_file()
    folder = tmp_path / "fields_fit"
    assert {"clips", "restored.md", "before_and_after.png", "fit.pth"} <= {
        path.name for path in folder.iterdir()
    }
    demo = ["tools/demo.py", "--fields", fields, "--input", video, "--output", tmp_path / "o.mp4"]
    code, _, err = start(*demo, "--compare-baseline", "--latency", 2, "--json", tmp_path / "o.json")
    assert code == 0, err
    assert (tmp_path / "o.mp4").stat().st_size
    assert isinstance(json.loads((tmp_path / "o.json").read_text()), list)
    code, _, err = start(*demo[:-1], tmp_path / "p.mp4", "--opts", "MODEL.FPN.OUT_CHANNELS", 32)
    assert code == 2
    assert "Traceback" not in err


def test_an_output_that_is_a_folder(footage, detector, tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        fit_video(detector, [str(footage)], tmp_path, FitOptions(iterations=1))
    (tmp_path / "f_fit").mkdir()
    (tmp_path / "f_fit/thesis.txt").write_text("not ours")
    with pytest.raises(InputError, match="of something else"):
        fit_video(detector, [str(footage)], tmp_path / "f.pth", FitOptions(iterations=1))
    assert (tmp_path / "f_fit/thesis.txt").read_text() == "not ours"


def test_a_moving_average_is_one(detector):
    """At latency 0 a constant change reaches its share at once, and the rest step by step."""
    fields = SteadyFields.moving_average(detector.model, 0.5)
    stream = FieldStream(0)
    maps = {name: torch.zeros(1, fields.channels[name], 2, 2) for name in fields}
    described = fields.describe(maps, torch.zeros(1, 3, 8, 8))
    for _ in range(20):
        list(stream.push(maps, described))
    ones = {name: torch.ones_like(value) for name, value in maps.items()}
    steps = [float(next(stream.push(ones, described))["p2"].mean()) for _ in range(3)]
    assert steps == pytest.approx([0.5, 0.75, 0.875], abs=1e-3)
    with pytest.raises(InputError, match="between 0 and 1"):
        SteadyFields.moving_average(detector.model, 1.0)


@pytest.fixture
def make_cfg_model(small, tmp_path):
    """Weights of a per-frame detector of CONFIG, and the options that it takes."""
    from detectron2.modeling import build_model

    from videogcrf_det.engine import build_cfg

    opts = [*small, "MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone"]
    opts += ["MODEL.META_ARCHITECTURE", "GeneralizedRCNN", "INPUT.MIN_SIZE_TEST", "64"]
    opts += ["DATASETS.TRAIN", "()", "DATASETS.TEST", "()"]
    torch.manual_seed(0)
    path = tmp_path / "detector.pth"
    torch.save({"model": build_model(build_cfg(CONFIG, opts)).state_dict()}, path)
    return path, opts


def test_lazy_configs_and_names_of_the_model_zoo(tmp_path):
    """A LazyConfig by its name in the zoo; sizes of test images are those of its loader."""
    from detectron2.config import LazyConfig, instantiate

    name = "COCO-Detection/fcos_R_50_FPN_1x.py"
    model = instantiate(LazyConfig.load(find_config(name)).model)
    torch.save({"model": model.state_dict()}, tmp_path / "w.pth")
    found = load_detector(name, str(tmp_path / "w.pth"))
    assert type(found.model).__name__ == "FCOS"
    assert (found.min_size, found.max_size, found.cfg) == (800, 1333, None)
    assert found.resize(scene(60, 90)).shape == (800, 1200, 3)
    assert list(SteadyFields.for_model(found.model)) == ["p3", "p4", "p5", "p6", "p7"]
    with pytest.raises(InputError, match="cannot be used"):
        load_detector(name, str(tmp_path / "w.pth"), ["model.no_such_part=3"])
    assert find_config("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml").endswith(".yaml")


def test_fields_travel_with_the_name_of_their_detector(tmp_path, make_model):
    fields = SteadyFields.for_model(make_model())
    fields.source = {"config_file": CONFIG, "weights": "w.pth", "opts": ["SEED", "3"]}
    fields.motion = "dis"
    fields.save(tmp_path / "f.pth")
    assert SteadyFields.load(tmp_path / "f.pth").motion == "dis"
    cfg = demo_cfg(None, str(tmp_path / "f.pth"), ["SEED", "4"], latency=3, strength=0.5, batch=2)
    assert (cfg.MODEL.WEIGHTS, cfg.SEED, cfg.TEST.LATENCY) == ("w.pth", 4, 3)
    assert (cfg.MODEL.VIDEO_GCRF.STRENGTH, cfg.TEST.FRAMES_PER_BATCH) == (0.5, 2)
    assert str(tmp_path / "f.pth") == cfg.MODEL.VIDEO_GCRF.FIELDS
