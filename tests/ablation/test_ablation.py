"""What is run, what is left out, and what the table says in the end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest

from tests.ablation.conftest import read_json, row, starts
from tests.conftest import CONFIG, posix_only, train_net
from videogcrf_det import InputError
from videogcrf_det.ablation import load_table, plan_runs, run_ablation
from videogcrf_det.ablation.runs import ENDINGS

TOOL = Path("tools/run_ablation.py").resolve()
SEEDS = [0, 1, 4]


def cells(markdown):
    """The rows of the tables of a page, each a list of its cells."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [line for line in split if not set("".join(line)) <= set(":-")]


def table_md(folder):
    return cells((folder / "out" / "table.md").read_text())


def test_what_is_done_is_left_out(folder, write, capsys):
    path = write()
    run_ablation(path)
    run_ablation(path)
    assert starts(folder, "A/seed0") == starts(folder, "B/seed0") == ["new"]
    assert table_md(folder) == [["", "mIoU"], ["A", "10.0"], ["B", "20.0"]]
    assert cells(capsys.readouterr().out)[1:3] == [["A", "10.0"], ["B", "20.0"]]
    assert not list(folder.rglob(".*")), "temporary files"


def test_some_rows(folder, write):
    path = write()
    run_ablation(path, rows=["B"])
    assert starts(folder, "A/seed0") == []
    assert table_md(folder)[1:] == [["A", "–"], ["B", "20.0"]]  # noqa: RUF001
    assert "1 of 2 runs are done" in (folder / "out" / "table.md").read_text()
    with pytest.raises(InputError, match="no row 'C': there are A, B"):
        run_ablation(path, rows=["C"])


def test_table_only_and_dry_run_train_nothing(folder, write, capsys):
    path = write()
    run_ablation(path, dry_run=True)
    assert not (folder / "out").exists()
    run_ablation(path, table_only=True)
    assert table_md(folder)[1:] == [["A", "–"], ["B", "–"]]  # noqa: RUF001
    run_ablation(path, rows=["A"])
    capsys.readouterr()
    run_ablation(path, dry_run=True)
    out = capsys.readouterr().out
    assert "A, seed 0 (done)" in out
    assert "B, seed 0 (to do)" in out
    assert "VALUE 20 SEED 0 OUTPUT_DIR out/B/seed0" in out
    assert starts(folder, "B/seed0") == []


def test_mean_and_spread_over_seeds(folder, write):
    """10 + 2 x (0, 1, 4) by hand: squared differences to 40 / 3 of 100 / 9, 16 / 9, 196 / 9."""
    path = write(seeds=SEEDS, columns={"mIoU": {"path": "results.sem_seg.mIoU", "format": ".3f"}})
    run_ablation(path)
    values = [10, 12, 18]
    mean, spread = 40 / 3, (312 / 9 / 2) ** 0.5
    assert table_md(folder)[:2] == [["", "mIoU", "seeds"], ["A", "13.333 ± 4.163", "3"]]
    content = read_json(folder)["rows"]["A"]
    assert content["mean"] == {"mIoU": pytest.approx(mean)}
    assert content["spread"] == {"mIoU": pytest.approx(spread)}
    found = {run["seed"]: run["values"]["mIoU"] for run in content["runs"]}
    assert found == dict(zip(SEEDS, values, strict=True))
    for run in content["runs"]:
        assert run["file"] == f"out/A/seed{run['seed']}/inference/fake/evaluation.json"
        results = json.loads((folder / run["file"]).read_text())["results"]
        assert results["sem_seg"]["mIoU"] == run["values"]["mIoU"]
    assert "seeds 0, 1, 4" in (folder / "out" / "table.md").read_text()


def test_gains_are_of_the_same_seed(folder, write):
    """B has 20 + 0, 21 + 2, 24 + 8, A 10 + 0, 10 + 2, 10 + 8: gains of 10, 11 and 14 by hand."""
    rows = [row("A", 10), row("B", "2{seed}"), row("C", 7, baseline="B", seeds=[0, 4])]
    path = write(rows=rows, seeds=SEEDS, baseline="A")
    run_ablation(path)
    spread = (78 / 9 / 2) ** 0.5
    assert table_md(folder)[4:] == [
        ["", "over", "mIoU", "seeds"],
        ["B", "A", f"+{35 / 3:.1f} ± {spread:.1f}", "3"],
        ["C", "B", "-15.0 ± 2.8", "2"],  # 7 - 20, 15 - 32
    ]
    content = read_json(folder)["rows"]
    assert "gains" not in content["A"]
    assert content["B"]["baseline"] == "A"
    assert content["B"]["gains"] == {"mIoU": {"0": 10, "1": 11, "4": 14}}
    page = (folder / "out" / "index.html").read_text()
    assert "<h3>Gains over a row, seed by seed</h3>" in page


def test_a_row_with_some_of_the_seeds(folder, write):
    path = write(rows=[row("A", 10, seeds=[0]), row("B", 20)], seeds=[0, 1])
    run_ablation(path, rows=["A"])
    assert "1 of 3 runs are done" in (folder / "out" / "table.md").read_text()
    run_ablation(path)
    assert not (folder / "out" / "A" / "seed1").exists()
    assert table_md(folder)[1:] == [["A", "10.0", "1"], ["B", "21.0 ± 1.4", "2"]]
    assert "runs are done" not in (folder / "out" / "table.md").read_text()


def test_cost_beside_the_results(folder, write):
    rows = [{"name": "A", "opts": {"VALUE": 1}}, {"name": "B", "args": "--phase unary"}]
    columns = {"parameters": "cost.parameters", "iterations": "cost.iterations"}
    run_ablation(write(rows=rows, opts={"VALUE": 1}, columns=columns))
    head, *lines = table_md(folder)
    assert head == ["", "parameters", "iterations"]
    assert lines == [["A", "7.0", "–"], ["B", "–", "–"]]  # noqa: RUF001 - en dashes


def test_metrics_of_another_data_set(folder, write):
    rows = [row("A", 10), row("B", 20)]
    rows[1]["opts"]["OTHER"] = 30
    columns = {"mIoU": "results.sem_seg.mIoU", "elsewhere": "datasets.other.results.sem_seg.mIoU"}
    run_ablation(write(rows=rows, columns=columns))
    lines = table_md(folder)[1:]
    assert lines == [["A", "10.0", "–"], ["B", "20.0", "30.0"]]  # noqa: RUF001


def test_a_failing_row_does_not_keep_the_others(folder, write, capsys):
    path = write(rows=[row("A", 0), row("B", 20), row("C", "nothing")])
    (folder / "broken").touch()
    with pytest.raises(InputError, match=r"2 of 3 runs failed, first A, seed 0: .*out/A/seed0"):
        run_ablation(path)
    out = capsys.readouterr().out
    assert "A, seed 0: failed, exit code 1: error: out of paint (out/A/seed0/output.log)" in out
    assert "C, seed 0: failed, it ended without writing out/C/seed0/inference" in out
    assert table_md(folder)[1:] == [["A", "–"], ["B", "20.0"], ["C", "–"]]  # noqa: RUF001

    (folder / "broken").unlink()
    run_ablation(path, rows=["A"])
    assert starts(folder, "A/seed0") == ["new", "again"]
    assert starts(folder, "B/seed0") == ["new"]
    assert table_md(folder)[1] == ["A", "0.0"]


def test_a_result_of_an_interrupted_run_is_not_taken(folder, write):
    """TEST.EVAL_PERIOD writes result files on the way."""
    path = write()
    run_ablation(path)
    record = folder / "out/A/seed0/run.json"
    record.write_text(record.read_text().replace("true", "false"))
    run_ablation(path, table_only=True)
    assert table_md(folder)[1] == ["A", "–"]  # noqa: RUF001
    run_ablation(path)
    assert starts(folder, "A/seed0") == ["new", "again"]
    (folder / "out/A/seed0/inference/fake/evaluation.json").unlink()
    run_ablation(path)
    assert starts(folder, "A/seed0") == ["new", "again", "again"]
    assert starts(folder, "B/seed0") == ["new"]


def test_what_starts_from_a_row_is_made_again_with_it(folder, write):
    start = "{output}/A/seed0/model.pth"
    path = write(rows=[row("A", 1), {"name": "B", "opts": {"VALUE": 2, "START": start}}])
    run_ablation(path, redo=["A"])  # nothing is there yet
    with pytest.raises(InputError, match="B, seed 0, starts from what A, seed 0, trains: name 'B'"):
        run_ablation(path, redo=["A"])
    assert starts(folder, "A/seed0") == ["new"]
    run_ablation(path, redo=["A", "B"])
    run_ablation(path, redo=["B"])
    assert starts(folder, "A/seed0") == starts(folder, "B/seed0") == ["new"]


def test_a_changed_command_stops(folder, write):
    run_ablation(write())
    path = write(rows=[row("A", 10), row("B", 21)])
    sentence = "the row 'B', seed 0, was made by another command .20 in place of 21.*--redo B"
    for options in ({}, {"table_only": True}, {"redo": ["A"]}):
        with pytest.raises(InputError, match=sentence):
            run_ablation(path, **options)
    assert starts(folder, "A/seed0") == ["new"]
    (folder / "out/B/seed0/left").touch()
    run_ablation(path, redo=["B"])
    assert table_md(folder)[1:] == [["A", "10.0"], ["B", "21.0"]]
    assert starts(folder, "B/seed0") == ["new"]
    assert not (folder / "out/B/seed0/left").exists()


def test_overrides(folder, write):
    """Those of the call win over the table's, those of a row over both."""
    opts = {"X": 1, "Y": 1, "Z": [1, "a"], "FROM": "{output}/A"}
    path = write(opts=opts, rows=[row("A", 10)])
    run = plan_runs(load_table(path), {"X": "2", "VALUE": "3"})[0]
    words = " ".join(run.command)
    assert words.endswith(
        "--resume X 2 Y 1 Z [1, 'a'] FROM out/A VALUE 10 SEED 0 OUTPUT_DIR out/A/seed0"
    )
    for opts, sentence in (
        (["X"], "1 words"),
        (["SEED", "1"], "--opts sets SEED.*seeds"),
        (["FROM", "b"], r"--opts sets FROM, which is '\{output\}/A' in .*table.yaml, so that rows"),
    ):
        with pytest.raises(InputError, match=sentence):
            run_ablation(path, opts=opts)
    run_ablation(path, opts=["X", "2"], output="elsewhere")
    assert (folder / "elsewhere/table.md").exists()
    assert not (folder / "out").exists()


def test_folders_and_results_of_no_use(folder, write):
    path = write()
    (folder / "file").touch()
    with pytest.raises(InputError, match=r"folder file/out cannot be made .*name another with"):
        run_ablation(path, output="file/out")
    run_ablation(path)
    (folder / "out/A/seed0/inference/fake/evaluation.json").write_text("[1]")
    with pytest.raises(InputError, match=r"evaluation.json is not what .*'A' again with --redo"):
        run_ablation(path, table_only=True)


@posix_only
def test_readers_that_have_seen_enough(folder, write):
    path = write(rows=[row(f"row {number}", number) for number in range(2000)])
    process = start_tool(folder, path, "--dry-run")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait() == 141
    assert process.stderr.read() == ""


@posix_only
@pytest.mark.slow
def test_nohup(folder, write):
    """A terminal that is closed does not end what was started to outlive it."""
    path = write()
    process = start_hanging(folder, path, hangup=signal.SIG_IGN)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.terminate()
    process.communicate(timeout=60)


def test_results_elsewhere(folder, write):
    """A row that reads what another one left, or what it has in a folder of its own."""
    path = write(
        rows=[
            row("A", 10, results="{output}/A/seed{seed}"),
            row("B", 20, results="{output}/A/seed{seed}"),
            row("C", 30, results="{folder}/joint"),
        ],
        seeds=[0, 1],
        opts={"SHARED": "{output}/all{seed}"},
    )
    with pytest.raises(InputError, match="C, seed 0"):
        run_ablation(path)
    assert table_md(folder)[1][1] == table_md(folder)[2][1] == "11.0 ± 1.4"
    runs = plan_runs(load_table(path), {})
    assert [run.command[run.command.index("SHARED") + 1] for run in runs[2:4]] == [
        "out/all0",
        "out/all1",
    ]


def test_columns_that_a_row_cannot_have(folder, write):
    columns = {"mIoU": "results.sem_seg.mIoU", "chance": "results.pairwise.chance"}
    path = write(rows=[row("A", 1, args="--phase unary"), row("B", "null")], columns=columns)
    run_ablation(path)
    assert table_md(folder)[1:] == [["A", "1.0", "–"], ["B", "–", "25.0"]]  # noqa: RUF001
    assert read_json(folder)["rows"]["B"]["runs"][0]["values"] == {"mIoU": None, "chance": 25}


def test_columns_that_are_not_there(folder, write):
    """It is known when the last row is done, and costs no training."""
    path = write(columns={"IoU": "results.sem_seg.mIou"})
    run_ablation(path, rows=["A"])
    sentence = r"has results.sem_seg.mIou, the path of the column 'IoU'.* are results.sem_seg.mIoU"
    with pytest.raises(InputError, match=sentence):
        run_ablation(path)
    run_ablation(write())
    assert starts(folder, "A/seed0") == starts(folder, "B/seed0") == ["new"]


def test_papers_metrics_have_columns_of_their_own(folder, write):
    path = write(rows=[row("A", 10, paper={"mIoU": 11}), row("B", 20)])
    run_ablation(path)
    assert table_md(folder) == [
        ["", "mIoU", "mIoU (paper)"],
        ["A", "10.0", "11.0"],
        ["B", "20.0", "–"],  # noqa: RUF001
    ]
    assert read_json(folder)["rows"]["A"]["paper"] == {"mIoU": 11}


GRID = {
    "rows": {"name": "frames", "values": {2: {"VALUE": 2}, 7: {"VALUE": 7}}},
    "columns": {"name": "who", "values": {4: {"N": "4"}, "fc": {"N": "fc"}}},
    "same": {2: {4: "fc"}},
}


def test_grid(folder, write):
    path = write(rows=None, grid=GRID, columns={"twice": "results.sem_seg.twice"})
    run_ablation(path)
    made = sorted(p.parent.parent.name for p in folder.rglob("starts.txt"))
    assert made == ["2xfc", "7x4", "7xfc"]
    assert table_md(folder) == [["", "4", "fc"], ["2", "4.0", "4.0"], ["7", "14.0", "14.0"]]
    content = read_json(folder)
    assert content["grid"]["cells"]["2"] == {"4": "2xfc", "fc": "2xfc"}
    assert "N 4" in " ".join(content["rows"]["7x4"]["runs"][0]["command"])


def test_plots(folder, write):
    """Of several seeds, and of a grid with an empty cell; pictures are what they are called."""
    rows = [row("A", 10, paper={"mIoU": 11}), row("B", 20)]
    path = write(rows=rows, grid=GRID, seeds=SEEDS)
    run_ablation(path, rows=["A", "B", "2xfc", "7x4"])
    for name in ("table", "grid"):
        picture = cv2.imread(str(folder / "out" / f"{name}.png"))
        assert picture is not None
        assert picture.std() > 5, "it is empty"


def test_page(folder, write):
    """All cells of the table, the plot, and the commands, with nothing left to escape."""
    rows = [row("A <1>", 10, paper={"mIoU": 11}), row("B", 20)]
    run_ablation(write(rows=rows, title="Fakes & more"), rows=["B"])
    page = (folder / "out" / "index.html").read_text()
    assert "<h1>Fakes &amp; more</h1>" in page
    assert "A &lt;1&gt;, seed 0 (to do)" in page
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", page)
    assert cells == ["", "mIoU", "mIoU (paper)", "A &lt;1&gt;", "–", "11.0", "B", "20.0", "–"]  # noqa: RUF001
    assert 'src="table.png"' in page
    assert "grid.png" not in page
    assert re.search(r"<code>python \S*train\.py --config-file \S*config\.yaml ", page)


def start_tool(folder, *words, hangup=signal.SIG_DFL):
    def set_signals():
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # which pytest may have been told to ignore
        signal.signal(signal.SIGHUP, hangup)

    return subprocess.Popen(
        [sys.executable, str(TOOL), *map(str, words)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=set_signals,
    )


def start_hanging(folder, *words, **options):
    """Start the tool, and wait until a training hangs."""
    (folder / "hang").touch()
    process = start_tool(folder, *words, **options)
    while not (folder / "pid").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


@posix_only
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, *ENDINGS])
def test_interrupted(folder, write, how):
    """The training ends as well, and the next call goes on with it."""
    path = write()
    process = start_hanging(folder, path)
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in out + err
    assert (folder / "asked").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)

    (folder / "hang").unlink()
    run_ablation(path)
    assert starts(folder, "A/seed0") == ["new", "again"]
    assert starts(folder, "B/seed0") == ["new"]


@posix_only
@pytest.mark.slow
def test_two_processes_share_a_table(folder, write, capsys):
    """Nothing is made twice, or removed while it is being made."""
    path = write()
    process = start_hanging(folder, path)
    (folder / "hang").unlink()
    with pytest.raises(InputError, match="A, seed 0, is being made by another process"):
        run_ablation(path, redo=["A"])
    run_ablation(path)
    assert "A, seed 0: another process is at it" in capsys.readouterr().out
    assert table_md(folder)[1:] == [["A", "–"], ["B", "20.0"]]  # noqa: RUF001
    process.kill()
    process.communicate(timeout=60)
    run_ablation(path)
    assert "A, seed 0: another process is at it" in capsys.readouterr().out, "the training lives on"
    os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
    while starts(folder, "A/seed0") == ["new"]:
        run_ablation(path)
    assert starts(folder, "A/seed0") == ["new", "again"]
    assert starts(folder, "B/seed0") == ["new"]
    assert table_md(folder)[1:] == [["A", "10.0"], ["B", "20.0"]]


@posix_only
@pytest.mark.slow
def test_failing_rows_end_with_2(folder, write):
    (folder / "broken").touch()
    process = start_tool(folder, write(rows=[row("A", 0), row("B", 1)]))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.search(r"^error: 1 of 2 runs failed", err, re.MULTILINE)
    assert "Traceback" not in out + err
    assert ["B", "1.0"] in cells(out)


@pytest.mark.slow
def test_real_training(small, mini_root, tmp_path, monkeypatch, write):
    """tools/train_net.py, seen from the table: AP in the result file and in the table."""
    _, _, _, *opts = train_net(small)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root.parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    opts = dict(zip(opts[::2], opts[1::2], strict=True))
    del opts["OUTPUT_DIR"]
    path = write(
        command=str(TOOL.with_name("train_net.py")),
        config=str(TOOL.parents[1] / CONFIG),
        dataset="mini_davis_person_val",
        opts=opts,
        columns={"AP50": {"path": "results.segm.AP50", "format": ".3f"}},
        rows=[{"name": "2 frames"}],
    )
    run_ablation(path)
    found = json.loads(
        (
            tmp_path / "out/2_frames/seed0/inference/mini_davis_person_val/evaluation.json"
        ).read_text()
    )
    assert table_md(tmp_path)[1] == ["2 frames", f"{found['results']['segm']['AP50']:.3f}"]
    assert "PyTorch" in (tmp_path / "out/table.md").read_text()
