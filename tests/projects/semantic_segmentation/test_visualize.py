import json
import runpy
import sys

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from video_semseg.evaluation import VideoSemSegEvaluator

from tests.conftest import unregister
from tests.support.tiny import COLOURS, NAMES, VOID
from videogcrf_det import InputError
from videogcrf_det.data import load_videos
from videogcrf_det.drawing.overlay import enlarge
from videogcrf_det.segmentation import compare
from videogcrf_det.segmentation.compare import SPACING, compare_predictions
from videogcrf_det.segmentation.drawing import Palette, draw_labels, legend

PALETTE = Palette(NAMES, COLOURS)
SIZES = {"walk": (20, 30), "ride": (24, 28)}
LENGTH = 12


def truth_of(video):
    """The floor, a box, and void at the right."""
    labels = np.zeros(SIZES[video], np.uint8)
    labels[5:15, 5:15] = 1
    labels[:, 20:] = VOID
    return labels


def image_of(video, number):
    return np.full((*SIZES[video], 3), 40 + 10 * number, np.uint8)


@pytest.fixture
def videos(tmp_path):
    """The name of a data set with two videos of frames of different sizes."""
    records = []
    for video, (height, width) in SIZES.items():
        for kind in ("frames", "labels"):
            (tmp_path / kind / video).mkdir(parents=True)
        for number in range(LENGTH):
            image, labels = (
                tmp_path / kind / video / f"{number}.png" for kind in ("frames", "labels")
            )
            Image.fromarray(image_of(video, number)).save(image)
            Image.fromarray(truth_of(video)).save(labels)
            records.append(
                {
                    "file_name": str(image),
                    "sem_seg_file_name": str(labels),
                    "image_id": f"{video} {number}",
                    "height": height,
                    "width": width,
                    "video_id": video,
                    "video_name": video,
                    "frame_id": 10 * number,
                }
            )
    name = "test_semantic_videos"
    DatasetCatalog.register(name, lambda: records)
    MetadataCatalog.get(name).set(
        stuff_classes=NAMES, stuff_colors=COLOURS, ignore_label=VOID, evaluator_type="sem_seg"
    )
    yield name
    unregister(name)


@pytest.fixture
def evaluated(videos, tmp_path):
    """Write what the evaluation writes of a model that labels frames so."""

    def write(run, label):
        folder = tmp_path / run
        evaluator = VideoSemSegEvaluator(videos, output_dir=str(folder / "inference" / videos))
        evaluator.reset()
        for video in load_videos(videos):
            labels = (label(video["video_name"], number) for number in range(LENGTH))
            scores = (
                {"sem_seg": torch.eye(3)[torch.from_numpy(of_frame).long()].permute(2, 0, 1)}
                for of_frame in labels
            )
            evaluator.process([{**video, "records": video["frames"]}], [scores])
        evaluator.evaluate()
        return folder

    return write


def with_square(video, label, side, at=(0, 0)):
    labels = truth_of(video) % VOID
    labels[at[0] : at[0] + side, at[1] : at[1] + side] = label
    return labels


# pixels that the run has wrong, by video and frame; the base has everything right
DIFFERENT = {("walk", 2): 4, ("walk", 2 + SPACING): 3, ("walk", 3): 3.5, ("ride", 8): 2}


def run_labels(video, number):
    if (video, number) == ("ride", 0):
        return with_square(video, 1, 4, at=(10, 20))  # void: does not count
    if (video, number) == ("walk", 3):
        labels = with_square(video, 2, 3)
        labels[0, 3:6] = 2  # 12 pixels, 4 fewer than the frame before it
        return labels
    return with_square(video, 2, int(DIFFERENT.get((video, number), 0)))


def base_labels(video, number):
    return truth_of(video) % VOID


@pytest.fixture
def rows(monkeypatch):
    """The panels of each row that is drawn."""
    drawn = []
    side_by_side = compare.side_by_side
    monkeypatch.setattr(compare, "side_by_side", lambda p: drawn.append(p) or side_by_side(p))
    return drawn


def test_the_frames_that_differ_most(evaluated, tmp_path, rows):
    run, base = evaluated("run", run_labels), evaluated("base", base_labels)
    compare_predictions(run, base, tmp_path / "out.png", num_frames=9)
    assert [row[0][0] for row in rows] == [
        "walk, frame 20",
        f"walk, frame {10 * (2 + SPACING)}",
        "ride, frame 80",
    ]
    known = 20 * 20
    assert [caption for caption, _ in rows[0][1:]] == [
        "Base: 100.0% right",
        f"VideoGCRF: {1 - 16 / known:.1%} right",
        "Ground truth",
    ]
    image = image_of("walk", 2)
    pictures = [picture for _, picture in rows[0]]
    np.testing.assert_array_equal(pictures[0], enlarge(image))
    for picture, labels in [
        (pictures[1], base_labels("walk", 2)),
        (pictures[2], run_labels("walk", 2)),
        (pictures[3], truth_of("walk")),
    ]:
        np.testing.assert_array_equal(picture, draw_labels(image, labels, PALETTE))
    right_side = pictures[3][:, pictures[3].shape[1] * 20 // 30 + 20 :]
    assert (right_side == image[0, 0]).all()  # void has no colour

    sheet = np.asarray(Image.open(tmp_path / "out.png"))
    below = legend(PALETTE, sheet.shape[1], 1.2)
    np.testing.assert_array_equal(sheet[-len(below) :], below)
    rows.clear()
    compare_predictions(run, base, tmp_path / "out.png", num_frames=1)
    assert [row[0][0] for row in rows] == ["walk, frame 20"]


def test_models_that_agree(evaluated, tmp_path):
    run, base = evaluated("run", base_labels), evaluated("base", base_labels)
    with pytest.raises(InputError, match="label every pixel alike"):
        compare_predictions(run, base, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("options", "damage", "sentence"),
    [
        ({"output": "out.jpg"}, None, r"--output must name a \.png file, got .*out\.jpg"),
        ({"num_frames": 0}, None, "--num-frames must be at least 1, got 0"),
        ({"run": "nowhere"}, None, "nowhere has no inference/.*evaluate it"),
        ({"baseline": "nowhere"}, None, r"nowhere.*\.json does not exist: evaluate"),
        ({"dataset": "nothing"}, None, "'nothing' is not registered"),
        ({}, lambda regions: "[", "is not what the evaluation writes .*JSONDecodeError"),
        ({}, lambda regions: '[{"file_name": 3}]', "is not what the evaluation writes .*TypeError"),
        (
            {},
            lambda regions: json.dumps([{**regions[0], "file_name": "a/b.png"}]),
            "is not what the evaluation writes .*KeyError",
        ),
        ({}, lambda regions: json.dumps(regions[:-3]), "has no labels of ride/11.png"),
    ],
)
def test_bad_input_is_one_sentence(evaluated, videos, tmp_path, options, damage, sentence):
    paths = {"run": "run", "baseline": "base", "output": "out.png"} | options
    evaluated("run", run_labels)
    path = evaluated("base", base_labels) / "inference" / videos / "sem_seg_predictions.json"
    if damage:
        path.write_text(damage(json.loads(path.read_text())))
    for name in ("run", "baseline", "output"):
        paths[name] = tmp_path / paths[name]
    with pytest.raises(InputError, match=sentence) as error:
        compare_predictions(**paths)
    assert "\n" not in str(error.value)
    assert not paths["output"].exists()


def test_the_tool(evaluated, tmp_path, monkeypatch, capsys):
    run, base = evaluated("run", run_labels), evaluated("base", base_labels)
    output = tmp_path / "new" / "out.png"
    words = ["--run", run, "--baseline", base, "--output", output]
    monkeypatch.setattr(sys, "argv", ["visualize_predictions.py", *map(str, words)])
    path = "tools/visualize_predictions.py"
    runpy.run_path(path, run_name="__main__")
    assert f"wrote {output}" in capsys.readouterr().out
    assert np.asarray(Image.open(output)).std() > 10
