"""The notebook runs as it is, and shows what it says."""

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
NOTEBOOK = Path("docs/tutorial.ipynb")


def outputs(book):
    return [output for cell in book.cells for output in cell.get("outputs", ())]


@pytest.mark.slow
def test_the_tutorial_runs_and_fields_find_what_a_single_frame_loses(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    book = nbformat.read(NOTEBOOK, as_version=4)
    for cell in book.cells:
        cell.pop("outputs", None)  # those that are committed
        if cell.cell_type == "code":
            cell["outputs"] = []
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=900, kernel_name="python3", resources=where).execute()
    assert list(tmp_path.iterdir()) == []  # all that it writes is in a folder of its own
    made = outputs(book)
    assert sum("image/png" in output.get("data", {}) for output in made) == 4
    text = "".join(output.get("text", "") for output in made)
    found = re.findall(r"frame \d+: (\d+) found per frame, (\d+) with fields", text)
    assert len(found) == 2
    lone, steady = (sum(map(int, numbers)) for numbers in zip(*found, strict=True))
    assert steady > lone


def test_the_tutorial_is_small():
    """Its pictures are in every clone: few and small."""
    assert NOTEBOOK.stat().st_size < 400_000
