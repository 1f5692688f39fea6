import runpy
import signal
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.tiny import (
    COLOURS,
    CONFIG,
    NAMES,
    frame_of,
    label_map,
)
from tests.support.video_files import cut, decode, number_of, picture, write_video
from videogcrf_det import InputError, demo_loop
from videogcrf_det.demo_loop import changed_cfg, run_demo
from videogcrf_det.segmentation import demo
from videogcrf_det.segmentation.demo import unary_cfg
from videogcrf_det.segmentation.drawing import Palette, draw_labels, legend, palette_for
from videogcrf_det.segmentation.predictor import Segmentation, SemanticPredictor
from videogcrf_det.video import InputVideo

PALETTE = Palette(NAMES, COLOURS)


class ByColour:
    """Stands in for SemanticPredictor: what is red is a box, what is blue a ball."""

    def __init__(self, cfg):
        self.phase = cfg.MODEL.PHASE

    def __call__(self, frames):
        for frame in frames:
            blue, _, red = frame.astype(int).transpose(2, 0, 1)
            labels = np.where(red - blue > 80, 1, np.where(blue - red > 80, 2, 0))
            yield Segmentation(frame, torch.eye(3)[labels].permute(2, 0, 1))


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(demo, "SemanticPredictor", ByColour)


def open_picture(path):
    return np.asarray(Image.open(path)).astype(int)


# ---- drawing -------------------------------------------------------------------------------------


def test_labels_tint_a_frame_and_void_does_not():
    image = np.full((480, 640, 3), 100, np.uint8)
    labels = label_map(2).repeat(10, 0).repeat(10, 1)
    shown = draw_labels(image, labels, PALETTE, opacity=0.5, own_size=True)
    assert shown.shape == image.shape
    assert (image == 100).all()
    for label, at in [(1, (280, 160)), (2, (380, 500)), (255, (30, 300))]:
        assert labels[at] == label
        expected = 100 if label == 255 else 0.5 * 100 + 0.5 * np.array(COLOURS[label])
        np.testing.assert_allclose(shown[at], np.broadcast_to(expected, 3), atol=1)
    assert shown[280, 235:245].min() < shown[280, 160].min() - 20  # a line round the box
    floor = shown[450, 20]
    assert (floor < 100).all()
    assert (floor > 50).all()  # black does not hide the picture
    assert (draw_labels(image, labels, PALETTE, opacity=0, own_size=True) == 100).all()
    small = draw_labels(image[:48, :64], label_map(2), PALETTE)
    assert small.shape == (336, 448, 3)
    np.testing.assert_array_equal(small[28 * 7 + 3, 16 * 7 + 3], [160, 112, 64])


@pytest.mark.parametrize("width", [110, 225, 480, 984, 1280])
@pytest.mark.parametrize("count", [2, 11])
@pytest.mark.parametrize("unit", [1.0, 1.5])
def test_all_names_of_a_legend_can_be_read(width, count, unit):
    colours = [(250 - 20 * i, 20 * i, 100 + 10 * i) for i in range(count)]
    palette = Palette([f"pedestrian{i:02d}"[-10:] for i in range(count)], colours)
    sheet = legend(palette, width, unit)
    assert sheet.shape[1] == width
    assert sheet.shape[0] <= 26 * unit * count + 10
    if width >= 984:
        assert sheet.shape[0] <= 60 * unit**2
    swatches = [np.argwhere((sheet == colour).all(2)) for colour in colours]
    areas = [len(swatch) for swatch in swatches]
    assert min(areas) > 60 * unit**2
    if width > 200:
        assert (sheet[:, -2:] == sheet[0, 0]).all()  # no name is cut off
    # each has a name of its own beside it, before the next swatch
    for swatch in swatches:
        (top, _), (bottom, right) = swatch.min(0), swatch.max(0)
        beside = sheet[top : bottom + 1, right + 3 : right + 3 + round(60 * unit)]
        assert (beside.min(2) > 200).sum() > 60


def test_names_and_colours_are_the_data_set_s(make_cfg):
    assert palette_for(make_cfg()) == PALETTE
    other = palette_for(make_cfg("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 11))
    assert other.names[10] == "class 11"
    assert len(set(other.colours)) == 11
    assert palette_for(make_cfg("DATASETS.TEST", "()")).names == ["class 1", "class 2", "class 3"]


# ---- with a stand-in -----------------------------------------------------------------------------


@pytest.mark.usefixtures("fake")
def test_pictures_and_label_maps(make_cfg, frames_folder, tmp_path):
    output, labels = tmp_path / "out", tmp_path / "labels"
    run_demo(make_cfg(), frames_folder, output, labels=labels, opacity=0.3)
    assert sorted(path.name for path in output.iterdir()) == [f"{i:05d}.png" for i in range(8)]
    assert sorted(path.name for path in labels.iterdir()) == [f"{i:05d}.png" for i in range(8)]
    for number in range(8):
        expected = label_map(number) % 255  # the stand-in takes void for the floor
        written = Image.open(labels / f"{number:05d}.png")
        assert written.mode == "P"
        np.testing.assert_array_equal(np.asarray(written), expected)
        colours = np.asarray(written.convert("RGB"))
        np.testing.assert_array_equal(colours, np.array(COLOURS)[expected])
        shown = open_picture(output / f"{number:05d}.png")
        drawn = draw_labels(frame_of(number), expected, PALETTE, opacity=0.3)
        np.testing.assert_array_equal(shown[: len(drawn)], drawn)
        np.testing.assert_array_equal(shown[len(drawn) :], legend(PALETTE, drawn.shape[1]))


@pytest.mark.usefixtures("fake")
def test_large_frames_keep_their_size(make_cfg, tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(frame_of(0)).resize((405, 720)).save(tmp_path / "in" / "0.png")
    run_demo(make_cfg(), tmp_path / "in", tmp_path / "out")
    shown = open_picture(tmp_path / "out" / "00000.png")
    assert shown.shape[1] == 405
    assert 720 < shown.shape[0] < 800


@pytest.mark.usefixtures("fake")
def test_what_there_is_of_a_cut_video_is_written(make_cfg, tmp_path):
    short = cut(write_video(tmp_path / "a.avi", "mjpeg", num_frames=50))
    with pytest.raises(InputError, match=r"only \d+ of 50 .* copy it again \(.*out\.mp4 shows"):
        run_demo(make_cfg(), short, tmp_path / "out.mp4", labels=tmp_path / "labels")
    frames = decode(tmp_path / "out.mp4")[1]
    assert 20 < len(frames) < 35
    assert len(list((tmp_path / "labels").iterdir())) == len(frames)


@pytest.fixture
def interrupted(monkeypatch):
    """Press Ctrl-C while the frames of these numbers are read."""

    def press(*numbers):
        def images():
            for number in range(100):
                for _ in range(numbers.count(number)):
                    signal.raise_signal(signal.SIGINT)
                yield picture(number % 60), None

        video = InputVideo("endless", Fraction(10), None, images())
        monkeypatch.setattr(demo_loop, "open_video", lambda *_: video)

    return press


@pytest.mark.usefixtures("fake")
def test_interrupts(make_cfg, tmp_path, interrupted, capsys):
    interrupted(5)
    output, labels = tmp_path / "out.mp4", tmp_path / "labels"
    with pytest.raises(KeyboardInterrupt):
        run_demo(make_cfg(), "0", output, labels=labels)
    assert len(decode(output)[1]) == len(list(labels.iterdir())) == 6
    assert f"wrote 6 frames to {output}, {labels}" in capsys.readouterr().out

    interrupted(3, 3)  # twice: nothing is kept
    with pytest.raises(KeyboardInterrupt):
        run_demo(make_cfg(), "0", tmp_path / "twice", labels=tmp_path / "twice_labels")
    assert not list(tmp_path.glob("*twice*"))


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"opacity": 1.5}, "--opacity must be from 0 to 1, got 1.5"),
        ({"max_frames": 0}, "--max-frames must be at least 1, got 0"),
        ({"output": "out.avi"}, r"--output must be an \.mp4 file or a folder, got .*out\.avi"),
        ({"labels": "full"}, "full is there already"),
        ({"output": "out", "labels": "out/labels"}, "--labels .* and --output .* overlap"),
        ({"output": "labels/out.mp4", "labels": "labels"}, "--labels .* and --output .* overlap"),
        ({"source": "gone.mp4"}, r"gone\.mp4 is no file"),
        ({"baseline": ""}, "MODEL.PHASE is unary: leave it out"),
    ],
)
def test_bad_options(make_cfg, frames_folder, tmp_path, options, sentence):
    (tmp_path / "full" / "empty").mkdir(parents=True)
    paths = {"source": frames_folder, "output": "out.mp4"} | options
    for name in ("source", "output", "labels"):
        if name in paths:
            paths[name] = tmp_path / paths[name]
    cfg = make_cfg(*["MODEL.PHASE", "unary"] if "baseline" in options else [])
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=sentence):
        run_demo(cfg, **paths)
    assert set(tmp_path.rglob("*")) == before


# ---- with a model --------------------------------------------------------------------------------


def test_comparison(make_cfg, frames_folder, tmp_path, monkeypatch):
    panels = []
    side_by_side = demo.side_by_side
    monkeypatch.setattr(demo, "side_by_side", lambda p: panels.append(p) or side_by_side(p))
    cfg = make_cfg()
    labels = tmp_path / "labels"
    run_demo(cfg, frames_folder, tmp_path / "out", labels=labels, baseline="")
    assert {caption for row in panels for caption, _ in row} == {
        "Unaries alone, frame by frame",
        "VideoGCRF, 3 frames",
    }
    frames = [frame_of(number) for number in range(8)]
    alone, coupled = (
        [p.argmax(0).numpy() for _, p in SemanticPredictor(each)(f[:, :, ::-1] for f in frames)]
        for each in (changed_cfg(cfg, "MODEL.PHASE", "unary"), cfg)
    )
    assert unary_cfg(cfg).MODEL.PHASE == "unary"
    assert (np.stack(alone) != np.stack(coupled)).mean() > 0.05
    for number, ((left, base), (right, joint)) in enumerate(panels):
        assert left.startswith("Unaries")
        assert right.startswith("VideoGCRF")
        np.testing.assert_array_equal(base, draw_labels(frames[number], alone[number], PALETTE))
        np.testing.assert_array_equal(joint, draw_labels(frames[number], coupled[number], PALETTE))
        written = open_picture(labels / f"{number:05d}.png")
        np.testing.assert_array_equal(written, coupled[number])
    assert number == 7


def test_the_tool(tiny, tmp_path, monkeypatch, capfd):
    """From a whole video and from one that was cut off, with the exit codes."""
    whole = write_video(tmp_path / "a.mp4", num_frames=9, front=True)
    for source, code in ((whole, 0), (cut(whole), 2)):
        output, labels = tmp_path / f"{code}.mp4", tmp_path / f"labels{code}"
        words = ["--config-file", CONFIG, "--input", source, "--output", output]
        words += ["--labels", labels, "--opacity", 0.2, "--opts", *tiny]
        monkeypatch.setattr(sys, "argv", ["demo.py", *map(str, words)])
        ended = 0
        try:
            runpy.run_path("tools/demo.py", run_name="__main__")
        except SystemExit as end:
            ended = end.code
        out, err = capfd.readouterr()
        assert ended == code, err
        _, frames = decode(output)
        assert f"wrote {len(frames)} frames to {output}, {labels}" in out
        assert "frames/s" in err
        assert "Traceback" not in err
        assert len(list(labels.iterdir())) == len(frames)
        if not code:
            assert len(frames) == 9
            assert [number_of(image[:336]) for image, _ in frames[::4]] != [0, 0, 0]
    assert len(frames) < 9
