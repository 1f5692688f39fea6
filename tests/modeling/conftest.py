"""Small detectors and clips of random frames."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances

from tests.conftest import CONFIG
from videogcrf_det.engine import build_cfg

BASELINE = ["MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone"]
STOCK = [*BASELINE, "MODEL.META_ARCHITECTURE", "GeneralizedRCNN"]
C4 = [
    *["MODEL.RESNETS.OUT_FEATURES", "['res4']", "MODEL.RESNETS.DEPTH", "50"],
    *["MODEL.RESNETS.NORM", "BN", "MODEL.RESNETS.RES2_OUT_CHANNELS", "32"],
    *["MODEL.RESNETS.STEM_OUT_CHANNELS", "16"],
    *["MODEL.VIDEO_GCRF.BACKBONE_NAME", "build_resnet_backbone"],
    *["MODEL.VIDEO_GCRF.IN_FEATURES", "['res4']"],
    *["MODEL.RPN.IN_FEATURES", "['res4']", "MODEL.ROI_HEADS.IN_FEATURES", "['res4']"],
    *["MODEL.ANCHOR_GENERATOR.SIZES", "[[16, 32, 64]]", "MODEL.ROI_HEADS.NAME", "Res5ROIHeads"],
    *["MODEL.ROI_MASK_HEAD.NUM_CONV", "0"],
]


@pytest.fixture
def make_detector():
    """A detector of the demo's config with some keys changed, weights drawn with one seed."""

    def make(*opts):
        torch.manual_seed(0)
        return build_model(build_cfg(CONFIG, [*map(str, opts)])).eval()

    return make


@pytest.fixture
def make_clip():
    """A clip of random frames with one instance each."""

    def make(num_frames, height=96, width=128, seed=0):
        generator = torch.Generator().manual_seed(seed)
        frames = []
        for index in range(num_frames):
            image = torch.randint(0, 256, (3, height, width), generator=generator).byte()
            mask = torch.zeros(1, height, width, dtype=torch.bool)
            mask[:, 20:80, 30 + index : 60 + index] = True
            instances = Instances((height, width))
            instances.gt_boxes = BitMasks(mask).get_bounding_boxes()
            assert isinstance(instances.gt_boxes, Boxes)
            instances.gt_classes = torch.zeros(1, dtype=torch.long)
            instances.gt_masks = BitMasks(mask)
            frames.append(
                {"image": image, "height": height, "width": width, "instances": instances}
            )
        return {"frames": frames}

    return make


@pytest.fixture
def equal_detections():
    """Whether two lists of outputs hold the same detections but for rounding, and at least one."""

    def equal(first, second):
        pairs = [(a["instances"], b["instances"]) for a, b in zip(first, second, strict=True)]
        assert any(len(a) for a, _ in pairs), "nothing was detected: the comparison is empty"
        return all(
            len(a) == len(b)
            and torch.allclose(a.pred_boxes.tensor, b.pred_boxes.tensor, rtol=0, atol=1e-3)
            and torch.allclose(a.scores, b.scores, rtol=0, atol=1e-5)
            and (a.pred_masks != b.pred_masks).sum() <= 1e-3 * a.pred_masks.numel()
            for a, b in pairs
        )

    return equal
