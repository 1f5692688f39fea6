"""Cityscapes' layout, on a few drawn files."""

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from PIL import Image
from video_semseg.cityscapes import COLOURS, VOID, load_cityscapes

from tests.support.tiny import CONFIG, PROJECT, TINY, write
from videogcrf_det import InputError
from videogcrf_det.checkpoint import ClipCheckpointer
from videogcrf_det.engine import build_cfg
from videogcrf_det.segmentation import add_segmentation_config

NAMES = ["bochum_000000_000313", "aachen_000001_000019", "aachen_000000_000019"]


@pytest.fixture
def root(tmp_path):
    for index, name in enumerate(NAMES):
        city = name.split("_")[0]
        write(tmp_path / f"leftImg8bit/train/{city}/{name}_leftImg8bit.png", (16, 8), (1, 2, 3))
        path = tmp_path / f"gtFine/train/{city}/{name}_gtFine_labelTrainIds.png"
        write(path, (16, 8), [0, 18, VOID][index])
    return tmp_path


def test_frames_are_videos_of_their_own(root):
    records = load_cityscapes(root, "train")
    assert [record["image_id"] for record in records] == sorted(NAMES)
    assert [record["video_id"] for record in records] == [0, 1, 2]
    assert {(record["height"], record["width"]) for record in records} == {(8, 16)}
    labels = [np.unique(Image.open(record["sem_seg_file_name"])).tolist() for record in records]
    assert labels == [[VOID], [18], [0]]
    assert len(COLOURS) == 19
    assert MetadataCatalog.get("cityscapes_semantic_val").stuff_classes == list(COLOURS)


def test_what_is_missing(root):
    with pytest.raises(InputError, match=r"leftImg8bit.val has no frames"):
        load_cityscapes(root, "val")
    labels = root / "gtFine/train/bochum" / f"{NAMES[0]}_gtFine_labelTrainIds.png"
    write(labels, (8, 8), 0)
    with pytest.raises(InputError, match=r"another size than its frame \(8x8, not 16x8\)"):
        load_cityscapes(root, "train")
    labels.unlink()
    with pytest.raises(InputError, match=r"labelTrainIds.png, which .* does not exist: .*csCreate"):
        load_cityscapes(root, "train")


def test_camvid_starts_from_all_but_the_last_layer(tmp_path):
    small = [*TINY, *["MODEL.DEVICE", "cpu", "MODEL.PHASE", "unary", "MODEL.WEIGHTS", ""]]

    def model(classes):
        opts = [*small, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", str(classes)]
        torch.manual_seed(classes)
        return build_model(build_cfg(CONFIG, opts, add_segmentation_config))

    streets, camvid = model(19), model(11)
    torch.save({"model": streets.state_dict()}, tmp_path / "model.pth")
    ClipCheckpointer(camvid, str(tmp_path)).load(str(tmp_path / "model.pth"))
    theirs, differing = streets.state_dict(), []
    for name, value in camvid.state_dict().items():
        if theirs[name].shape != value.shape:
            differing.append(name)
        else:
            assert torch.equal(value, theirs[name]), name
    assert 1 <= len(differing) <= 2, differing  # weight and bias of the last layer
    config = PROJECT / "configs/CamVid/R_101_3f_cityscapes.yaml"
    assert "Cityscapes" in build_cfg(str(config), [], add_segmentation_config).MODEL.WEIGHTS
