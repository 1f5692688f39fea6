"""The documentation builds, with every link and every formula."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")
pytest.importorskip("mkdocstrings")
pytest.importorskip("latex2mathml")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_in_the_site(site):
    pages = {p.relative_to("docs").with_suffix(".html") for p in Path("docs").rglob("*.md")}
    assert {page for page in pages if not (site / page).is_file()} == set()


@pytest.mark.slow
def test_formulas_are_drawn_by_the_browser(site):
    method = (site / "method.html").read_text()
    assert method.count("<math") > 200
    assert "\\(" not in method
    assert "\\frac" not in method
    assert "<mi>&</mi>" not in method  # columns of an environment that is not known


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|img|link|iframe)\b[^>]*?(?:src|href)="?(https?:[^"\s>]+)', page.read_text()
        )
        assert loaded == [], page


@pytest.mark.slow
def test_the_api_is_documented(site):
    steady = (site / "api/steady.html").read_text()
    for name in ("attach.attach", "attach.detect_video", "fields.SteadyFields.load"):
        assert f'id="videogcrf_det.steady.{name}"' in steady
    assert "<code>latency</code>" in steady
