"""The configs of the project: they can be built, and name data sets that there are."""

from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from video_tracking import add_tracking_config

from videogcrf_det.engine import build_cfg
from videogcrf_det.segmentation import phase_cfg

PATHS = sorted(Path("projects/instance_tracking/configs").glob("*/*.yaml"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_configs(path):
    cfg = build_cfg(str(path), ["MODEL.WEIGHTS", ""], add_tracking_config)
    assert {*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST} <= set(DatasetCatalog)
    first = cfg.PHASES.NAMES[0]
    model = build_model(phase_cfg(cfg, first))
    assert (model.crf is None) == (first == "unary") == ("parent" in path.stem)


def test_outputs_do_not_collide():
    folders = [build_cfg(str(path), [], add_tracking_config).OUTPUT_DIR for path in PATHS]
    assert len(folders) == len(set(folders)) > 1
