"""Bad table files get one sentence, and nothing is run."""

import pytest

from tests.ablation.conftest import row
from videogcrf_det import InputError
from videogcrf_det.ablation import load_table, run_ablation

AXIS = {"name": "x", "values": {1: {"X": 1}, 2: {"X": 2}}}
OTHER = {"name": "y", "values": {1: {"Y": 1}, 2: {"Y": 2}}}


def grid(**changes):
    return {"grid": {"rows": AXIS, "columns": OTHER, **changes}}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rwos": []}, "unknown key 'rwos': there are title, "),
        ({"title": None}, "the table has no title"),
        ({"title": ["a"]}, r"\['a'\] as title, where a text is needed"),
        ({"rows": None}, "no rows"),
        ({"rows": []}, "no rows"),
        ({"rows": ["A"]}, "a row is 'A', where keys and values"),
        ({"rows": [{"opts": {}}]}, "a row has no name"),
        ({"rows": [row("A", 1), row("A", 2)]}, "2 rows have the name 'A'"),
        ({"rows": [row("A b", 1), row("A_b", 2)]}, "2 rows have the slug 'A_b'"),
        ({"rows": [row("...", 1)]}, r"the row '\.\.\.' has a name that no folder can have"),
        ({"rows": [row("A", 1, args='--x "open')]}, r"args are '--x \"open' .No closing quotation"),
        ({"opts": {1: 2}}, "the table sets 1, where the key of a config is needed"),
        ({"rows": [row("A", 1, phase="joint")]}, "a row has the unknown key 'phase'"),
        ({"rows": [row("A", 1, paper={"AP": 3})]}, "'AP', which is no column: use mIoU"),
        ({"rows": [row("A", 1, paper={"mIoU": "3"})]}, "'3' as the paper's mIoU"),
        ({"rows": [row("A", 1, results="{here}")]}, r"unknown placeholder \{here\}"),
        ({"rows": [row("A", "{here}")]}, r"unknown placeholder \{here\}"),
        ({"rows": [{"name": "A", "opts": {"OUTPUT_DIR": "x"}}]}, "the row 'A' sets OUTPUT_DIR"),
        ({"config": None}, "the row 'A' has no config"),
        ({"config": "other.yaml"}, "the config other.yaml is not there .*other.yaml"),
        ({"command": "other.py"}, "the command other.py is not there"),
        ({"columns": {}}, "no columns"),
        ({"columns": {"AP": {"format": ".1f"}}}, "the column 'AP' has no path"),
        ({"columns": {"AP": {"path": "x", "format": ".q"}}}, "the format '.q'"),
        ({"plot": "AP"}, "plot is 'AP', which is no column: use mIoU"),
        ({"baseline": "C"}, "'A' has the baseline 'C', which is no row: use A, B"),
        ({"seeds": []}, "seeds are"),
        ({"seeds": [1, "2"]}, "seeds are"),
        ({"seeds": [1, 1]}, "name each once"),
        ({"rows": [row("A", 1, seeds=[])]}, "seeds are"),
        ({"rows": [row("A", 1, seeds=[3])], "seeds": [0, 1]}, "'A' has seeds .3.: use some of"),
        ({"opts": {"SEED": 3}}, "the table sets SEED, which follows from seeds"),
        ({"grid": {"rows": AXIS}}, "the grid has no columns"),
        (grid(columns=AXIS), "both set X"),
        (grid(columns={"name": "y", "values": {}}), "columns of the grid have no values"),
        (grid(columns={"name": "y", "values": {1: 2}}), "columns of the grid have 2 at 1"),
        (grid(same={3: {1: 2}}), "same of the grid names '3'"),
        (grid(same={1: {1: 3}}), "same of the grid names '3'"),
        (grid(same={1: {1: 2, 2: 1}}), "leads from '1' to '2' and on"),
    ],
)
def test_bad_content(folder, write, changes, sentence):
    path = write(**changes)
    with pytest.raises(InputError, match=sentence) as error:
        run_ablation(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (folder / "out").exists()


def test_bad_files(folder):
    with pytest.raises(InputError, match=r"nowhere.yaml cannot be read .No such file"):
        load_table("nowhere.yaml")
    (folder / "bad.yaml").write_text("title: [")
    with pytest.raises(InputError, match=r"bad.yaml is no YAML"):
        load_table("bad.yaml")
    (folder / "bad.yaml").write_text("just words")
    with pytest.raises(InputError, match=r"bad.yaml: the table is 'just words'"):
        load_table("bad.yaml")


def test_paths_start_at_the_table_file(folder, write, monkeypatch):
    (folder / "tables").mkdir()
    path = write("tables/table.yaml", command="../train.py", config="../config.yaml")
    table = load_table(path.relative_to(folder))
    assert (table.rows[0].command, table.rows[0].config) == ("train.py", "config.yaml")
