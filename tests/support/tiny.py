"""A segmentor with few channels, and a data set with three labels for it to look at."""

from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from PIL import Image

from tests.conftest import unregister
from videogcrf_det.engine import build_cfg
from videogcrf_det.segmentation import add_segmentation_config

CONFIG = "projects/semantic_segmentation/configs/CamVid/quick_R_50_3f.yaml"
NAMES, COLOURS = ["floor", "box", "ball"], [(0, 0, 0), (200, 120, 40), (40, 90, 220)]
VOID = 255
TINY = [
    *["MODEL.RESNETS.STEM_OUT_CHANNELS", "8", "MODEL.RESNETS.RES2_OUT_CHANNELS", "8"],
    *["MODEL.RESNETS.WIDTH_PER_GROUP", "4", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "8"],
    *["MODEL.SEM_SEG_HEAD.NORM", "''", "MODEL.SEM_SEG_HEAD.POOL_SCALES", "[1]"],
    *["MODEL.SEM_SEG_HEAD.NUM_CLASSES", "3", "MODEL.SEM_SEG_HEAD.IGNORE_VALUE", str(VOID)],
    *["MODEL.VIDEO_GCRF.CONV_DIM", "8", "MODEL.VIDEO_GCRF.NUM_CONVS", "1"],
    *["MODEL.VIDEO_GCRF.SPATIAL_DIM", "4", "MODEL.VIDEO_GCRF.TEMPORAL_DIM", "3"],
    *["MODEL.PIXEL_STD", "[50.0, 50.0, 50.0]", "INPUT.MIN_SIZE_TEST", "48"],
    *["INPUT.CLIP.NUM_FRAMES", "3"],
]


def label_map(number):
    """A box that goes right and a ball that stays, on the floor below a strip of void."""
    labels = np.zeros((48, 64), np.uint8)
    labels[:6] = VOID
    labels[20:36, 4 * number : 4 * number + 16] = 1
    rows, columns = np.indices(labels.shape)
    labels[(rows - 38) ** 2 + (columns - 50) ** 2 < 50] = 2
    return labels


def frame_of(number, noise_seed=0):
    """A frame (48, 64, 3), RGB: the labels in plain colours, and noise."""
    colours = np.zeros((256, 3))
    colours[:3], colours[VOID] = [(120, 120, 120), (220, 60, 60), (60, 60, 220)], 30
    noise = np.random.default_rng(number + noise_seed).normal(0, 8, (48, 64, 3))
    return (colours[label_map(number)] + noise).clip(0, 255).astype(np.uint8)


def make_weights(cfg, path):
    """Random weights with which the random field changes the labels, and many are seen."""
    torch.manual_seed(0)
    model = build_model(cfg)
    for branch in model.crf.field.children():
        torch.nn.init.normal_(branch.embed.weight, std=1.0)
    torch.nn.init.normal_(model.head.classifier.weight, std=1.0)
    torch.save({"model": model.state_dict()}, path)


@pytest.fixture(scope="session")
def frames_folder(tmp_path_factory):
    """A folder with eight frames, 00.png, 01.png, ..., and one with their labels beside it."""
    folder = tmp_path_factory.mktemp("room") / "frames"
    for name in ("frames", "labels"):
        folder.with_name(name).mkdir()
    for number in range(8):
        Image.fromarray(frame_of(number)).save(folder / f"{number:02d}.png")
        Image.fromarray(label_map(number)).save(folder.with_name("labels") / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="session")
def room(frames_folder):
    """The registered name of a data set: the frames as one video."""
    name = "test_semantic_room"
    records = [
        {
            "file_name": str(path),
            "sem_seg_file_name": str(frames_folder.with_name("labels") / path.name),
            "image_id": path.stem,
            "height": 48,
            "width": 64,
            "video_id": "room",
            "video_name": "room",
            "frame_id": number,
        }
        for number, path in enumerate(sorted(frames_folder.iterdir()))
    ]
    DatasetCatalog.register(name, lambda: records)
    MetadataCatalog.get(name).set(
        stuff_classes=NAMES, stuff_colors=COLOURS, ignore_label=VOID, evaluator_type="sem_seg"
    )
    yield name
    unregister(name)


@pytest.fixture(scope="session")
def tiny(room, tmp_path_factory):
    """Overrides of CONFIG: the segmentor with weights."""
    opts = [*TINY, "DATASETS.TEST", f"('{room}',)"]
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    make_weights(build_cfg(CONFIG, opts, add_segmentation_config), path)
    return [*opts, "MODEL.WEIGHTS", str(path)]


@pytest.fixture
def make_cfg(tiny):
    """The config of the segmentor, with further overrides."""

    def make(*opts):
        return build_cfg(CONFIG, [*tiny, *map(str, opts)], add_segmentation_config)

    return make


PROJECT = Path(__file__).parents[2] / "projects" / "semantic_segmentation"


def write(path, size, value=0):
    """An image of the (width, height) ``size``: a label map, or with three values a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = "L" if isinstance(value, int) else "RGB"
    Image.new(mode, size, value).save(path)
