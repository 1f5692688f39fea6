"""Every key that instance tracking adds to the config."""

from detectron2.config import CfgNode as CN

from video_tracking.provider import add_provider_config
from videogcrf_det.segmentation import add_segmentation_config


def add_tracking_config(cfg: CN) -> None:
    """Add the keys of segmentation in phases, of the provider of unaries, and these."""
    add_segmentation_config(cfg)
    add_provider_config(cfg)
    # The folder with a file of foreground scores for every frame; see unaries.py. Needed where
    # MODEL.SEM_SEG_HEAD.NAME is GivenUnaries, and "" where a network makes them.
    # Example: "output/unaries" holds output/unaries/bear/00000.png, ...
    cfg.INPUT.UNARIES = ""
