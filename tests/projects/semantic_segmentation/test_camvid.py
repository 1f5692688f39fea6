import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from video_semseg.camvid import COLOURS, VOID, frame_names, load_camvid
from video_semseg.camvid_original import CLASSES, convert_camvid

from tests.support.tiny import PROJECT, write
from videogcrf_det import InputError

SHARED = Path(
    os.getenv("VIDEOGCRF_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"), "CamVid"
)
needs_real_data = pytest.mark.skipif(not SHARED.is_dir(), reason="needs CamVid")

COUNTS = {"train": 367, "val": 101, "test": 233}
FRAMES = ["b_0010", "a_f00300", "b_0002", "a_f00030", "a_f00060"]  # sequences interleave


@pytest.fixture
def root(tmp_path):
    lines = []
    for name in FRAMES:
        write(tmp_path / f"train/{name}.png", (12, 8), (1, 2, 3))
        write(tmp_path / f"trainannot/{name}.png", (12, 8), 5)
        lines.append(f"train/{name}.png trainannot/{name}.png")
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n\n")
    return tmp_path


def test_frames_are_sorted_by_sequence_and_number(root):
    records = load_camvid(root, "train")
    assert [(r["video_name"], r["frame_id"]) for r in records] == [
        *[("a", 30), ("a", 60), ("a", 300), ("b", 2), ("b", 10)]
    ]
    assert records[2] == {
        "file_name": str(root / "train/a_f00300.png"),
        "sem_seg_file_name": str(root / "trainannot/a_f00300.png"),
        "image_id": "a_f00300",
        "height": 8,
        "width": 12,
        "video_name": "a",
        "video_id": "a",
        "frame_id": 300,
    }


def test_the_tutorials_own_paths_are_understood(root):
    path = root / "train.txt"
    expected = load_camvid(root, "train")
    path.write_text(re.sub(r"(\S+)", r"/SegNet/CamVid/\1", path.read_text()))
    assert load_camvid(root, "train") == expected


def test_a_byte_order_mark_is_no_part_of_a_list(root):
    expected = load_camvid(root, "train")
    path = root / "train.txt"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert load_camvid(root, "train") == expected


def add(line):
    def damage(root):
        write(root / "train/c_1.png", (12, 8), (1, 2, 3))
        write(root / "train/noname.png", (12, 8), (1, 2, 3))
        write(root / "train/b_f2.png", (12, 8), (1, 2, 3))
        with (root / "train.txt").open("a") as file:
            file.write(line)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "train.txt").unlink(), r"cannot read .*train\.txt.*convert_camvid"),
        (lambda root: (root / "train.txt").write_text("\n"), r"train\.txt names no frame"),
        (add("train/c_1.png"), r"train\.txt, line 7, is not an image and its annotation"),
        (
            lambda root: (root / "train/b_0002.png").unlink(),
            r"b_0002\.png, which .*train\.txt names, does not exist",
        ),
        (
            lambda root: [path.unlink() for path in (root / "trainannot").glob("a_*.png")],
            r"trainannot/a_f00300\.png \(and 2 more\), which .*train\.txt names, does not exist",
        ),
        (
            lambda root: write(root / "trainannot/a_f00060.png", (8, 12), 5),
            r"trainannot/a_f00060\.png is of another size than its frame \(8x12, not 12x8\)",
        ),
        (
            lambda root: write(root / "trainannot/a_f00060.png", (12, 8), (128, 0, 0)),
            r"trainannot/a_f00060\.png is no label map.*mode is RGB.*convert_camvid",
        ),
        (
            lambda root: (root / "train/a_f00060.png").write_text("<html>"),
            r"cannot read the image .*a_f00060\.png",
        ),
        (add("train/noname.png trainannot/b_0002.png"), r"noname\.png is not named <sequence>_<n"),
        (
            add("train/b_f2.png trainannot/b_0002.png"),
            r"frame 2 of b twice, as .*b_0002\.png and .*b_f2\.png",
        ),
        (add("train/b_0002.png trainannot/b_0002.png"), r"frame 2 of b twice"),
    ],
)
def test_bad_input_is_told_in_one_sentence(root, damage, message):
    damage(root)
    with pytest.raises(InputError, match=message) as caught:
        load_camvid(root, "train")
    assert "\n" not in str(caught.value)


def test_the_split_has_its_numbers_of_frames():
    names = frame_names()
    assert {split: len(found) for split, found in names.items()} == COUNTS
    assert len({name for found in names.values() for name in found}) == 701


@needs_real_data
@pytest.mark.parametrize("split", COUNTS)
def test_the_real_data_has_the_frames_of_the_split(split):
    records = load_camvid(SHARED, split)
    assert len(records) == COUNTS[split]
    assert sorted(record["image_id"] for record in records) == sorted(frame_names()[split])


# ---- conversion ----------------------------------------------------------------------------------


def test_every_class_of_the_original_has_a_colour_of_its_own():
    assert len(CLASSES) == 32 == len({colour for colour, _ in CLASSES.values()})
    grouped = {name for _, name in CLASSES.values()}
    assert grouped == {*COLOURS, None}


@pytest.fixture
def original(tmp_path):
    """Two frames of an original of 16 x 8, whose labels have all 32 colours, 2 x 2 pixels each."""
    rng = np.random.default_rng(0)
    colours = np.array([colour for colour, _ in CLASSES.values()], np.uint8).reshape(4, 8, 3)
    labels = colours.repeat(2, 0).repeat(2, 1)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for name in ("0001TP_006720", "Seq05VD_f05100"):
        frame = rng.integers(0, 256, (8, 16, 3)).astype(np.uint8)
        Image.fromarray(frame).save(tmp_path / f"images/{name}.png")
        Image.fromarray(labels).save(tmp_path / f"labels/{name}_L.png")
    return tmp_path


def convert(original, **options):
    return convert_camvid(original / "images", original / "labels", original / "out", **options)


def read(path):
    return np.asarray(Image.open(path))


def test_a_converted_original_is_what_load_camvid_reads(original):
    done = convert(original)
    assert done.frames == {"train": 1, "val": 0, "test": 1}
    assert not (original / "out/val.txt").exists()
    for split, name in [("train", "0001TP_006720"), ("test", "Seq05VD_f05100")]:
        (record,) = load_camvid(original / "out", split)
        assert record["image_id"] == name
        np.testing.assert_array_equal(
            read(record["file_name"]), read(original / f"images/{name}.png")
        )
        expected = [
            VOID if label is None else list(COLOURS).index(label) for _, label in CLASSES.values()
        ]
        found = read(record["sem_seg_file_name"])
        np.testing.assert_array_equal(found[::2, ::2].ravel(), expected)
        np.testing.assert_array_equal(found[1::2, 1::2].ravel(), expected)


def test_frames_are_averaged_and_labels_are_not(original):
    convert(original)
    labels = read(original / "out/trainannot/0001TP_006720.png")
    convert(original, size=(8, 4))
    (record,) = load_camvid(original / "out", "train")
    assert (record["width"], record["height"]) == (8, 4)
    np.testing.assert_array_equal(read(record["sem_seg_file_name"]), labels[::2, ::2])
    frame = cv2.imread(str(original / "images/0001TP_006720.png"))
    averaged = cv2.resize(frame, (8, 4), interpolation=cv2.INTER_AREA).astype(int)
    assert abs(cv2.imread(record["file_name"]) - averaged).max() <= 1  # they round differently


def test_what_a_partial_original_lacks_is_told(original):
    (original / "labels/Seq05VD_f05100_L.png").unlink()
    text = str(convert(original))
    assert "1 of 367 train, 0 of 101 val, 0 of 233 test frames" in text
    missing = re.search(r"missing: (.*) and (\d+) more", text)
    # 700 frames without a label, all but one of them without an image as well
    assert len(missing[1].split(", ")) + int(missing[2]) == 700 + 699
    assert "0001TP_006690.png" in missing[1]
    assert "do not compare" in text


def test_an_unknown_colour_is_told_and_leaves_no_list(original):
    convert(original)
    path = original / "labels/Seq05VD_f05100_L.png"
    labels = read(path).copy()
    labels[0, :3], labels[1, 5] = (1, 2, 3), (7, 7, 7)
    Image.fromarray(labels).save(path)
    with pytest.raises(InputError, match=r"f05100_L\.png has 4 pixels.*\(3\) of \(1, 2, 3\)"):
        convert(original)
    assert not list((original / "out").glob("*.txt"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda root: write(root / "labels/0001TP_006720_L.png", (8, 8), (0, 0, 0)),
            r"0001TP_006720_L\.png is of another size than .*0001TP_006720\.png",
        ),
        (
            lambda root: (root / "images/0001TP_006720.png").write_bytes(b"\x89PNG"),
            r"cannot read the image .*0001TP_006720\.png",
        ),
        (
            lambda root: [path.unlink() for path in (root / "images").iterdir()],
            r"have no frame of CamVid with its label",
        ),
        (lambda root: (root / "out").touch(), r"cannot write to .*out"),
    ],
)
def test_a_bad_original_is_told_in_one_sentence(original, damage, message):
    damage(original)
    with pytest.raises(InputError, match=message):
        convert(original)


@pytest.mark.slow
def test_the_tool_converts_and_refuses(original):
    words = [sys.executable, str(PROJECT / "convert_camvid.py"), "--images", "images"]
    words += ["--labels", "labels", "--output", "out", "--size"]
    options = {"cwd": original, "capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run([*words, "8x4"], **options)
    assert done.returncode == 0, done.stderr
    assert "1 of 367 train" in done.stdout
    (record,) = load_camvid(original / "out", "test")
    assert (record["width"], record["height"]) == (8, 4)
    refused = subprocess.run([*words, "8"], **options)
    assert refused.returncode == 2
    assert "invalid size value: '8'" in refused.stderr
