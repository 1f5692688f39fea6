"""Steadiness without annotations, where the answer is known."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tests.support.pictures import HEIGHT, WIDTH, box, texture
from videogcrf_det.errors import InputError
from videogcrf_det.evaluation.steadiness import measure_steadiness, steadiness_table

PERSON, HALF, FAR = (20, 30, 60, 50), (20, 30, 40, 50), (70, 90, 90, 110)


@pytest.fixture
def video(tmp_path):
    """Six frames that do not move."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / f"{number}.png"), texture())
    return folder


@pytest.fixture
def write(tmp_path):
    def write(*frames, first=0, name="results.json", **more):
        found = []
        for number, frame in enumerate(frames, start=first):
            for where in frame:
                rle = coco_mask.encode(np.asfortranarray(box(*where), np.uint8))
                mask = {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()}
                found.append({"image_id": number, "category_id": 1, "score": 0.9, **more})
                found[-1]["segmentation"] = mask
        path = tmp_path / name
        path.write_text(json.dumps(found))
        return path

    return write


def test_what_is_steady_and_what_is_not(write, video):
    """Of the second: the person is missed in a frame, and has half the height in the last; another
    one is seen once. Its pairs: 01 and 34 whole, 45 a half."""
    steady = write(*[[PERSON]] * 6, name="a.json")
    blinks = write([PERSON], [PERSON, FAR], [], [PERSON], [PERSON], [HALF], name="b.json")
    first, second = measure_steadiness([steady, blinks], video)
    assert first == (1, 1, 0, 0, pytest.approx(100), 5, 0)
    sixth = 100 / 6
    assert second == (1, 2, 100, pytest.approx(sixth), pytest.approx(500 / 6), 3, 0)
    table = steadiness_table([steady, blinks], [first, second]).splitlines()
    assert "a.json" in table[2]
    assert table[3].split("|")[4].strip() == "100.0"


def test_masks_that_move_with_the_picture(write, tmp_path):
    """A camera that pans by 2 pixels a frame."""
    wide, folder = texture(width=WIDTH + 12), tmp_path / "pan"
    folder.mkdir()
    for t in range(6):
        cv2.imwrite(str(folder / f"{t}.png"), wide[:, 2 * t : 2 * t + WIDTH])
    moving = write(*[[(20, 60 - 2 * t, 60, 80 - 2 * t)] for t in range(6)], name="a.json")
    staying = write(*[[(20, 60, 60, 80)]] * 6, name="b.json")
    with_it, without = measure_steadiness([moving, staying], folder)
    assert with_it.warped_iou > 97
    assert without.warped_iou == pytest.approx(100 * 18 / 22, abs=2)
    assert with_it.flicker == without.flicker == 0


def test_identities_of_the_file_come_first(write, video):
    """One track that jumps, as the file has it, and two by their overlap."""
    frames = [[PERSON]] * 3 + [[FAR]] * 3
    (jumps,) = measure_steadiness([write(*frames, track_id=4)], video)
    (two,) = measure_steadiness([write(*frames)], video)
    assert (jumps.tracks, two.tracks) == (1, 2)
    assert jumps.warped_iou == pytest.approx(80)
    assert two.warped_iou == pytest.approx(100)


def test_doubtful_detections_and_images_of_other_videos(write, video):
    (doubtful,) = measure_steadiness([write([PERSON])], video, confidence_threshold=0.95)
    assert doubtful == (0, 0, None, None, None, 0, 0)
    path = write(*[[PERSON]] * 10, first=8)
    (measured,) = measure_steadiness([path], video, first_image=10)
    assert (measured.tracks, measured.outside) == (1, 4)
    assert "4 results of" in steadiness_table([path], [measured])
    with pytest.raises(InputError, match=r"no results of the 6 images from 0 on.*--first-image"):
        measure_steadiness([path], video)


def test_what_cannot_be_used(write, video, tmp_path):
    path = write([PERSON])
    content = json.loads(path.read_text())
    for change, sentence in [
        ({"segmentation": {"size": [4, 4], "counts": "0"}}, "result 0 .*not run-length encoded at"),
        ({"image_id": "a"}, "result 0 .*image_id that is no number"),
        ({"score": None}, "result 0 .*score None"),
    ]:
        path.write_text(json.dumps([{**content[0], **change}]))
        with pytest.raises(InputError, match=sentence):
            measure_steadiness([path], video)
    with pytest.raises(InputError, match="does not exist"):
        measure_steadiness([tmp_path / "none.json"], video)
    with pytest.raises(InputError, match="threshold must be from 0 to 1, got 2"):
        measure_steadiness([path], video, confidence_threshold=2)
