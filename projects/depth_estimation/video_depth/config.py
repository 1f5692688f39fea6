"""Every key that depth estimation adds to the config."""

from detectron2.config import CfgNode as CN

from videogcrf_det.config import ADDED_KEYS, add_videogcrf_config


def add_depth_config(cfg: CN) -> None:
    """Add the keys of VideoGCRF and these."""
    add_videogcrf_config(cfg)
    # ---- data ------------------------------------------------------------------------------------
    # Your own videos, as "NAME=FOLDER" each, for names in DATASETS.TRAIN and DATASETS.TEST, in the
    # layout of video_depth/layout.py. An example: ["street=/data/street"].
    cfg.DATASETS.DEPTH = []

    # ---- the network -----------------------------------------------------------------------------
    # The backbone, an FPN, is MODEL.BACKBONE.NAME; VideoDepth puts the head behind it.
    cfg.MODEL.DEPTH_HEAD = CN()
    # Features that the head reads. All are brought to the stride of the finest one and added up.
    cfg.MODEL.DEPTH_HEAD.IN_FEATURES = ["p2", "p3", "p4", "p5"]
    # Channels of its 3x3 convolutions, and their normalisation: such as "GN"; "" for none.
    cfg.MODEL.DEPTH_HEAD.CONV_DIM = 64
    cfg.MODEL.DEPTH_HEAD.NORM = "GN"
    # Metres that an untrained head says everywhere. 3.0 in rooms, 15.0 on streets.
    cfg.MODEL.DEPTH_HEAD.TYPICAL = 5.0
    # Whether log depth goes through a chain of its own, trained with labels. False: single frames,
    # with which fields can be fitted without labels (fit_video.py). The chain has of
    # MODEL.VIDEO_GCRF the keys NUM_CONVS, CONV_DIM and TEMPORAL_DIM, and with COUPLED False no
    # frame sees another. MODEL.VIDEO_GCRF.MOTION "dis": it follows the optical flow, in training
    # as well; TEST.LATENCY and MODEL.VIDEO_GCRF.STRENGTH are as with fields.
    cfg.MODEL.DEPTH_HEAD.CHAIN = True

    # ---- evaluation ------------------------------------------------------------------------------
    cfg.TEST.DEPTH = CN()
    # Metres: pixels whose true depth is outside count nowhere, and what is predicted is brought
    # inside. 80.0 as the greatest for KITTI, 10.0 for NYU.
    cfg.TEST.DEPTH.MIN = 0.001
    cfg.TEST.DEPTH.MAX = 80.0
    # Multiply what is predicted on a frame so that its median is the true one. For networks that
    # know depth up to a scale alone.
    cfg.TEST.DEPTH.MEDIAN_SCALING = False


ADDED_KEYS["VideoDepth"] = add_depth_config
