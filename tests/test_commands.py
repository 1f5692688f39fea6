"""The command `videogcrf`, configs by name, and the wheel that brings both along."""

import contextlib
import email
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import videogcrf_det
from videogcrf_det.commands import called_as, main, run_script
from videogcrf_det.config import find_config
from videogcrf_det.engine import build_cfg
from videogcrf_det.errors import InputError

NAME = "DAVIS-Person/video_gcrf_R_50_FPN_4f"
SOURCES = ["videogcrf_det", "configs", "tools"]


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the command in this process: (exit code, stdout, stderr)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["videogcrf", *words])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return call


def test_commands_are_listed_with_a_line_each(call):
    code, out, _ = call("--help")
    assert code == 0
    listed = out.partition("commands:\n")[2].partition("\n\n")[0].splitlines()
    assert len(listed) == len(list(Path("tools").glob("*.py"))) + 1  # and evaluate
    summaries = dict(line.split(maxsplit=1) for line in listed)
    assert {"fit", "demo", "train", "evaluate", "report", "ablation"} <= summaries.keys()
    assert all(summary.endswith(".") for summary in summaries.values())
    assert call("--version")[1] == f"videogcrf {videogcrf_det.__version__}\n"


def test_a_command_that_does_not_exist(call):
    code, _, err = call("trian")
    assert code == 2
    assert "'trian'" in err
    assert "'train'" in err


def test_a_command_is_its_script_under_another_name(call, tmp_path):
    code, out, _ = call("fit", "--help")
    assert code == 0
    assert out.startswith("usage: videogcrf fit [-h] --config-file FILE")
    code, _, err = call("train", "--config-file", "DAVIS-Person/no_such_config")
    assert code == 2
    assert "error: there is no config DAVIS-Person/no_such_config" in err
    opts = ["MODEL.WEIGHTS", "", "OUTPUT_DIR", str(tmp_path), "DATASETS.TEST", "()"]
    code, _, err = call("evaluate", "--config-file", NAME, *opts)
    assert code == 2
    assert "error: there is nothing to evaluate but random weights" in err


def test_a_script_is_the_main_module_of_the_processes_it_starts(tmp_path, monkeypatch):
    """Spawned processes import the main module again, by its file, and look for functions in it."""
    script = tmp_path / "double.py"
    script.write_text(
        "import multiprocessing\n"
        "def double(n):\n"
        "    return 2 * n\n"
        "if __name__ == '__main__':\n"
        "    from videogcrf_det.commands import called_as\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(*pool.map(double, [4]), *called_as())\n"
    )
    monkeypatch.setattr(sys, "argv", sys.argv)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        run_script(script, ["videogcrf double", "--flag"])
    assert output.getvalue() == "8 videogcrf double\n"
    assert called_as() == ["python", sys.argv[0]]  # as before


def test_configs_by_name(tmp_path, monkeypatch):
    path = Path(f"configs/{NAME}.yaml").resolve()
    monkeypatch.chdir(tmp_path)  # a name means the same in every folder
    for name in (NAME, f"{NAME}.yaml", str(path)):
        assert Path(find_config(name)).samefile(path)
    assert f"output/{NAME}" == build_cfg(NAME).OUTPUT_DIR
    assert find_config("lazy/video_gcrf_R_50_FPN_4f.py").endswith("FPN_4f.py")
    zoo = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"
    assert find_config(zoo) == find_config(f"{zoo}.yaml")
    (tmp_path / "DAVIS-Person").mkdir()
    Path(f"{NAME}.yaml").write_text("SEED: 7\n")
    assert build_cfg(f"{NAME}.yaml").SEED == 7  # a file that is there comes first
    with pytest.raises(InputError, match=r"there is no config DAVIS-Person.*: check the path"):
        find_config("DAVIS-Person")


def build(hook, source, target):
    """Call a hook of the build backend as `python -m build` does; the file that it makes."""
    target.mkdir()
    script = f"import sys; from setuptools import build_meta; build_meta.{hook}(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", script, str(target)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return next(target.iterdir())


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packaging")
    source = folder / "source"
    for name in SOURCES:
        shutil.copytree(name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in Path().iterdir():
        if path.is_file():
            shutil.copy(path, source)
    return build("build_sdist", source, folder / "sdist")


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Made from the sdist alone, so that neither lacks a file."""
    folder = tmp_path_factory.mktemp("packaging")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return build("build_wheel", folder / sdist.name.removesuffix(".tar.gz"), folder / "wheel")


@pytest.mark.slow
def test_the_wheel_has_all_that_the_package_needs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        entries = archive.read(f"{info}/entry_points.txt").decode()
    here = {
        *(p.as_posix() for p in Path("videogcrf_det").rglob("*") if p.is_file()),
        *(f"videogcrf_det/{p}" for f in ("configs", "tools") for p in Path(f).rglob("*.*")),
    }
    missing = {name for name in here - names if "__pycache__" not in name}
    assert not missing
    assert {name.partition("/")[0] for name in names} == {"videogcrf_det", info}
    assert "videogcrf = videogcrf_det.commands:main" in entries
    assert metadata["Version"] == videogcrf_det.__version__
    assert metadata["License"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE", "THIRD_PARTY.md"]
    required = {word.split(">")[0] for word in metadata.get_all("Requires-Dist")}
    assert not {"torch", "torchvision", "detectron2"} & required  # a machine's own stay


RUN = """
import sys, videogcrf_det
from videogcrf_det.engine import build_cfg
assert videogcrf_det.__file__.startswith(sys.argv[1]), videogcrf_det.__file__
print(build_cfg(sys.argv[2]).OUTPUT_DIR)
sys.argv[1:] = ["train", "--help"]
videogcrf_det.commands.main()
"""


@pytest.mark.slow
def test_the_wheel_runs_without_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    done = subprocess.run(
        [sys.executable, "-c", "import videogcrf_det.commands" + RUN, str(site), NAME],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"output/{NAME}"
    assert lines[1].startswith("usage: videogcrf train [-h] [--config-file FILE]")
