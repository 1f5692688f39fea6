"""The tables in docs/results.md say what the files that they were made into say."""

import json
from pathlib import Path

import pytest

from videogcrf_det.ablation import load_table
from videogcrf_det.ablation.results import MISSING

RECORDED = sorted(Path("docs/tables").glob("*.json"))
PAGE = Path("docs/results.md")


def lines_of(text):
    """The lines of Markdown tables as lists of cells."""
    rows = [line.strip(" |").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("*") for cell in row] for row in rows]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded(path):
    (file,) = Path().glob(f"**/tables/{path.stem}.yaml")
    table, content = load_table(file), json.loads(path.read_text())
    page = lines_of(PAGE.read_text())
    assert content["rows"]
    for name, row in content["rows"].items():
        cells = []
        for column in table.columns:
            mean, spread = (row[kind][column.heading] for kind in ("mean", "spread"))
            text = MISSING if mean is None else format(mean, column.format)
            cells.append(f"{text} ± {spread:{column.format}}" if spread else text)
        if row["runs"]:
            assert [name, *cells] in [line[: len(cells) + 1] for line in page], name
