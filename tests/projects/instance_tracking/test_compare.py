"""Results side by side, as videos."""

import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from video_tracking.compare import compare_results, draw_frame
from video_tracking.results import write_ids

from tests.support.drawn import object_ids
from videogcrf_det.errors import InputError
from videogcrf_det.video import open_video


@pytest.fixture
def results(tmp_path):
    """Two methods: one is right, the other finds nothing."""
    for number in range(6):
        ids = object_ids(number, 2)
        write_ids(tmp_path / "right/pair" / f"{number:05d}.png", ids)
        write_ids(tmp_path / "blind/pair" / f"{number:05d}.png", np.zeros_like(ids))
    return {name: tmp_path / name for name in ("blind", "right")}


def test_videos(register, results, tmp_path):
    (video,) = compare_results(register("2017"), results, tmp_path / "videos", fps=5)
    assert video == tmp_path / "videos" / "pair.mp4"
    frames = [frame.image for frame in open_video(video)]
    assert len(frames) == 6
    assert frames[0].shape[1] > 2 * 448, "two panels, each enlarged to 448 pixels"


def test_panels_differ_where_the_methods_do(register, results):
    name = register("2017")
    objects = [record for record in DatasetCatalog.get(name) if record["frame_id"] == 3]
    both = draw_frame(objects, results)
    same = draw_frame(objects, {"blind": results["blind"], "right": results["blind"]})
    half = both.shape[1] // 2
    assert np.array_equal(both[40:, :half], same[40:, :half])
    changed = (both != same)[40:, half:].any(axis=2).mean()
    assert changed == pytest.approx((object_ids(3, 2) > 0).mean(), abs=0.08)


def test_results_of_one_object_may_be_0_and_255(register, tmp_path):
    record = next(r for r in DatasetCatalog.get(register("2016")) if r["frame_id"] == 3)
    ids = object_ids(3, 1)
    for name, value in ("ours", 1), ("theirs", 255):
        write_ids(tmp_path / name / "roll/00003.png", ids * value)
    ours, theirs = (draw_frame([record], {"same": tmp_path / n}) for n in ("ours", "theirs"))
    assert np.array_equal(ours, theirs)


def remove(file):
    file.unlink()


def shrink(file):
    write_ids(file, object_ids(2, 2)[::2, ::2])


def keep(file):
    pass


@pytest.mark.parametrize(
    ("dataset", "sequences", "spoil", "words"),
    [
        (None, ["bear"], keep, "has no sequence 'bear', only pair"),
        (None, [], remove, r"blind/pair/00002\.png does not exist: evaluate the model"),
        (None, [], shrink, r"00002\.png has 32x24 pixels, and its frame 64x48: name results"),
        ("davis_2018", [], keep, "'davis_2018' is not registered: use another, such as"),
    ],
)
def test_bad_input(register, results, tmp_path, dataset, sequences, spoil, words):
    spoil(results["blind"] / "pair/00002.png")
    with pytest.raises(InputError, match=words):
        compare_results(
            dataset or register("2017"), results, tmp_path / "videos", sequences=sequences
        )
    assert not (tmp_path / "videos").exists()
