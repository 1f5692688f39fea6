import functools
import json
import re

import pytest

from tests.conftest import CONFIG
from videogcrf_det import quickstart
from videogcrf_det.data.mini_davis import make_mini_davis

SHORT = ["SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "1"]


@pytest.mark.slow
def test_demo_goes_through_and_goes_on(tmp_path, capsys, monkeypatch):
    """Two iterations detect nothing worth showing, but every file must be there."""
    small = {"num_train": 1, "num_val": 1, "num_frames": 3}
    monkeypatch.setattr(quickstart, "make_mini_davis", functools.partial(make_mini_davis, **small))
    page = quickstart.run_quickstart(CONFIG, tmp_path, SHORT)
    results = json.loads((tmp_path / "results.json").read_text())
    assert {"AP", "AP50", "AP75"} <= results["segm"].keys()
    assert (tmp_path / "predictions/stroll-000.mp4").stat().st_size > 0
    assert len(list((tmp_path / "predictions/stroll-000").glob("*.png"))) == 3
    assert (tmp_path / "videos/stroll-000.mp4").stat().st_size > 0
    links = re.findall(r'(?:src|href)="([^"#]+)"', page.read_text())
    assert "videos/stroll-000.mp4" in links
    for link in links:
        assert (page.parent / link).exists(), link
    assert str(page) in capsys.readouterr().out

    checkpoint = tmp_path / "train/model_final.pth"
    written = checkpoint.stat().st_mtime_ns
    quickstart.run_quickstart(CONFIG, tmp_path, SHORT)
    assert checkpoint.stat().st_mtime_ns == written  # nothing is trained again
