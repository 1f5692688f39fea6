import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_util
from video_semseg.davis import load_davis_person, write_label_maps

from videogcrf_det import InputError

PROJECT = Path(__file__).parents[3] / "projects" / "semantic_segmentation"
HEIGHT, WIDTH = 6, 10


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def region(number, rows, columns, iscrowd=0):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[rows, columns] = 1
    rle = mask_util.encode(mask)
    return {
        "id": number,
        "image_id": 1,
        "category_id": 1,
        "bbox": mask_util.toBbox(rle).tolist(),
        "area": int(mask.sum()),
        "iscrowd": iscrowd,
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()},
    }


@pytest.fixture
def content():
    """Two frames: one with persons that overlap each other and do-not-care, one with nobody."""
    return {
        "videos": [{"id": 1, "name": "walk", "length": 2}],
        "images": [
            {
                "id": 1 + frame,
                "file_name": f"240p/walk/{frame:05}.jpg",
                "height": HEIGHT,
                "width": WIDTH,
                "video_id": 1,
                "frame_id": frame,
            }
            for frame in (1, 0)
        ],
        "annotations": [
            region(1, slice(0, 3), slice(0, 4)),
            region(2, slice(2, 6), slice(2, 9), iscrowd=1),
            region(3, slice(1, 5), slice(3, 6)),
        ],
        "categories": [{"id": 1, "name": "person"}],
    }


@pytest.fixture
def write(tmp_path):
    """Write annotations, and frames, as tools/prepare_davis_person.py and DAVIS have them."""

    def write(content):
        path = tmp_path / "annotations" / "davis_person_train.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        for image in content["images"]:
            frame = tmp_path / "JPEGImages" / image["file_name"]
            frame.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (WIDTH, HEIGHT)).save(frame)
        return path

    return write


def test_persons_are_one_and_do_not_care_is_void_where_there_is_none(write, content, tmp_path):
    paths = [tmp_path / f"SemanticPerson/240p/walk/{frame:05}.png" for frame in (0, 1)]
    assert write_label_maps(write(content)) == paths
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[2:6, 2:9] = 255
    expected[0:3, 0:4] = 1
    expected[1:5, 3:6] = 1
    np.testing.assert_array_equal(read(paths[0]), expected)
    assert not read(paths[1]).any()


def test_frames_are_loaded_in_order_with_the_keys_of_videos(write, content, tmp_path):
    json_file = write(content)
    write_label_maps(json_file)
    records = load_davis_person(json_file)
    assert [record["frame_id"] for record in records] == [0, 1]
    assert records[1] == {
        "file_name": str(tmp_path / "JPEGImages/240p/walk/00001.jpg"),
        "sem_seg_file_name": str(tmp_path / "SemanticPerson/240p/walk/00001.png"),
        "image_id": 2,
        "height": HEIGHT,
        "width": WIDTH,
        "video_name": "walk",
        "video_id": 1,
        "frame_id": 1,
    }


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: shutil.rmtree(root / "SemanticPerson"), r"\(and 1 more\).*prepare_davis\.py"),
        (
            lambda root: (root / "JPEGImages/240p/walk/00001.jpg").unlink(),
            r"JPEGImages/240p/walk/00001\.jpg, which .*json names, does not exist",
        ),
        (
            lambda root: Image.new("L", (WIDTH, 7)).save(
                root / "SemanticPerson/240p/walk/00000.png"
            ),
            r"walk/00000\.png is of another size than its frame \(10x7, not 10x6\)",
        ),
        (
            lambda root: (root / "annotations/davis_person_train.json").unlink(),
            r"davis_person_train\.json does not exist: make it with videogcrf prepare-davis-person",
        ),
    ],
)
def test_bad_data_is_told_in_one_sentence(write, content, tmp_path, damage, message):
    json_file = write(content)
    write_label_maps(json_file)
    damage(tmp_path)
    with pytest.raises(InputError, match=message):
        load_davis_person(json_file)


def test_annotations_that_are_no_masks_of_the_frame_are_refused(write, content):
    content["annotations"][0]["segmentation"] = [[0, 0, 4, 0, 4, 3, 0, 3]]
    with pytest.raises(InputError, match=r"00000\.jpg in .*json is no run-length encoded mask"):
        write_label_maps(write(content))
    content["annotations"][0] = region(1, slice(0, 3), slice(0, 4))
    content["images"][1]["height"] = HEIGHT + 1
    with pytest.raises(InputError, match=r"has a mask of the size .*, its frame"):
        write_label_maps(write(content))


def test_a_folder_that_cannot_be_written_to_is_told(write, content, tmp_path):
    json_file = write(content)
    (tmp_path / "SemanticPerson").touch()
    with pytest.raises(InputError, match=r"cannot write to .*SemanticPerson"):
        write_label_maps(json_file)


@pytest.mark.slow
def test_the_tool_writes_the_masks_of_the_drawn_data_set(mini_root, tmp_path):
    root = tmp_path / "mini_davis"
    shutil.copytree(mini_root, root)
    files = sorted((root / "annotations").glob("mini_davis_person_*.json"))
    done = subprocess.run(
        [sys.executable, str(PROJECT / "prepare_davis.py"), *map(str, files)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    semantics = json.loads((root / "davis_semantics.json").read_text())
    values = set()
    for json_file in files:
        for record in load_davis_person(json_file):
            sequence, frame = record["video_name"], Path(record["file_name"]).stem
            mask = read(root / f"Annotations/48p/{sequence}/{frame}.png")
            ignored = root / f"IgnoreMasks/{sequence}/{frame}.png"
            persons = [int(k) for k, name in semantics[sequence].items() if name == "person"]
            expected = np.where(mask == 255, 255, 0)
            if ignored.is_file():
                expected[read(ignored) > 0] = 255
            expected[np.isin(mask, persons)] = 1
            np.testing.assert_array_equal(read(record["sem_seg_file_name"]), expected)
            values |= set(np.unique(expected).tolist())
    assert values == {0, 1, 255}
