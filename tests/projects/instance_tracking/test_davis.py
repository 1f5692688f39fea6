"""Frames and masks in DAVIS's two layouts."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from PIL import Image
from video_tracking import datasets
from video_tracking.davis import VOID, load_davis, read_object_mask

from tests.support.drawn import ball, object_ids, write_list
from videogcrf_det.data import load_videos
from videogcrf_det.errors import InputError

SHARED = Path(os.getenv("VIDEOGCRF_SHARED_DATA", "../shared/data"))


def test_the_one_object_of_2016(root):
    records = load_davis(root, "2016", "val", "240p")
    assert [r["image_id"] for r in records] == [
        *(f"roll/{n:05d}" for n in range(6)),
        *(f"spin/{n:05d}" for n in range(5)),
    ]
    record = records[2]
    assert (record["height"], record["width"], record["frame_id"]) == (48, 64, 2)
    assert np.array_equal(read_object_mask(record), ball(2))


def test_objects_of_2017_are_videos_of_their_own(root, register):
    videos = load_videos(register("2017"))
    assert [video["video_name"] for video in videos] == ["pair/1", "pair/2"]
    for number, record in enumerate(videos[1]["frames"]):
        assert record["sequence"] == "pair"
        assert np.array_equal(read_object_mask(record), object_ids(number, 2) == 2)


def test_void_of_2017(root):
    path = root / "Annotations/240p/pair/00003.png"
    ids = object_ids(3, 2)
    ids[:5] = 255
    Image.fromarray(ids).save(path)
    labels = read_object_mask(load_davis(root, "2017", "val", "240p")[3])
    assert (labels[:5] == VOID).all()
    assert np.array_equal(labels[5:], ids[5:] == 1)


def test_frames_after_the_first_need_no_mask(root):
    (root / "Annotations/240p/roll/00004.png").unlink()
    found = [("mask_file" in r) for r in load_davis(root, "2016", "val", "240p")[:6]]
    assert found == [True, True, True, True, False, True]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "1"])
def test_masks_that_are_grey_in_another_mode(root, mode):
    """DAVIS-2016 has one in RGBA."""
    path = root / "Annotations/240p/roll/00002.png"
    with Image.open(path) as mask:
        mask.convert(mode).save(path)
    assert np.array_equal(read_object_mask(load_davis(root, "2016", "val", "240p")[2]), ball(2))


def test_the_lists_of_the_first_release(root):
    shutil.rmtree(root / "ImageSets/2016")
    lines = [
        f"/JPEGImages/480p/{n}/0000{i}.jpg /Annotations" for n in ("spin", "roll") for i in "01"
    ]
    write_list(root, "240p", "val", lines)
    records = load_davis(root, "2016", "val", "240p")
    assert list(dict.fromkeys(r["video_id"] for r in records)) == ["spin", "roll"]


def test_lists_with_blank_lines_and_slashes(root):
    write_list(root, "2016", "val", ["spin/", "  ", "", "roll "])
    records = load_davis(root, "2016", "val", "240p")
    assert list(dict.fromkeys(r["video_id"] for r in records)) == ["spin", "roll"]


def test_frames_in_natural_order(root):
    for kind, suffix in [("JPEGImages", ".jpg"), ("Annotations", ".png")]:
        folder = root / kind / "240p/spin"
        for number in range(5):
            (folder / f"{number:05d}{suffix}").rename(folder / f"{3 * number}{suffix}")
    records = load_davis(root, "2016", "val", "240p")[6:]
    assert [Path(r["file_name"]).stem for r in records] == ["0", "3", "6", "9", "12"]


def test_a_byte_order_mark_is_no_part_of_a_list(root):
    before = load_davis(root, "2016", "val", "240p")
    path = root / "ImageSets/2016/val.txt"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert load_davis(root, "2016", "val", "240p") == before


def spoil(root, what):
    masks, images = root / "Annotations/240p", root / "JPEGImages/240p"
    if what == "list":
        shutil.rmtree(root / "ImageSets")
    elif what == "empty list":
        write_list(root, "2016", "val", [])
    elif what == "frames":
        shutil.rmtree(images / "spin")
    elif what == "first mask":
        (masks / "spin/00000.png").unlink()
    elif what == "size":
        Image.new("L", (32, 48)).save(masks / "spin/00002.png")
    elif what == "frame's size":
        Image.new("RGB", (32, 48)).save(images / "spin/00003.jpg")
    elif what == "broken frame":
        (images / "spin/00003.jpg").write_bytes(b"no picture")
    elif what == "no object":
        Image.new("L", (64, 48)).save(masks / "spin/00000.png")
    elif what == "colours":
        Image.new("RGB", (64, 48), (128, 0, 0)).save(masks / "spin/00000.png")
    elif what == "broken":
        (masks / "spin/00000.png").write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("list", "ImageSets/2016/val.txt and .*ImageSets/240p/val.txt do not exist: set DETECTRON"),
        ("empty list", "names no sequence"),
        ("frames", "no frames .* of spin in .*JPEGImages/240p/spin"),
        ("first mask", "first frame of spin has no mask .*spin/00000.png"),
        ("size", r"spin/00002.png is of another size than the first frame \(32x48, not 64x48\)"),
        ("frame's size", r"spin/00003.jpg is of another size than .* \(32x48, not 64x48\)"),
        ("broken frame", "cannot read the image .*spin/00003.jpg"),
        ("no object", "spin/00000.png shows no object: "),
        ("colours", r"spin/00000.png is no mask of object ids \(its mode is RGB\)"),
        ("broken", "cannot read the image .*spin/00000.png"),
    ],
)
def test_bad_data(root, what, words):
    spoil(root, what)
    with pytest.raises(InputError, match=words) as error:
        load_davis(root, "2016", "val", "240p")
    assert "\n" not in str(error.value)


def test_masks_of_2016_have_no_objects_of_2017(root):
    write_list(root, "2017", "val", ["roll"])
    with pytest.raises(InputError, match=r"no object \(0 and 255 are those of DAVIS-2016\)"):
        load_davis(root, "2017", "val", "240p")


def test_registered_names():
    for year, splits in datasets.SPLITS.items():
        for split in splits:
            assert f"davis_{year}_{split}_480p" in DatasetCatalog


@pytest.mark.skipif(not (SHARED / "DAVIS2017").is_dir(), reason="the shared data is not here")
def test_real_objects(tmp_path):
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / kind).symlink_to((SHARED / "DAVIS2017" / kind).absolute())
    resolution = next((tmp_path / "JPEGImages").iterdir()).name
    write_list(tmp_path, "2017", "train", ["schoolgirls"])
    records = load_davis(tmp_path, "2017", "train", resolution)
    assert len(records) == 7 * 80
    assert len({r["video_id"] for r in records}) == 7


@pytest.mark.skipif(not (SHARED / "DAVIS").is_dir(), reason="the shared data is not here")
def test_real_sequences(tmp_path):
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / kind).symlink_to((SHARED / "DAVIS" / kind).absolute())
    names = sorted(os.listdir(tmp_path / "JPEGImages/240p"))
    write_list(tmp_path, "2016", "train", names)
    records = load_davis(tmp_path, "2016", "train", "240p")
    assert list(dict.fromkeys(r["video_id"] for r in records)) == names
    assert len(records) == len(list((tmp_path / "JPEGImages/240p").glob("*/*.jpg")))
    assert set(np.unique(read_object_mask(records[0]))) == {0, 1}


def test_masks_that_were_saved_as_jpeg_are_named(tmp_path):
    """Around an object they have grey levels, all of which would be the object."""
    import io

    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:40] = 255
    path = tmp_path / "00000.png"
    Image.fromarray(mask).save(path)
    record = {"mask_file": str(path), "object_id": None}
    assert read_object_mask(record).sum() == 400
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "JPEG", quality=30)
    Image.open(stream).save(path)
    with pytest.raises(InputError, match=r"00000\.png has \d+ grey levels"):
        read_object_mask(record)
