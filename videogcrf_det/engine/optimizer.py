"""Optimizers and precisions that detectron2 has no keys for."""

import torch
from detectron2.config import CfgNode
from detectron2.solver import get_default_optimizer_params
from detectron2.solver.build import maybe_add_gradient_clipping
from torch import nn

from videogcrf_det.errors import InputError
from videogcrf_det.gcrf import VideoGCRF
from videogcrf_det.steady.fields import SteadyFields

OPTIMIZERS = ("SGD", "AdamW")
AMP_PRECISIONS = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def has_own_optimizer(cfg: CfgNode) -> bool:
    """True if SOLVER asks for what ``build_optimizer`` makes, and detectron2 does not.

    Raises:
        InputError: there is no such SOLVER.OPTIMIZER.
    """
    solver = cfg.SOLVER
    if solver.OPTIMIZER not in OPTIMIZERS:
        raise InputError(
            f"SOLVER.OPTIMIZER {solver.OPTIMIZER!r} is not known: use {' or '.join(OPTIMIZERS)}"
        )
    return bool(solver.OPTIMIZER != "SGD" or solver.VIDEO_GCRF_LR_FACTOR != 1)


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """SOLVER.OPTIMIZER, with SOLVER.VIDEO_GCRF_LR_FACTOR for the weights of random fields."""
    solver = cfg.SOLVER
    fields = tuple(
        f"{name}."
        for name, module in model.named_modules()
        if isinstance(module, VideoGCRF | SteadyFields)
    )
    parameters = get_default_optimizer_params(
        model,
        base_lr=solver.BASE_LR,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        bias_lr_factor=solver.BIAS_LR_FACTOR,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
        lr_factor_func=lambda name: solver.VIDEO_GCRF_LR_FACTOR if name.startswith(fields) else 1.0,
    )
    optimizer: torch.optim.Optimizer
    if solver.OPTIMIZER == "AdamW":
        optimizer = torch.optim.AdamW(parameters, solver.BASE_LR, weight_decay=solver.WEIGHT_DECAY)
    else:
        optimizer = torch.optim.SGD(
            parameters,
            solver.BASE_LR,
            momentum=solver.MOMENTUM,
            nesterov=solver.NESTEROV,
            weight_decay=solver.WEIGHT_DECAY,
        )
    return maybe_add_gradient_clipping(cfg, optimizer)


def amp_precision(cfg: CfgNode) -> torch.dtype | None:
    """The precision of SOLVER.AMP; None: it is switched off.

    Raises:
        InputError: there is no such precision on MODEL.DEVICE.
    """
    if not cfg.SOLVER.AMP.ENABLED:
        return None
    on_cpu = cfg.MODEL.DEVICE == "cpu"
    name = cfg.SOLVER.AMP.PRECISION or ("bfloat16" if on_cpu else "float16")
    if name not in AMP_PRECISIONS:
        known = " or ".join(AMP_PRECISIONS)
        raise InputError(f"SOLVER.AMP.PRECISION {name!r} is not known: use {known}")
    if on_cpu and name == "float16":
        raise InputError(
            "SOLVER.AMP.PRECISION float16 takes scaled gradients, which there are on GPUs alone: "
            "on a CPU, use bfloat16"
        )
    return AMP_PRECISIONS[name]
