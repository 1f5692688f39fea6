"""The three phases of training (Sec. 3): unaries, embeddings, everything."""

from pathlib import Path

from detectron2.config import CfgNode

from video_semseg.config import PHASES


def phase_cfg(cfg: CfgNode, phase: str) -> CfgNode:
    """The config of one phase: its part of PHASES in SOLVER, a folder of its own below OUTPUT_DIR,
    and, but for the first, the weights that the phase before left there.

    Phase "unary" sees single frames, and PHASES.UNARY.OUTPUT_DIR can name a folder that several
    configs share: the unaries of all of them are then the same.
    """
    settings = cfg.PHASES[phase.upper()]
    derived = cfg.clone()
    derived.defrost()
    derived.MODEL.PHASE = phase
    derived.SOLVER.BASE_LR = settings.BASE_LR
    derived.SOLVER.MAX_ITER = settings.MAX_ITER
    derived.SOLVER.IMS_PER_BATCH = settings.IMS_PER_BATCH
    derived.OUTPUT_DIR = str(phase_folder(cfg, phase))
    if phase == PHASES[0]:
        derived.INPUT.CLIP.NUM_FRAMES = 1
        derived.TEST.WINDOW_STEP = 1
    else:
        before = PHASES[PHASES.index(phase) - 1]
        derived.MODEL.WEIGHTS = str(phase_folder(cfg, before) / "model_final.pth")
    derived.freeze()
    return derived


def phase_folder(cfg: CfgNode, phase: str) -> Path:
    """Where a phase of a config leaves its files."""
    if phase == PHASES[0] and cfg.PHASES.UNARY.OUTPUT_DIR:
        return Path(cfg.PHASES.UNARY.OUTPUT_DIR)
    return Path(cfg.OUTPUT_DIR, phase)


def is_done(cfg: CfgNode, phase: str) -> bool:
    """Whether a phase was trained to its end."""
    return (phase_folder(cfg, phase) / "model_final.pth").is_file()
