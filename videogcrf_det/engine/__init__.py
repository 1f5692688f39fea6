"""Training and evaluation with detectron2's engine."""

from videogcrf_det.engine.evaluation import verify
from videogcrf_det.engine.optimizer import amp_precision
from videogcrf_det.engine.run import load_model, load_video_model, run
from videogcrf_det.engine.setup import build_cfg, set_up_run, setup
from videogcrf_det.engine.trainer import VideoTrainer

__all__ = [
    "VideoTrainer",
    "amp_precision",
    "build_cfg",
    "load_model",
    "load_video_model",
    "run",
    "set_up_run",
    "setup",
    "verify",
]
