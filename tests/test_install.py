"""detectron2's wheel is the one that was tested, or none."""

import runpy
import zipfile

import pytest

TOOL = "tools/install_detectron2.py"


@pytest.mark.slow
def test_another_file_of_the_same_name_is_refused(tmp_path, monkeypatch, capfd):
    wheel = tmp_path / "sal_detectron2-0.7.2-cp310-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("detectron2/__init__.py", "")
        info = "sal_detectron2-0.7.2.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: sal-detectron2\nVersion: 0.7.2\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: cp310-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    install = runpy.run_path(TOOL)["install"]
    assert install(str(tmp_path / "site")) != 0
    assert "DO NOT MATCH THE HASHES" in capfd.readouterr().err
    assert not (tmp_path / "site" / "detectron2").exists()
