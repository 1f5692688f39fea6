"""Every key that semantic segmentation adds to the config."""

from detectron2.config import CfgNode as CN

from videogcrf_det.segmentation import add_segmentation_config


def add_semantic_config(cfg: CN) -> None:
    """Add the keys of segmentation in phases, and these."""
    add_segmentation_config(cfg)
    cfg.MODEL.SEM_SEG_HEAD.NAME = "SegmentationHead"
    # Bins of the pyramid pooling before the classifier, on the last of IN_FEATURES. [1, 2, 3, 6] as
    # in PSPNet; []: none.
    cfg.MODEL.SEM_SEG_HEAD.POOL_SCALES = []
