"""Drawn data sets for all tests of the project."""

from functools import partial

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from video_tracking.davis import load_davis

from tests.conftest import unregister
from tests.support.drawn import write_list, write_sequence


@pytest.fixture
def root(tmp_path):
    """A folder with "roll" and "spin" of DAVIS-2016, and "pair" with two objects of DAVIS-2017."""
    root = tmp_path / "datasets" / "DAVIS"
    write_sequence(root, "roll", year="2016")
    write_sequence(root, "spin", year="2016", num_frames=5)
    write_sequence(root, "pair", year="2017", count=2)
    write_list(root, "2016", "val", ["roll", "spin"])
    write_list(root, "2017", "val", ["pair"])
    return root


@pytest.fixture
def register(root):
    """Register the data of a year, and say under which name."""
    names = []

    def register(year):
        names.append(f"test_davis_{year}")
        DatasetCatalog.register(names[-1], partial(load_davis, root, year, "val", "240p"))
        MetadataCatalog.get(names[-1]).set(stuff_classes=["background", "object"])
        return names[-1]

    yield register
    for name in names:
        unregister(name)
