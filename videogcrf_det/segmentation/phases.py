"""The phases of training (Sec. 3): unaries, embeddings, everything."""

from pathlib import Path

from detectron2.config import CfgNode

from videogcrf_det.errors import InputError
from videogcrf_det.evaluation.record import evaluation_file


def phase_cfg(cfg: CfgNode, phase: str, eval_only: bool = False) -> CfgNode:
    """The config of one phase: its part of PHASES in SOLVER, and a folder of its own.

    Phase "unary" sees single frames, and PHASES.UNARY.OUTPUT_DIR can name a folder that several
    configs share: the unaries of all of them are then the same. All but the first of PHASES.NAMES
    start with the weights that the phase before left. With ``eval_only``, MODEL.WEIGHTS are those
    that the phase itself left, or else those of ``cfg``.

    Raises:
        InputError: the phase before has not been trained, or PHASES has what SOLVER does not know.
    """
    derived = phase_settings(cfg, phase)
    derived.defrost()
    if eval_only and final_model(cfg, phase).is_file():
        derived.MODEL.WEIGHTS = str(final_model(cfg, phase))
    elif not eval_only and phase != cfg.PHASES.NAMES[0]:
        before = cfg.PHASES.NAMES[cfg.PHASES.NAMES.index(phase) - 1]
        weights = final_model(cfg, before)
        if not weights.is_file():
            raise InputError(
                f"phase {phase} starts with the weights of phase {before}, and {weights} does not "
                f"exist: train that first, with --phase {before} or --phase all"
            )
        derived.MODEL.WEIGHTS = str(weights)
    derived.freeze()
    return derived


def phase_settings(cfg: CfgNode, phase: str) -> CfgNode:
    """``phase_cfg`` but for MODEL.WEIGHTS, which need not be there yet.

    Raises:
        InputError: PHASES has what SOLVER does not know.
    """
    settings = cfg.PHASES[phase.upper()].clone()
    settings.defrost()
    settings.pop("OUTPUT_DIR", None)
    derived = cfg.clone()
    derived.defrost()
    derived.MODEL.PHASE = phase
    try:
        derived.SOLVER.merge_from_other_cfg(settings)
    except (KeyError, ValueError) as error:  # yacs raises KeyError("Non-existent config key: ...")
        raise InputError(
            f"PHASES.{phase.upper()} has what SOLVER has not: {error.args[0]}"
        ) from None
    derived.OUTPUT_DIR = str(phase_folder(cfg, phase))
    if phase == "unary":
        derived.INPUT.CLIP.NUM_FRAMES = 1
        derived.TEST.WINDOW_STEP = 1
    derived.freeze()
    return derived


def phase_folder(cfg: CfgNode, phase: str) -> Path:
    """Where a phase of a config leaves its files."""
    if phase == "unary" and cfg.PHASES.UNARY.OUTPUT_DIR:
        return Path(cfg.PHASES.UNARY.OUTPUT_DIR)
    return Path(cfg.OUTPUT_DIR, phase)


def final_model(cfg: CfgNode, phase: str) -> Path:
    """The weights at the end of a phase, a file that is there when it was trained to its end."""
    return phase_folder(cfg, phase) / "model_final.pth"


def is_evaluated(cfg: CfgNode, phase: str) -> bool:
    """True if the model of a phase was evaluated on all of DATASETS.TEST."""
    folder = phase_folder(cfg, phase)
    return all(evaluation_file(folder, name).is_file() for name in cfg.DATASETS.TEST)
