"""Small detectors of every meta-architecture, with random weights, and frames."""

import pytest
import torch
from detectron2 import model_zoo
from detectron2.config import get_cfg
from detectron2.modeling import build_model

TINY = [
    *["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.RESNETS.DEPTH", "18"],
    *["MODEL.RESNETS.RES2_OUT_CHANNELS", "64", "MODEL.FPN.OUT_CHANNELS", "16"],
    *["MODEL.RESNETS.STEM_OUT_CHANNELS", "16"],
]
RCNN = [
    *["MODEL.ROI_BOX_HEAD.FC_DIM", "32", "MODEL.RPN.POST_NMS_TOPK_TEST", "8"],
    *["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", "MODEL.ROI_HEADS.NUM_CLASSES", "3"],
]
MASK = ["MODEL.ROI_MASK_HEAD.CONV_DIM", "16", "MODEL.ROI_MASK_HEAD.NUM_CONV", "1"]
FPN = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"
ARCHITECTURES = {
    "Mask R-CNN": (FPN, [*RCNN, *MASK]),
    "Cascade": ("Misc/cascade_mask_rcnn_R_50_FPN_1x.yaml", [*RCNN, *MASK]),
    "keypoints": (
        "COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x.yaml",
        [*RCNN, "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS", "(8, 8)"],
    ),
    "C4": (
        "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x.yaml",
        [*RCNN, *["MODEL.RESNETS.DEPTH", "50", "MODEL.RESNETS.RES2_OUT_CHANNELS", "32"]],
    ),
    "RetinaNet": (
        "COCO-Detection/retinanet_R_50_FPN_1x.yaml",
        ["MODEL.RETINANET.SCORE_THRESH_TEST", "0.0", "MODEL.RETINANET.NUM_CLASSES", "3"],
    ),
    "PanopticFPN": (
        "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.yaml",
        [*RCNN, *MASK, "MODEL.SEM_SEG_HEAD.NORM", ""],
    ),
    "SemanticSegmentor": (
        FPN,
        [
            *["MODEL.META_ARCHITECTURE", "SemanticSegmentor", "MODEL.SEM_SEG_HEAD.NORM", ""],
            *["MODEL.SEM_SEG_HEAD.NUM_CLASSES", "3"],
        ],
    ),
}


@pytest.fixture
def make_model():
    """A model of one of ARCHITECTURES, or FCOS or PointRend, with random weights."""

    def make(name="Mask R-CNN"):
        torch.manual_seed(0)
        if name == "FCOS":
            return fcos()
        config, opts = ARCHITECTURES["Mask R-CNN" if name == "PointRend" else name]
        cfg = get_cfg()
        if name == "PointRend":
            point_rend(cfg)
        cfg.merge_from_file(model_zoo.get_config_file(config))
        cfg.merge_from_list([*TINY, *opts])
        if name == "PointRend":
            cfg.merge_from_list(POINT_REND)
        return build_model(cfg).eval()

    return make


POINT_REND = [
    *["MODEL.ROI_MASK_HEAD.NAME", "PointRendMaskHead", "MODEL.ROI_MASK_HEAD.FC_DIM", "16"],
    *["MODEL.ROI_MASK_HEAD.NUM_FC", "1", "MODEL.POINT_HEAD.FC_DIM", "16"],
    *["MODEL.POINT_HEAD.NUM_FC", "1", "MODEL.POINT_HEAD.NUM_CLASSES", "3"],
    *["MODEL.ROI_MASK_HEAD.POINT_HEAD_ON", "True"],
    *["MODEL.ROI_MASK_HEAD.POOLER_TYPE", "", "MODEL.ROI_MASK_HEAD.IN_FEATURES", "['p2']"],
]


def point_rend(cfg):
    """Registers PointRend's heads and adds its keys."""
    from detectron2.projects.point_rend import add_pointrend_config

    add_pointrend_config(cfg)


def fcos():
    """A small FCOS, which detectron2 has for LazyConfig alone."""
    from detectron2.config import LazyCall, instantiate
    from detectron2.model_zoo import get_config

    model = get_config("COCO-Detection/fcos_R_50_FPN_1x.py").model
    model.num_classes = 3
    model.head.num_classes = 3
    model.test_score_thresh = 0.0
    assert LazyCall
    return instantiate(model).eval()


@pytest.fixture
def make_frames():
    """Frames of random pixels as models take them; each a little unlike the one before."""

    def make(number, height=64, width=96, seed=0):
        generator = torch.Generator().manual_seed(seed)
        base = torch.randint(0, 256, (3, height, width), generator=generator).float()
        frames = []
        for _ in range(number):
            noise = torch.randn(base.shape, generator=generator) * 30
            image = (base + noise).clamp(0, 255).byte()
            frames.append({"image": image, "height": height, "width": width})
        return frames

    return make
