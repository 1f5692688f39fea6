"""Training and evaluation from a config, and the models that they end with."""

from typing import Any

from detectron2.config import CfgNode
from torch import nn

from videogcrf_det.checkpoint import ClipCheckpointer
from videogcrf_det.config_keys import check_for_fields, check_takes_clips
from videogcrf_det.data.classes import check_classes
from videogcrf_det.engine.evaluation import verify
from videogcrf_det.engine.trainer import VideoTrainer
from videogcrf_det.errors import InputError
from videogcrf_det.modeling import ClipRCNN, VideoGCRFBackbone
from videogcrf_det.modeling.video_model import with_fields


def run(cfg: CfgNode, *, resume: bool = False, eval_only: bool = False) -> dict[str, Any]:
    """Train and evaluate, or evaluate alone; the work of each process of videogcrf train.

    Returns:
        results by task and metric, as detectron2's: ``{"segm": {"AP": ..., "AP50": ...}, ...}``,
        below the data set's name if there are several; empty except in the main process.
    """
    if eval_only:
        check_classes(cfg)
        results = VideoTrainer.test(cfg, load_video_model(cfg, resume))
        verify(cfg, results)
        return results
    if cfg.MODEL.VIDEO_GCRF.FIELDS:
        raise InputError(
            "MODEL.VIDEO_GCRF.FIELDS are for inference with a trained detector: leave them out in "
            "training, or add --eval-only"
        )
    check_takes_clips(cfg)
    check_classes(cfg)
    check_for_fields(cfg)
    VideoTrainer.check_evaluation(cfg)
    trainer = VideoTrainer(cfg)
    trainer.resume_or_load(resume)
    return trainer.train()


def load_model(cfg: CfgNode, resume: bool = False) -> nn.Module:
    """A model with MODEL.WEIGHTS, or with the last checkpoint of OUTPUT_DIR if ``resume``.

    Raises:
        InputError: there is no file, it cannot be loaded, or it lacks weights, other than those of
            a VideoGCRF that then changes nothing.
    """
    model = VideoTrainer.build_model(cfg)
    if not model.state_dict():  # scores are given: nothing is needed
        return model
    checkpointer = ClipCheckpointer(model, cfg.OUTPUT_DIR)
    if not cfg.MODEL.WEIGHTS and not (resume and checkpointer.has_checkpoint()):
        absent = f" and {cfg.OUTPUT_DIR} has no last_checkpoint" if resume else ""
        raise InputError(
            f"there is nothing to evaluate but random weights: MODEL.WEIGHTS is empty{absent}; "
            "name a trained model in MODEL.WEIGHTS"
        )
    checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    checkpointer.require_all(cfg.MODEL.VIDEO_GCRF.FUSION == "residual")
    return model


def load_video_model(cfg: CfgNode, resume: bool = False) -> nn.Module:
    """A model that takes videos: that of load_model, with MODEL.VIDEO_GCRF.FIELDS if it names any.

    Models of single frames become a VideoModel.
    """
    check_for_fields(cfg)
    model = load_model(cfg, resume)
    plain = not cfg.MODEL.VIDEO_GCRF.FIELDS and cfg.TEST.DETECTION_WINDOW == 1
    if isinstance(model.backbone, VideoGCRFBackbone) and not plain:
        key = (
            "MODEL.VIDEO_GCRF.FIELDS are"
            if cfg.MODEL.VIDEO_GCRF.FIELDS
            else (f"TEST.DETECTION_WINDOW {cfg.TEST.DETECTION_WINDOW} is")
        )
        raise InputError(
            f"{key} for a detector without random fields of its own: set MODEL.BACKBONE.NAME "
            f"{cfg.MODEL.VIDEO_GCRF.BACKBONE_NAME}"
        )
    if isinstance(model, ClipRCNN) and plain:
        return model
    return with_fields(cfg, model)
