"""A segmentor whose unaries come with the frames, and a clip for it."""

import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model

from videogcrf_det.segmentation import add_segmentation_config

LABELS = 2
OPTS = [
    *["MODEL.META_ARCHITECTURE", "VideoSegmentor", "MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", ""],
    *["MODEL.SEM_SEG_HEAD.NAME", "GivenUnaries", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", LABELS],
    *["MODEL.RESNETS.OUT_FEATURES", ["res3"], "MODEL.VIDEO_GCRF.IN_FEATURES", ["res3"]],
    *["MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.RESNETS.RES2_OUT_CHANNELS", 8],
    *["MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "MODEL.RESNETS.WIDTH_PER_GROUP", 4],
    *["MODEL.VIDEO_GCRF.SPATIAL_DIM", 4, "MODEL.VIDEO_GCRF.TEMPORAL_DIM", 3],
    *["MODEL.VIDEO_GCRF.CONV_DIM", 8, "MODEL.VIDEO_GCRF.FUSION", "replace"],
    *["INPUT.CLIP.NUM_FRAMES", 3],
]


def make(*opts):
    cfg = get_cfg()
    add_segmentation_config(cfg)
    cfg.merge_from_list([*OPTS, *opts])
    torch.manual_seed(0)
    return build_model(cfg).double()


def make_clip(size=(40, 56)):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": 255 * torch.rand(3, *size, generator=generator),
            "unary": torch.randn(LABELS, *size, generator=generator, dtype=torch.float64),
            "sem_seg": torch.randint(0, LABELS, size, generator=generator),
            "height": size[0],
            "width": size[1],
        }
        for _ in range(3)
    ]
