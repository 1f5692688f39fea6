"""Every key that video segmentation with phases of training adds to the config."""

from detectron2.config import CfgNode as CN
from detectron2.projects.deeplab import add_deeplab_config

from videogcrf_det.config import ADDED_KEYS, add_videogcrf_config

PHASES = ("unary", "pairwise", "joint")


def add_segmentation_config(cfg: CN) -> None:
    """Add the keys of VideoGCRF, of detectron2's DeepLab (for its dilated ResNet and its polynomial
    decay), and these."""
    add_videogcrf_config(cfg)
    add_deeplab_config(cfg)
    # ---- the network -----------------------------------------------------------------------------
    # Unaries come from MODEL.SEM_SEG_HEAD, whose NUM_CLASSES are the labels, and whose NAME is
    # "SegmentationHead", "GivenUnaries", or a registered one that is called like these; embeddings
    # from the one feature in MODEL.VIDEO_GCRF.IN_FEATURES.
    cfg.MODEL.SEM_SEG_HEAD.NAME = "SegmentationHead"
    # Of SegmentationHead: bins of the pyramid pooling before the classifier, on the last of
    # IN_FEATURES. [1, 2, 3, 6] as in PSPNet; []: none.
    cfg.MODEL.SEM_SEG_HEAD.POOL_SCALES = []
    # Pairs of positions a clip that the pairwise objective looks at, within frames and across.
    cfg.MODEL.VIDEO_GCRF.NUM_PAIRS = 2000

    # ---- training in phases (Sec. 3) -------------------------------------------------------------
    # "unary": the network without the random field, which is also the per-frame baseline.
    # "pairwise": the embeddings alone, with the pairwise objective.
    # "joint": everything, through the solution of the system.
    # Evaluation uses the random field except in phase "unary".
    cfg.MODEL.PHASE = "joint"
    cfg.PHASES = CN()
    # Which there are. The first starts with MODEL.WEIGHTS, others with the weights of the one
    # before. Without "unary" where unaries are given: ["pairwise", "joint"].
    cfg.PHASES.NAMES = list(PHASES)
    # What each sets in SOLVER. Files can add any other key of that, such as CLIP_GRADIENTS.
    cfg.PHASES.UNARY = _solver(2.5e-3, max_iter=20000, batch=8)
    cfg.PHASES.PAIRWISE = _solver(2.5e-4, max_iter=10000, batch=2)
    cfg.PHASES.JOINT = _solver(1e-4, max_iter=10000, batch=2)
    # Where the unaries are trained; "": OUTPUT_DIR/unary. Configs that name one folder share them.
    cfg.PHASES.UNARY.OUTPUT_DIR = ""

    # ---- evaluation ------------------------------------------------------------------------------
    # Scales at which frames are segmented; probabilities are averaged. [1.0]: as they are.
    cfg.TEST.SCALES = [1.0]
    # Segment mirrored frames as well.
    cfg.TEST.FLIP = False
    # Post-process every frame with a DenseCRF on its colours (needs pydensecrf2).
    cfg.TEST.DENSE_CRF = CN({"ENABLED": False, "ITERATIONS": 10})
    # Its kernels, of positions, and of positions and colours: standard deviations in pixels and
    # grey levels, and weights. For frames of about 500 pixels; smaller ones need smaller values.
    cfg.TEST.DENSE_CRF.SMOOTHNESS_STD = 3.0
    cfg.TEST.DENSE_CRF.SMOOTHNESS_WEIGHT = 3.0
    cfg.TEST.DENSE_CRF.APPEARANCE_STD = 80.0
    cfg.TEST.DENSE_CRF.COLOUR_STD = 13.0
    cfg.TEST.DENSE_CRF.APPEARANCE_WEIGHT = 10.0


ADDED_KEYS["VideoSegmentor"] = add_segmentation_config


def _solver(lr: float, max_iter: int, batch: int) -> CN:
    return CN({"BASE_LR": lr, "MAX_ITER": max_iter, "IMS_PER_BATCH": batch}, new_allowed=True)
