import functools
import json
import re

import pytest

from videogcrf_det import quickstart
from videogcrf_det.data.mini_davis import make_mini_davis

CONFIG = "configs/quick_schedules/mini_davis_mask_rcnn_R_18_FPN.yaml"
SHORT = ["SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "1"]


@pytest.mark.slow
def test_demo_goes_through_and_goes_on(tmp_path, capsys, monkeypatch):
    """Two iterations detect nothing worth showing, but every file must be there."""
    small = {"num_train": 2, "num_val": 1, "num_frames": 10}
    monkeypatch.setattr(quickstart, "make_mini_davis", functools.partial(make_mini_davis, **small))
    monkeypatch.setattr(quickstart, "ITERATIONS", 2)
    page = quickstart.run_quickstart(CONFIG, tmp_path, SHORT)
    results = json.loads((tmp_path / "results.json").read_text())
    for run in ("per_frame", "steady"):
        for frames in ("degraded", "clear"):
            assert {"AP", "AP50", "AP75"} <= results[run][frames]["segm"].keys()
    assert (tmp_path / "fields.pth").stat().st_size > 0
    assert (tmp_path / "fields_fit/before_and_after.png").stat().st_size > 0
    assert (tmp_path / "videos/stroll-000.mp4").stat().st_size > 0
    links = re.findall(r'(?:src|href)="([^"#]+)"', page.read_text())
    assert "videos/stroll-000.mp4" in links
    for link in links:
        assert (page.parent / link).exists(), link
    assert "With fields" in page.read_text()
    assert str(page) in capsys.readouterr().out

    checkpoint = tmp_path / "per_frame/model_final.pth"
    written = checkpoint.stat().st_mtime_ns
    quickstart.run_quickstart(CONFIG, tmp_path, SHORT)
    assert checkpoint.stat().st_mtime_ns == written  # nothing is trained again
