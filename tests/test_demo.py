import itertools
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import weakref
from fractions import Fraction

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from tests.conftest import CONFIG, SMALL, posix_only
from tests.modeling.conftest import BASELINE
from tests.support.models import couple_for_real
from tests.support.squares import BLUE, RED, SquareDetector, squares
from tests.support.video_files import cut, decode, number_of, picture, write_video
from videogcrf_det import InputError, demo, demo_loop
from videogcrf_det.demo_loop import changed_cfg, predict_in_step, run_demo
from videogcrf_det.drawing.colours import palette_colour
from videogcrf_det.engine import build_cfg
from videogcrf_det.predictor import Prediction, VideoPredictor
from videogcrf_det.video import Frame, InputVideo, open_video


@pytest.fixture
def cfg():
    return build_cfg(CONFIG, [*SMALL, "MODEL.ROI_HEADS.NUM_CLASSES", "2"])


@pytest.fixture
def fake(monkeypatch):
    """Detect squares."""
    monkeypatch.setattr(demo, "VideoPredictor", SquareDetector)


@pytest.fixture
def folder(tmp_path):
    """A folder with ten pictures of two squares."""
    path = tmp_path / "frames"
    path.mkdir()
    for number in range(10):
        Image.fromarray(squares(number)).save(path / f"{number}.png")
    return path


@pytest.fixture
def weights(small, tmp_path):
    """Weights of a small detector whose random field changes its features."""
    torch.manual_seed(0)
    model = couple_for_real(build_model(build_cfg(CONFIG, small)))
    torch.save({"model": model.state_dict()}, tmp_path / "weights.pth")
    return str(tmp_path / "weights.pth")


def colour_at(image, region, original):
    """The palette index whose colour a region was tinted with."""
    colours = np.array([palette_colour(index) for index in range(10)])
    tinted = np.array(original) * 0.55 + colours * 0.45
    return int(np.abs(tinted - image[region].mean((0, 1))).sum(1).argmin())


@pytest.mark.usefixtures("fake")
def test_instances_keep_their_colours_and_frames_their_size(cfg, folder, tmp_path):
    run_demo(cfg, folder, tmp_path / "out")
    red, blue = set(), set()
    for number in range(10):
        shown = np.asarray(Image.open(tmp_path / "out" / f"{number:05d}.png"))
        assert shown.shape == (120, 160, 3)
        x = 6 * number
        red.add(colour_at(shown, np.s_[40:55, x + 5 : x + 25], RED))
        blue.add(colour_at(shown, np.s_[95:110, 135 - x : 155 - x], BLUE))
        assert (shown[:8] == 100).all()
    assert len(red) == len(blue) == 1
    assert red != blue


@pytest.mark.usefixtures("fake")
def test_json_holds_coco_results(cfg, folder, tmp_path):
    run_demo(cfg, folder, tmp_path / "out.mp4", json_file=tmp_path / "out.json", fps=5)
    results = json.loads((tmp_path / "out.json").read_text())
    assert len(results) == 20
    tracks = {"class 1": set(), "class 2": set()}
    for index, result in enumerate(results):
        number = index // 2
        assert result["frame_id"] == result["image_id"] == number
        assert result["timestamp"] == number / 5
        red = result["category"] == "class 2"
        assert result["category_id"] == 1 + red
        assert result["score"] == pytest.approx(0.9 if red else 0.7)
        x = 6 * number if red else 130 - 6 * number
        assert result["bbox"] == [x, 30 if red else 85, 30, 30]
        expected = (squares(number) == (RED if red else BLUE)).all(2)
        np.testing.assert_array_equal(coco_mask.decode(result["segmentation"]), expected)
        tracks[result["category"]].add(result["track_id"])
    assert sorted(tracks.values()) in ([{1}, {2}], [{2}, {1}])

    truth = COCO()
    truth.dataset = {
        "images": [{"id": number, "height": 120, "width": 160} for number in range(10)],
        "categories": [{"id": 1, "name": "blue"}, {"id": 2, "name": "red"}],
        "annotations": [],
    }
    truth.createIndex()
    assert len(truth.loadRes(str(tmp_path / "out.json")).anns) == 20


def test_gaps_are_filled_in_and_marked(cfg, folder, tmp_path, monkeypatch):
    detect = SquareDetector.__call__

    def blink(self, frames):
        for number, (frame, found) in enumerate(detect(self, frames)):
            yield Prediction(frame, found[found.pred_classes == 0] if number in (4, 5) else found)

    monkeypatch.setattr(demo, "VideoPredictor", lambda cfg, **_: SquareDetector(cfg))
    monkeypatch.setattr(SquareDetector, "__call__", blink)
    drawn = {}
    for longest_gap in (0, 1, 2):
        options = {"json_file": tmp_path / "out.json", "longest_gap": longest_gap}
        run_demo(cfg, folder, tmp_path / str(longest_gap), **options)
        results = json.loads((tmp_path / "out.json").read_text())
        assert len(results) == (20 if longest_gap == 2 else 18)
        filled = [result for result in results if result.get("filled")]
        assert all(("filled" in result) == (longest_gap > 0) for result in results)
        drawn[longest_gap] = np.asarray(Image.open(tmp_path / str(longest_gap) / "00004.png"))
    assert [(result["frame_id"], result["category"]) for result in filled] == [
        (4, "class 2"),
        (5, "class 2"),
    ]
    for result in filled:
        expected = (squares(result["frame_id"]) == RED).all(2)
        found = coco_mask.decode(result["segmentation"])
        assert (found & expected).sum() > 0.8 * (found | expected).sum()
    assert len({result["track_id"] for result in results}) == 2
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()


@pytest.mark.usefixtures("fake")
def test_class_names_and_ids(cfg, folder, tmp_path, monkeypatch):
    labels = []
    draw_instances = demo.draw_instances

    def spy(*args, **options):
        labels.append(options["labels"])
        return draw_instances(*args, **options)

    monkeypatch.setattr(demo, "draw_instances", spy)

    def drawn(cfg, **options):
        labels.clear()
        json_file = tmp_path / "out.json"
        run_demo(cfg, folder, tmp_path / "a.mp4", json_file=json_file, max_frames=2, **options)
        found = json.loads(json_file.read_text())
        return labels[0], {(result["category_id"], result["category"]) for result in found}

    assert drawn(cfg)[0] == ["class 2 90%", "class 1 70%"]
    name = "test_two_classes"
    named = changed_cfg(cfg, "DATASETS.TEST", (name,))
    MetadataCatalog.get(name).thing_classes = ["bike", "person"]
    assert drawn(named) == (["person 90%", "bike 70%"], {(1, "bike"), (2, "person")})
    assert drawn(named, confidence_threshold=0.8) == (["person 90%"], {(2, "person")})
    MetadataCatalog.get(name).thing_dataset_id_to_contiguous_id = {7: 1, 9: 0}
    assert drawn(named)[1] == {(9, "bike"), (7, "person")}
    MetadataCatalog.remove(name)

    # the detector of a single class, of which the stand-in knows nothing
    monkeypatch.setattr(demo, "categories_of", lambda cfg: [(1, "person")])
    monkeypatch.setattr(SquareDetector, "__call__", lambda self, frames: found_one(frames))
    assert drawn(cfg)[0] == ["75%"]


def found_one(frames):
    for frame in frames:
        found = Instances(frame.shape[:2])
        found.pred_masks = torch.ones(1, *frame.shape[:2], dtype=torch.bool)
        found.pred_boxes, found.scores = Boxes([[0, 0, 9, 9]]), torch.tensor([0.75])
        found.pred_classes = torch.tensor([0])
        found.track_ids = torch.tensor([1])
        yield Prediction(frame, found)


@pytest.mark.usefixtures("fake")
def test_rate_times_and_size_are_the_input_s(cfg, tmp_path):
    rate = Fraction(30000, 1001)
    even = write_video(tmp_path / "even.mp4", num_frames=5, rate=rate, rotation=90)
    run_demo(cfg, even, tmp_path / "out.mp4")
    shown_rate, frames = decode(tmp_path / "out.mp4")
    assert shown_rate == rate
    assert [image.shape for image, _ in frames] == [(64, 48, 3)] * 5

    due = [0, 40, 80, 180, 200, 500]
    uneven = write_video(tmp_path / "uneven.webm", "libvpx", num_frames=6, times=due)
    run_demo(cfg, uneven, tmp_path / "out.mp4", json_file=tmp_path / "out.json")
    assert [round(1000 * time) for _, time in decode(tmp_path / "out.mp4")[1]] == due
    results = json.loads((tmp_path / "out.json").read_text())
    assert {result["timestamp"] for result in results} == {time / 1000 for time in due}


@pytest.mark.usefixtures("fake")
def test_what_there_is_of_a_cut_video_is_written(cfg, tmp_path):
    short = cut(write_video(tmp_path / "a.avi", "mjpeg", num_frames=50))
    output, json_file = tmp_path / "out.mp4", tmp_path / "out.json"
    with pytest.raises(InputError, match=r"only \d+ of 50 .* copy it again \(.*out\.mp4 shows"):
        run_demo(cfg, short, output, json_file=json_file, confidence_threshold=0.8)
    numbers = [number_of(image) for image, _ in decode(output)[1]]
    assert 20 < len(numbers) < 35
    np.testing.assert_allclose(numbers, range(len(numbers)), atol=2)
    frames = {result["frame_id"] for result in json.loads(json_file.read_text())}
    assert frames == set(range(len(numbers)))
    run_demo(cfg, short, output, max_frames=3)  # which is not cut off
    assert len(decode(output)[1]) == 3


@pytest.mark.usefixtures("fake")
def test_nothing_is_half_written(cfg, folder, tmp_path, monkeypatch):
    def fail(self, frames):
        yield from itertools.islice(detect(self, frames), 3)
        raise RuntimeError("no memory")

    detect = SquareDetector.__call__
    monkeypatch.setattr(SquareDetector, "__call__", fail)
    output = tmp_path / "results"
    for name in ("out.mp4", "out"):
        with pytest.raises(RuntimeError, match="no memory"):
            run_demo(cfg, folder, output / name, json_file=output / "out.json")
        assert list(output.iterdir()) == []


@pytest.mark.usefixtures("fake")
def test_a_video_without_a_frame(cfg, folder, tmp_path):
    output = tmp_path / "results"
    data = (folder / "0.png").read_bytes()
    (folder / "0.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"only 0 of 10 frames .* 0\.png is damaged"):
        run_demo(cfg, folder, output / "out.mp4", json_file=output / "out.json")
    assert list(output.iterdir()) == []


@pytest.fixture
def interrupted(monkeypatch):
    """Press Ctrl-C while the frames of these numbers are read."""

    def press(*numbers):
        def images():
            for number in range(100):
                if number in numbers:
                    signal.raise_signal(signal.SIGINT)
                yield picture(number % 60), None

        video = InputVideo("endless", Fraction(10), None, images())
        monkeypatch.setattr(demo_loop, "open_video", lambda *_: video)

    return press


@pytest.mark.usefixtures("fake")
def test_an_interrupt_keeps_what_there_is(cfg, tmp_path, interrupted, capsys):
    interrupted(5)
    usual = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_demo(
            *[cfg, "0", tmp_path / "out.mp4"],
            json_file=tmp_path / "out.json",
            confidence_threshold=0.8,  # with fewer labels, the numbers can be seen
        )
    assert signal.getsignal(signal.SIGINT) == usual
    numbers = [number_of(image) for image, _ in decode(tmp_path / "out.mp4")[1]]
    np.testing.assert_allclose(numbers, range(6), atol=2)
    results = json.loads((tmp_path / "out.json").read_text())
    assert max(result["frame_id"] for result in results) <= 5
    out, err = capsys.readouterr()
    assert "wrote 6 frames" in out
    assert "stopping after this frame; Ctrl-C again" in err


@pytest.mark.usefixtures("fake")
def test_a_second_interrupt_keeps_nothing(cfg, tmp_path, interrupted, monkeypatch):
    interrupted(5)
    draw = demo._Drawing.draw

    def press_again(self, *args):
        if number_of(args[0]) == 5:
            signal.raise_signal(signal.SIGINT)
        return draw(self, *args)

    monkeypatch.setattr(demo._Drawing, "draw", press_again)
    with pytest.raises(KeyboardInterrupt):
        run_demo(cfg, "0", tmp_path / "out.mp4", json_file=tmp_path / "out.json")
    assert list(tmp_path.glob("out*")) == []


# ---- with a detector -----------------------------------------------------------------------------


def test_the_baseline_is_the_same_detector_without_the_random_field(small, weights):
    cfg = build_cfg(CONFIG, [*small, "MODEL.WEIGHTS", weights])
    baseline = demo.baseline_cfg(cfg)
    stock = build_cfg(CONFIG, [*small, *BASELINE, "MODEL.WEIGHTS", weights])
    assert baseline == stock
    frames = [picture(number) for number in range(3)]
    coupled, alone = ([*VideoPredictor(each)(frames)] for each in (cfg, baseline))
    assert coupled[0].instances.scores.tolist() != alone[0].instances.scores.tolist()
    assert demo.baseline_cfg(cfg, "other.pth").MODEL.WEIGHTS == "other.pth"
    with pytest.raises(InputError, match="build_resnet_fpn_backbone: leave it out"):
        demo.baseline_cfg(stock)


def test_comparison(small, weights, tmp_path, monkeypatch):
    video = write_video(tmp_path / "a.mp4", num_frames=3)
    cfg = build_cfg(CONFIG, [*small, "MODEL.WEIGHTS", weights])
    panels = []
    side_by_side = demo.side_by_side
    monkeypatch.setattr(demo, "side_by_side", lambda p: panels.append(p) or side_by_side(p))
    texts = []
    for options in ({}, {"baseline": ""}, {"baseline": weights}):
        json_file = tmp_path / "out.json"
        run_demo(
            *[cfg, video, tmp_path / "out.mp4"],
            json_file=json_file,
            confidence_threshold=0.3,
            **options,
        )
        texts.append(json_file.read_text())
    assert json.loads(texts[0])
    assert texts[0] == texts[1] == texts[2]  # it is the VideoGCRF's, whatever is beside it
    captions = [[caption for caption, _ in row] for row in panels]
    assert captions[0] == ["Same weights, uncoupled", "VideoGCRF, 2 frames"]
    assert captions[3] == ["Per-frame detector", "VideoGCRF, 2 frames"]
    for (_, left), (_, right) in panels:
        assert left.shape == right.shape
        assert (left != right).any()
    assert decode(tmp_path / "out.mp4")[1][0][0].shape[1] >= 2 * panels[0][0][1].shape[1]


@pytest.mark.usefixtures("fake")
def test_what_both_have_found_has_one_colour(cfg, folder, tmp_path, monkeypatch):
    class Swapped(SquareDetector):
        def __call__(self, frames):
            for frame, found in super().__call__(frames):
                yield Prediction(frame, found[[1, 0]])

    def predictor(cfg):
        coupled = cfg.MODEL.BACKBONE.NAME == "build_video_gcrf_backbone"
        return (SquareDetector if coupled else Swapped)(cfg)

    monkeypatch.setattr(demo, "VideoPredictor", predictor)
    seen = []
    draw_instances = demo.draw_instances

    def spy(image, masks, colours, **options):
        seen.append({int(m.argmax()): colour for m, colour in zip(masks, colours, strict=True)})
        return draw_instances(image, masks, colours, **options)

    monkeypatch.setattr(demo, "draw_instances", spy)
    run_demo(cfg, folder, tmp_path / "out.mp4", baseline="")
    assert len(seen) == 20
    assert seen[::2] == seen[1::2]


def test_two_detectors_keep_few_frames(small, weights):
    num_frames = 3
    opts = ["INPUT.CLIP.NUM_FRAMES", str(num_frames), "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "1.0"]
    cfg = build_cfg(CONFIG, [*small, *opts, "MODEL.WEIGHTS", weights])
    predictors = [VideoPredictor(each) for each in (cfg, demo.baseline_cfg(cfg))]
    alive = set()

    def frames():
        for number in range(20):
            image = picture(number)
            alive.add(number)
            weakref.finalize(image, alive.discard, number)
            yield Frame(image, Fraction(number))
            del image

    for number, (frame, found) in enumerate(predict_in_step(frames(), predictors)):
        assert frame.time == number
        assert len(found) == 2
        assert len(alive) <= num_frames + 1
    assert number == 19


# ---- the tool ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"confidence_threshold": 1.5}, "--confidence-threshold must be .* got 1.5"),
        ({"max_frames": 0}, "--max-frames must be at least 1, got 0"),
        ({"longest_gap": -1}, "--fill-gaps must be at least 0, got -1"),
        ({"output": "out.avi"}, r"--output must be an \.mp4 file or a folder, got .*out\.avi"),
        ({"output": "frames"}, "frames is the input"),
        ({"output": "folder.mp4"}, r"--output .*folder\.mp4 is a folder"),
        ({"output": "full"}, "full is there already"),
        ({"json_file": "full"}, "--json .*full is a folder"),
        ({"source": "gone.mp4"}, r"gone\.mp4 is no file"),
        ({"baseline": ""}, "--compare-baseline needs --fields or a config with a VideoGCRF"),
    ],
)
@pytest.mark.usefixtures("fake")
def test_bad_options(cfg, folder, tmp_path, options, sentence):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "full" / "empty").mkdir(parents=True)
    paths = {"source": "frames", "output": "out.mp4"} | options
    for name in ("source", "output", "json_file"):
        if name in paths:
            paths[name] = tmp_path / paths[name]
    before = set(tmp_path.rglob("*"))
    if "baseline" in options:
        cfg = changed_cfg(cfg, *BASELINE)
    with pytest.raises(InputError, match=sentence):
        run_demo(cfg, **paths)
    assert set(tmp_path.rglob("*")) == before


def test_masks_are_needed(cfg, folder, tmp_path):
    with pytest.raises(InputError, match=r"MODEL\.MASK_ON is False"):
        run_demo(changed_cfg(cfg, "MODEL.MASK_ON", False), folder, tmp_path / "out.mp4")


def words(small, weights, source, output, *options):
    flags = ["--config-file", CONFIG, "--input", source, "--output", output, *options]
    return list(map(str, ["tools/demo.py", *flags, "--opts", *small, "MODEL.WEIGHTS", weights]))


def test_the_tool(small, weights, tmp_path, monkeypatch, capfd):
    """From a whole video and from one that was cut off, with the exit codes."""
    whole = write_video(tmp_path / "a.mp4", num_frames=12, front=True)
    for source, code in ((whole, 0), (cut(whole), 2)):
        output, json_file = tmp_path / f"{code}.mp4", tmp_path / f"{code}.json"
        options = ["--json", json_file, "--confidence-threshold", 0.1]
        monkeypatch.setattr(sys, "argv", words(small, weights, source, output, *options))
        ended = 0
        try:
            runpy.run_path("tools/demo.py", run_name="__main__")
        except SystemExit as end:
            ended = end.code
        assert ended == code
        out, err = capfd.readouterr()
        shown = len(decode(output)[1])
        assert f"wrote {shown} frames to {output}, {json_file}" in out
        assert "frames/s" in err
        own = f"{source.name}: ", "error: "  # nothing that other libraries say
        assert all(line.startswith(own) for line in err.splitlines()), err
        assert [line[:11] for line in err.splitlines() if "error: " in line] == (
            ["error: only"] if code else []
        )
        assert {r["frame_id"] for r in json.loads(json_file.read_text())} == set(range(shown))
    assert shown < 12
    assert len(list(open_video(tmp_path / "0.mp4"))) == 12


@posix_only
@pytest.mark.slow
def test_ctrl_c_leaves_a_video_that_plays(small, weights, tmp_path):
    small = [word.replace("test_mini_", "mini_davis_person_") for word in small]
    frames = tmp_path / "frames"
    frames.mkdir()
    Image.fromarray(picture(0)).save(tmp_path / "frame.png")
    for number in range(2000):
        (frames / f"{number}.png").symlink_to(tmp_path / "frame.png")
    output, json_file = tmp_path / "out.mp4", tmp_path / "out.json"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, *words(small, weights, frames, output, "--json", json_file)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    err = ""
    while not re.search(r"\b[1-9]\d*/2000", err):
        err += process.stderr.read(1)
        assert process.poll() is None, err
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130, err + rest
    assert "interrupted" in rest
    assert "Traceback" not in rest
    shown = list(open_video(output))
    assert 1 <= len(shown) < 2000
    results = json.loads(json_file.read_text())
    assert {result["frame_id"] for result in results} <= set(range(len(shown)))
