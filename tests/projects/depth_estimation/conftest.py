"""Drawn videos with depth in the layout of own data, and a network with few channels."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from video_depth import add_depth_config
from video_depth.layout import own_videos

from videogcrf_det.data.mini_davis import DEPTH_UNIT, make_mini_davis
from videogcrf_det.engine import build_cfg

CONFIG = "projects/depth_estimation/configs/MiniDAVIS/R_18_4f.yaml"
TINY = [
    *["MODEL.RESNETS.STEM_OUT_CHANNELS", "32", "MODEL.WEIGHTS", ""],
    *["MODEL.FPN.OUT_CHANNELS", "32", "MODEL.DEPTH_HEAD.CONV_DIM", "32"],
    *["MODEL.VIDEO_GCRF.TEMPORAL_DIM", "4"],
    *["MODEL.VIDEO_GCRF.NUM_CONVS", "1", "MODEL.VIDEO_GCRF.CONV_DIM", "8"],
    *["INPUT.MIN_SIZE_TRAIN", "(48,)", "INPUT.MIN_SIZE_TEST", "48", "INPUT.CLIP.NUM_FRAMES", "3"],
    *["SOLVER.IMS_PER_BATCH", "2", "SOLVER.AMP.ENABLED", "False"],
]


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """The parent of ``mini_davis`` and ``mini_davis_degraded``, drawn with depth."""
    root = tmp_path_factory.mktemp("depth")
    options = {"num_train": 2, "num_val": 1, "num_frames": 5, "size": (48, 64), "speed": 0.4}
    make_mini_davis(root / "mini_davis", **options, depth=True)
    make_mini_davis(root / "mini_davis_degraded", **options, depth=True, degraded=0.4)
    return root


@pytest.fixture(scope="session")
def own_root(drawn, tmp_path_factory):
    """The training videos in the layout of own data; one frame has no depth map."""
    root = tmp_path_factory.mktemp("own")
    (root / "depth.json").write_text(json.dumps({"metres_per_level": DEPTH_UNIT}))
    for name in ("walk-000", "walk-001"):
        (root / name).mkdir()
        for kind, folder in (("frames", "JPEGImages"), ("depth", "Depth")):
            source = drawn / "mini_davis" / folder / "48p" / name
            (root / name / kind).mkdir()
            for path in source.iterdir():
                (root / name / kind / path.name).write_bytes(path.read_bytes())
    (root / "walk-001/depth/00002.png").unlink()
    return root


@pytest.fixture(scope="session")
def videos(own_root):
    """The registered name of those."""
    name = "test_depth_videos"
    DatasetCatalog.register(name, lambda: own_videos(own_root))
    yield name
    DatasetCatalog.remove(name)


@pytest.fixture
def small(videos, tmp_path):
    """Overrides of CONFIG: the small network on the videos, with its output in tmp_path/run."""
    own = ["DATASETS.TRAIN", f"('{videos}',)", "DATASETS.TEST", f"('{videos}',)"]
    return [*TINY, *own, "OUTPUT_DIR", str(tmp_path / "run")]


@pytest.fixture
def make_cfg(small):
    """The config of the network, with further overrides."""

    def make(*opts):
        return build_cfg(CONFIG, [*small, *map(str, opts)], add_depth_config)

    return make


@pytest.fixture
def make_model():
    """A network of a config with random weights, whose chain links what it sees."""

    def make(cfg, spread=0.5):
        torch.manual_seed(0)
        model = build_model(cfg).eval()
        torch.nn.init.normal_(model.backbone.head.predictor.weight, std=0.3)
        if model.chain is not None:
            torch.nn.init.normal_(model.chain["log_depth"].branch.embed.weight, std=spread)
        return model

    return make


@pytest.fixture
def frames(own_root):
    """The frames of a video, (H, W, 3) uint8 BGR."""
    import cv2

    paths = sorted((own_root / "walk-000/frames").iterdir())
    return [np.asarray(cv2.imread(str(path)), np.uint8) for path in paths]
