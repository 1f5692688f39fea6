"""Many videos: shared, each done once, whoever is killed."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import CONFIG, SMALL
from tests.support.squares import SquareDetector, squares
from videogcrf_det import InputError, batch
from videogcrf_det.batch import MOST_DEATHS, find_jobs, process_videos
from videogcrf_det.demo_loop import changed_cfg
from videogcrf_det.engine import build_cfg

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has no other than the second
CODE = -KILL if os.name == "posix" else int(KILL)  # the exit code of what was killed so
# the tool with another detector, which is killed once, on the third frame of a video so high
TOOL = f"""
import os, runpy
from pathlib import Path
from tests.support.squares import SquareDetector
from videogcrf_det import batch
from videogcrf_det.cli import run_tool

class Mortal(SquareDetector):
    def __call__(self, frames):
        for number, prediction in enumerate(super().__call__(frames)):
            if number == 2 and len(prediction.frame) == 100 and not Path({{died!r}}).exists():
                Path({{died!r}}).touch()
                os.kill(os.getpid(), {int(KILL)})
            yield prediction

batch.predictor_of = lambda cfg, gap: Mortal(cfg)
if __name__ == "__main__":
    run_tool(runpy.run_path("tools/process_videos.py")["main"])
"""


@pytest.fixture
def cfg():
    return build_cfg(CONFIG, [*SMALL, "MODEL.ROI_HEADS.NUM_CLASSES", "2"])


@pytest.fixture
def videos(tmp_path):
    """Four folders of frames with two squares each, below a folder; c is of another height."""
    for index, name in enumerate("abcd"):
        folder = tmp_path / "videos" / name
        folder.mkdir(parents=True)
        for number in range(3 + index):
            image = squares(number)[: 100 if name == "c" else 120]
            Image.fromarray(image).save(folder / f"{number}.png")
    return tmp_path / "videos"


@pytest.fixture
def run(cfg, videos, tmp_path, monkeypatch):
    """Process the videos in this process; gives the names that were done and the summary."""
    monkeypatch.setattr(batch, "predictor_of", lambda cfg, gap: SquareDetector(cfg))
    done = []
    detect = batch.detect_to_file

    def noted(job, *others):
        done.append(job.name)
        return detect(job, *others)

    monkeypatch.setattr(batch, "detect_to_file", noted)

    def run(output="out", cfg=cfg, **options):
        done.clear()
        try:
            process_videos(cfg, [str(videos)], tmp_path / output, **options)
        finally:
            path = tmp_path / output / "summary.json"
            summary = json.loads(path.read_text()) if path.exists() else None
        return done[:], summary

    return run


def statuses(summary):
    return {Path(each["video"]).name: each["status"] for each in summary["videos"]}


def detections_of(output, name):
    return json.loads((output / "detections" / f"{name}.json").read_text())


def command(videos, tmp_path, *words):
    tool = tmp_path / "tool.py"
    tool.write_text(TOOL.format(died=str(tmp_path / "died")))
    return [
        *[tool, "--config-file", CONFIG, "--videos", videos, "--output", tmp_path / "out", *words],
        *["--opts", *SMALL, "MODEL.ROI_HEADS.NUM_CLASSES", 2],
    ]


@pytest.fixture
def start_tool(start):
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    return lambda words: start(*words, PYTHONPATH=path)


@pytest.mark.slow
def test_one_of_two_processes_is_killed(start_tool, videos, tmp_path, run):
    """The other one does its videos, the one that it was at from the start."""
    code, out, err = start_tool(command(videos, tmp_path, "--num-gpus", 2))
    assert code == 0, err
    assert (tmp_path / "died").exists()
    assert f"a process ended early (exit code {CODE}), and others did its videos" in out
    assert [out.count(f"{name}: done, ") for name in "abcd"] == [1] * 4
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert statuses(summary) == dict.fromkeys("abcd", "done")
    _, alone = run("alone")
    for name in "abcd":
        assert detections_of(tmp_path / "out", name) == detections_of(tmp_path / "alone", name)
    for key in ("frames", "detections", "tracks"):
        assert summary[key] == alone[key]


@pytest.mark.slow
def test_a_second_run_goes_on(start_tool, videos, tmp_path, run):
    assert start_tool(command(videos, tmp_path))[0] == CODE
    records = sorted((tmp_path / "out" / "records").glob("*.json"))
    assert [path.stem for path in records] == ["a", "b"]
    assert not (tmp_path / "out" / "detections" / "c.json").exists()
    done, summary = run()
    assert done == ["c", "d"]
    assert statuses(summary) == dict.fromkeys("abcd", "done")
    assert len(detections_of(tmp_path / "out", "c")) == 10


def test_summary(run):
    done, summary = run()
    assert done == ["a", "b", "c", "d"]
    assert [(each["frames"], each["detections"]) for each in summary["videos"]] == [
        (3, 6),
        (4, 8),
        (5, 10),
        (6, 12),
    ]
    assert {each["tracks"] for each in summary["videos"]} == {2}
    assert (summary["frames"], summary["detections"], summary["tracks"]) == (18, 36, 8)
    assert summary["seconds"] > 0
    assert run() == ([], summary)


def test_a_video_that_fails_does_not_keep_the_others(run, videos, monkeypatch, tmp_path):
    good = (videos / "b" / "0.png").read_bytes()
    (videos / "b" / "0.png").write_bytes(good[:100])
    (videos / "d" / "5.png").write_bytes(good[:100])
    with pytest.raises(InputError, match=r"1 of 4 videos failed, .*b: only 0 of 4 frames of b"):
        run()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert statuses(summary) == {"a": "done", "b": "failed", "c": "done", "d": "part"}
    assert not (tmp_path / "out" / "detections" / "b.json").exists()
    (videos / "b" / "0.png").write_bytes(good)
    done, summary = run()
    assert done == ["b"]
    assert statuses(summary)["b"] == "done"


def test_whatever_goes_wrong_is_written_down(run, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(SquareDetector, "__call__", lambda self, frames: 1 / 0)
    with pytest.raises(InputError, match=r"4 of 4 videos failed, .*ZeroDivisionError: division"):
        run()
    assert capsys.readouterr().err.count("ZeroDivisionError") == 4


def test_a_video_that_kills_is_left_alone(run, videos, tmp_path):
    lock = tmp_path / "out" / "records" / "b.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("+" * MOST_DEATHS)
    with pytest.raises(InputError, match=r"videos.b: 3 processes were killed"):
        run()
    assert run()[0] == ["b"]  # once more


def test_shares_of_machines_and_of_torchrun(run, monkeypatch):
    assert run("first", machines=3, machine=1)[0] == ["b"]
    assert run("first", machines=3, machine=0)[0] == ["a", "d"]
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run("second")[0] == ["c", "d", "a", "b"]  # all, since there is no other process
    with pytest.raises(InputError, match="torchrun starts the processes"):
        run(processes=2)


def test_waits_for_what_another_process_is_at(run, videos, tmp_path, monkeypatch):
    job = find_jobs([str(videos)], tmp_path / "out")[1]
    monkeypatch.setattr(batch, "PATIENCE", 0)
    waited = []

    def wait(_):
        waited.append(job.record)
        if len(waited) == 3:
            claim.__exit__(None, None, None)  # the other one dies

    monkeypatch.setattr(batch.time, "sleep", wait)
    claim = job.claimed()
    assert claim.__enter__() is not None
    assert run()[0] == ["a", "c", "d", "b"]
    assert waited == [None] * 3


def test_bad_input(run, cfg, videos, tmp_path):
    run()
    with pytest.raises(InputError, match=r"other options .*NMS_THRESH_TEST: 0.3.*--output"):
        run(cfg=changed_cfg(cfg, "MODEL.ROI_HEADS.NMS_THRESH_TEST", 0.3))
    with pytest.raises(InputError, match=r"other options .*--fill-gaps 2"):
        run(longest_gap=2)
    for options, sentence in [
        ({"processes": 0}, "--num-gpus must be at least 1, got 0"),
        ({"machines": 2, "machine": 2}, "--machine-rank must be from 0 to 1, got 2"),
        ({"confidence_threshold": 2}, "--confidence-threshold must be from 0 to 1, got 2"),
        ({"longest_gap": -1}, "--fill-gaps must be at least 0, got -1"),
    ]:
        with pytest.raises(InputError, match=sentence):
            run(**options)
    (tmp_path / "others" / "a").mkdir(parents=True)
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "others" / "a" / "0.png")
    with pytest.raises(InputError, match=r"two videos called a, .*name a folder that has both"):
        find_jobs([str(videos), str(tmp_path / "others" / "a")], tmp_path)
    names = [job.name for job in find_jobs([str(tmp_path / "ot*"), str(tmp_path)], tmp_path)]
    assert names == ["a", "others/a", *(f"videos/{name}" for name in "abcd")]
