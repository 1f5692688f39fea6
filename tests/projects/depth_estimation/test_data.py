"""Depth in folders: own data, known data sets in small, and what is wrong with them."""

import shutil
import struct

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from PIL import Image
from video_depth import datasets
from video_depth.layout import own_videos
from video_depth.mappers import DepthClipMapper, labels_of

from videogcrf_det import InputError
from videogcrf_det.data import build_clips
from videogcrf_det.data.depth import write_depth_png

UNIT = 0.001


def frame(path, size=(64, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 100, 110)).save(path)


def depth_png(path, metres=2.0, unit=UNIT, shape=(48, 64)):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_depth_png(path, np.full(shape, metres, np.float32), unit)


def test_own_videos(own_root):
    records = own_videos(own_root)
    assert [r["video_name"] for r in records] == ["walk-000"] * 5 + ["walk-001"] * 5
    assert [r["frame_id"] for r in records] == [*range(5)] * 2
    assert {(r["height"], r["width"]) for r in records} == {(48, 64)}
    without = [r for r in records if "depth_file_name" not in r]
    assert [r["image_id"] for r in without] == ["walk-001/00002"]
    for record in records:
        if record not in without:
            assert record["depth_file_name"].endswith(record["file_name"][-9:-4] + ".png")
            assert 3 < labels_of(record).min() < 5
    assert labels_of(without[0]) is None


def test_frames_follow_their_numbers_and_other_files_are_left_alone(tmp_path):
    for number in (2, 10, 1):
        frame(tmp_path / f"room/frames/{number}.jpg")
        np.save(tmp_path / "d.npy", np.full((48, 64), float(number)))
        (tmp_path / "room/depth").mkdir(exist_ok=True)
        shutil.move(tmp_path / "d.npy", tmp_path / f"room/depth/d_{number:03d}.npy")
    (tmp_path / "room/frames/notes 3.txt").write_text("3")
    records = own_videos(tmp_path)
    assert [labels_of(r)[0, 0] for r in records] == [1, 2, 10]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: (root / "depth.json").unlink(), "metres_per_level"),
        (lambda root: (root / "depth.json").write_text("{}"), "metres_per_level above 0"),
        (lambda root: (root / "depth.json").write_text('{"metres_per_level": -1}'), "-1"),
        (lambda root: [shutil.rmtree(p) for p in root.glob("*/depth")], "no depth map"),
        (lambda root: [shutil.rmtree(p) for p in root.glob("walk*")], "no folder in"),
        (lambda root: [p.unlink() for p in root.glob("walk-000/frames/*")], "no frames in"),
        (lambda root: frame(root / "walk-000/frames/again_00001.png"), "same number"),
        (lambda root: (root / "walk-000/frames/00001.jpg").write_bytes(b"no"), "cannot read"),
        (shutil.rmtree, "no folder"),
    ],
)
def test_folders_that_cannot_be_used(own_root, tmp_path, spoil, said):
    root = tmp_path / "data"
    shutil.copytree(own_root, root)
    spoil(root)
    with pytest.raises(InputError, match=said):
        own_videos(root)


def test_a_mapped_clip_has_the_depth_of_what_is_seen(make_cfg, own_root):
    """Mirrored with the frame, larger with it, never interpolated."""
    cfg = make_cfg("INPUT.MIN_SIZE_TRAIN", "(96,)")
    clip = build_clips(own_videos(own_root), 3)[7]  # around the frame without a depth map
    mapper = DepthClipMapper(cfg, is_train=True)
    mirrored = set()
    for seed in range(6):
        np.random.seed(seed)  # noqa: NPY002 - detectron2's augmentations draw from it
        frames = mapper(clip)["frames"]
        assert ["depth" in each for each in frames] == [True, False, True]
        for record, each in zip(clip["frames"], frames, strict=True):
            if "depth" not in each:
                continue
            assert each["depth"].shape == each["image"].shape[1:] == (96, 128)
            expected = np.kron(labels_of(record), np.ones((2, 2), np.float32))
            plain = torch.equal(each["depth"], torch.from_numpy(expected))
            flipped = torch.equal(each["depth"], torch.from_numpy(expected[:, ::-1].copy()))
            assert plain != flipped
            mirrored.add(flipped)
    assert mirrored == {True, False}


def test_depth_of_another_size_is_that_of_the_nearest_pixel(tmp_path):
    frame(tmp_path / "a.png")
    small = np.float32([[1, 2], [0, 4]])
    np.save(tmp_path / "a.npy", small)
    record = {"depth_file_name": str(tmp_path / "a.npy"), "depth_unit": None}
    found = labels_of({**record, "width": 64, "height": 48})
    assert (found == np.kron(small, np.ones((24, 32)))).all()


def test_drawn_videos_name_the_clear_frames_of_degraded_ones(drawn, tmp_path):
    clear = datasets.load_drawn(drawn / "mini_davis", "val")
    records = datasets.load_drawn(drawn / "mini_davis_degraded", "val", drawn / "mini_davis")
    assert [r["clear_file_name"] for r in records] == [r["file_name"] for r in clear]
    assert sum(a != b for a, b in zip(map(pixels, records), map(pixels, clear), strict=True)) == 2
    for a, b in zip(records, clear, strict=True):
        assert (labels_of(a) == labels_of(b)).all()
    copied = tmp_path / "copied"
    shutil.copytree(drawn / "mini_davis", copied)
    shutil.rmtree(copied / "Depth")
    with pytest.raises(InputError, match="--depth"):
        datasets.load_drawn(copied, "val")


def pixels(record):
    return cv2.imread(record["file_name"]).tobytes()


def test_known_data_sets(tmp_path):
    nyu = tmp_path / "NYUDepthV2"
    for number in (45, 9):
        frame(nyu / f"sync/attic/rgb_{number:05d}.jpg")
        depth_png(nyu / f"sync/attic/sync_depth_{number:05d}.png", number / 10)
    (nyu / "train.txt").write_text("attic\n")
    assert [labels_of(r)[0, 0] for r in datasets.load_nyu(nyu, "train")] == pytest.approx(
        [0.9, 4.5]
    )

    scannet = tmp_path / "ScanNet"
    for number in (0, 2, 10):
        frame(scannet / f"scans/scene0000_00/color/{number}.jpg", (128, 96))
        depth_png(scannet / f"scans/scene0000_00/depth/{number}.png", 1 + number)
    (scannet / "scannetv2_val.txt").write_text("scene0000_00\n")
    found = [labels_of(r) for r in datasets.load_scannet(scannet, "val")]
    assert [each[0, 0] for each in found] == pytest.approx([1, 3, 11])
    assert found[0].shape == (96, 128)

    kitti, drive = tmp_path / "KITTI", "2011_09_26_drive_0001_sync"
    for number in range(3):
        frame(kitti / f"raw/2011_09_26/{drive}/image_02/data/{number:010d}.png")
    truth = kitti / f"depth/val/{drive}/proj_depth/groundtruth/image_02"
    depth_png(truth / f"{1:010d}.png", 20, 1 / 256)
    records = datasets.load_kitti(kitti, "val")
    assert ["depth_file_name" in r for r in records] == [False, True, False]
    assert labels_of(records[1])[0, 0] == 20

    sintel = tmp_path / "MPI-Sintel/training"
    frame(sintel / "final/alley_1/frame_0001.png")
    (sintel / "depth/alley_1").mkdir(parents=True)
    content = struct.pack("<fii", 202021.25, 64, 48) + np.full(48 * 64, 7, "<f4").tobytes()
    (sintel / "depth/alley_1/frame_0001.dpt").write_bytes(content)
    assert labels_of(datasets.load_sintel(sintel.parent, "final")[0])[0, 0] == 7


@pytest.mark.parametrize("name", ["mini_davis_depth_val", "kitti_depth_val", "sintel_depth_clean"])
def test_registered_data_sets_say_what_is_missing(name):
    with pytest.raises(InputError, match=r"datasets|MPI-Sintel|KITTI"):
        DatasetCatalog.get(name)


def test_own_videos_are_registered_by_the_config(make_cfg, own_root):
    datasets.register_own(make_cfg("DATASETS.DEPTH", f"['test_own_depth={own_root}']"))
    assert len(DatasetCatalog.get("test_own_depth")) == 10
    DatasetCatalog.remove("test_own_depth")
    with pytest.raises(InputError, match="NAME=FOLDER"):
        datasets.register_own(make_cfg("DATASETS.DEPTH", "['street']"))
