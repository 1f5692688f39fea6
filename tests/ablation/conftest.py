"""A training script that takes no time, and table files for it."""

import json

import pytest
import yaml

SCRIPT = """
import argparse, json, os, sys, time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--config-file")
parser.add_argument("--resume", action="store_true")
parser.add_argument("--phase", default="joint")
parser.add_argument("opts", nargs=argparse.REMAINDER)
args = parser.parse_args()
opts = dict(zip(args.opts[::2], args.opts[1::2]))
folder = Path(opts["OUTPUT_DIR"])
folder.mkdir(parents=True, exist_ok=True)
with (folder / "starts.txt").open("a") as stream:
    stream.write("again\\n" if args.resume and (folder / "checkpoint").exists() else "new\\n")
(folder / "checkpoint").touch()
if Path("hang").exists():
    Path("pid.partial").write_text(str(os.getpid()))
    Path("pid.partial").rename("pid")
    try:
        time.sleep(100)
    except KeyboardInterrupt:
        Path("asked").touch()
        sys.exit(130)
if opts["VALUE"] == "0" and Path("broken").exists():
    print("first")
    sys.exit("error: out of paint\\n")
if opts["VALUE"] == "nothing":
    sys.exit()
value = json.loads(opts["VALUE"])
mean = value and value + 2 * int(opts["SEED"])
results = {"sem_seg": {"mIoU": mean, "twice": value and 2 * value}}
if args.phase == "joint":
    results["pairwise"] = {"chance": 25}
file = folder / "inference" / "fake" / "evaluation.json"
file.parent.mkdir(parents=True, exist_ok=True)
file.write_text(json.dumps({"results": results, "versions": {"Fake": "1.0"}}))
if "OTHER" in opts:
    other = folder / "inference" / "other" / "evaluation.json"
    other.parent.mkdir(exist_ok=True)
    other.write_text(json.dumps({"results": {"sem_seg": {"mIoU": json.loads(opts["OTHER"])}}}))
if args.phase == "joint":
    file.with_name("cost.json").write_text(json.dumps({"parameters": 7, "iterations": None}))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with a script and a config."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "config.yaml").touch()
    return tmp_path


@pytest.fixture
def write(folder):
    """Write a table file: two rows, A and B, unless said otherwise. None removes a key."""

    def write(name="table.yaml", **changes):
        content = {
            "title": "Fakes",
            "command": "train.py",
            "config": "config.yaml",
            "dataset": "fake",
            "output": "out",
            "columns": {"mIoU": "results.sem_seg.mIoU"},
            "rows": [row("A", 10), row("B", 20)],
            **changes,
        }
        content = {key: value for key, value in content.items() if value is not None}
        path = folder / name
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write


def row(name, value, **more):
    return {"name": name, "opts": {"VALUE": value}, **more}


def starts(folder, run):
    """How often a run was started in its folder, and whether it went on each time."""
    path = folder / "out" / run / "starts.txt"
    return path.read_text().split() if path.exists() else []


def read_json(folder):
    return json.loads((folder / "out" / "table.json").read_text())
