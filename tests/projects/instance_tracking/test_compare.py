"""Results side by side, as videos."""

import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from video_tracking.compare import compare_results, draw_frame
from video_tracking.results import write_ids

from tests.projects.instance_tracking.drawn import object_ids
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


@pytest.mark.parametrize(
    ("sequences", "spoil", "words"),
    [
        (["bear"], False, "has no sequence 'bear', only pair"),
        ([], True, r"blind/pair/00002\.png does not exist: evaluate the model"),
    ],
)
def test_bad_input(register, results, tmp_path, sequences, spoil, words):
    if spoil:
        (results["blind"] / "pair/00002.png").unlink()
    with pytest.raises(InputError, match=words):
        compare_results(register("2017"), results, tmp_path / "videos", sequences=sequences)
    assert not (tmp_path / "videos").exists()
