"""Saving checkpoints whole, and loading weights, with a sentence where they do not fit."""

import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import torch
from detectron2.checkpoint import DetectionCheckpointer

from videogcrf_det.errors import InputError
from videogcrf_det.gcrf.module import VideoGCRF, name_as_of_field
from videogcrf_det.weights_file import ADVICE, read_checkpoint

NEW = "backbone.gcrf."  # weights that no detector without a VideoGCRF has
# what is being written, before it is renamed: what a killed training leaves, the next overwrites
PARTIAL = ".partial.pth"
# what an optimizer's groups say of the config; a resumed training keeps what it began with
SETTINGS = {
    "initial_lr": "SOLVER.BASE_LR",
    "weight_decay": "SOLVER.WEIGHT_DECAY",
    "momentum": "SOLVER.MOMENTUM",
    "nesterov": "SOLVER.NESTEROV",
}
logger = logging.getLogger(__name__)


class ClipCheckpointer(DetectionCheckpointer):
    """Leaves no half-written files behind, runs no code that a file of weights holds, and refuses
    weights of another architecture, of which the stock one loads nothing in silence.

    Attributes:
        missing: the model's tensors that the last file lacked or had in another shape, but for
            those of the VideoGCRF.
        missing_fields: those of the VideoGCRF.
        differing: tensors of another shape, each with what the file and the model have.
        has_fields: whether the last file had any weights of a VideoGCRF.
    """

    missing: tuple[str, ...] = ()
    missing_fields: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    has_fields = False
    _path = ""
    _resumes = False  # a training, with its optimizer

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load ``path``; see DetectionCheckpointer.

        Raises:
            InputError: the file cannot be had or read, or is of another architecture, or of
                another model than the one whose training goes on.
        """
        self._path = path
        self._resumes = checkpointables is None and bool(self.checkpointables)
        try:
            return super().load(path, checkpointables)
        except InputError:
            raise
        except (OSError, AssertionError, RuntimeError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"cannot load the weights {path} ({' '.join(str(error).split())}): {ADVICE}"
            ) from error

    def _load_file(self, filename: str) -> dict[str, Any]:
        checkpoint = read_checkpoint(filename)
        query = parse_qs(self._path.partition("?")[2])  # as the stock one takes it
        if query.get("matching_heuristics") == ["True"]:
            checkpoint["matching_heuristics"] = True
        return checkpoint

    def save(self, name: str, **kwargs: Any) -> None:
        """Write ``<name>.pth`` and make it the last checkpoint; see Checkpointer."""
        if not self.save_dir or not self.save_to_disk:
            return
        path = Path(self.save_dir, f"{name}.pth")
        self.logger.info(f"Saving checkpoint to {path}")
        states = {key: value.state_dict() for key, value in self.checkpointables.items()}
        partial = path.with_name(PARTIAL)
        torch.save({"model": self.model.state_dict(), **states, **kwargs}, partial)
        partial.replace(path)
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Write the name of the last checkpoint; see Checkpointer."""
        partial = Path(self.save_dir, PARTIAL)
        partial.write_text(last_filename_basename)
        partial.replace(partial.with_name("last_checkpoint"))

    def get_checkpoint_file(self) -> str:
        """The last checkpoint; see Checkpointer.

        Raises:
            InputError: it is not there.
        """
        path = super().get_checkpoint_file()
        if path and not os.path.isfile(path):
            raise InputError(
                f"{self.save_dir}/last_checkpoint names {os.path.basename(path)!r}, which is not "
                "there: write the name of another checkpoint into it, or do without --resume"
            )
        return path

    def _load_model(self, checkpoint: Any) -> Any:
        shapes = {name: value.shape for name, value in self.model.state_dict().items()}
        weights = checkpoint["model"]
        for name, module in self.model.named_modules():
            if isinstance(module, VideoGCRF):  # before shapes are compared, by name
                name_as_of_field(weights, f"{name}.")
        skipped = []
        for name in sorted(weights.keys() & shapes.keys()):
            if tuple(weights[name].shape) != tuple(shapes[name]):
                # as fvcore does, but that it looks for the tensor's module under this name, which
                # VideoGCRFBackbone gives to weights and not to modules
                skipped.append((name, tuple(weights.pop(name).shape), tuple(shapes[name])))
        for key in self.checkpointables if self._resumes else ():
            if key not in checkpoint:
                raise InputError(
                    f"{self._path} holds weights and no training to go on with: name it in "
                    "MODEL.WEIGHTS, without --resume and with another OUTPUT_DIR"
                )
        self.has_fields = any(name.startswith(NEW) for name in weights)
        incompatible = super()._load_model(checkpoint)
        incompatible.incorrect_shapes.extend(skipped)  # for the log
        self.differing = tuple(
            f"{name} of the shape {list(found)} and not {list(own)}"
            for name, found, own in incompatible.incorrect_shapes
        )
        # tensors of another shape count as missing as well
        missing = incompatible.missing_keys
        self.missing = tuple(name for name in missing if not name.startswith(NEW))
        self.missing_fields = tuple(name for name in missing if name.startswith(NEW))
        absent = [name for name in self.missing if name.startswith("backbone.")]
        names = [name for name in shapes if name.startswith("backbone.")]
        size = sum(not name.startswith(NEW) for name in names)
        if 2 * len(absent) > size:
            raise InputError(
                f"the checkpoint is of another architecture: it lacks {len(absent)} of the "
                f"backbone's {size} tensors, such as {absent[0]}; name one that fits in "
                "MODEL.WEIGHTS, or the config it was trained with in --config-file"
            )
        if self._resumes and (missing or incompatible.unexpected_keys):
            unknown = [f"{name}, which the model lacks" for name in incompatible.unexpected_keys]
            raise InputError(
                f"--resume cannot go on with {self._path}, the training of another model: it has "
                f"{self._difference() or unknown[0]}; take the config that it was begun with, or "
                "name it in MODEL.WEIGHTS, without --resume and with another OUTPUT_DIR"
            )
        return incompatible

    def _difference(self) -> str:
        """The first difference of the last file from the model; "" if it lacks nothing."""
        missing = (*self.missing, *self.missing_fields)
        return self.differing[0] if self.differing else f"no {missing[0]}" if missing else ""

    def require_all(self, fields_change_nothing: bool) -> None:
        """Raise InputError unless the last file had all that an evaluation needs.

        Args:
            fields_change_nothing: whether VideoGCRFs without weights leave features as they are.
        """
        if self.missing:
            raise InputError(
                f"the checkpoint lacks {len(self.missing)} tensors of the model, "
                f"such as {self.missing[0]}{self._shapes()}, and can be trained from but not "
                "evaluated: name a trained detector in MODEL.WEIGHTS"
            )
        if self.missing_fields and (self.has_fields or not fields_change_nothing):
            raise InputError(
                f"the checkpoint lacks {len(self.missing_fields)} tensors of the random fields, "
                f"such as {self.missing_fields[0]}{self._shapes()}, and those at hand are random: "
                "take the config that it was trained with, or train them first"
            )
        if self.missing_fields:
            self.logger.warning(
                "The checkpoint has no random fields: the detector is evaluated without."
            )

    def _shapes(self) -> str:
        return f" (it has {self.differing[0]})" if self.differing else ""


def check_optimizer(saved: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Compare the state of an optimizer with the one that is to go on from it.

    What the state replaces is named in a warning.

    Raises:
        InputError: it is of another optimizer, or of other parameters; the end of a sentence.
    """
    groups, own = saved["param_groups"], optimizer.param_groups
    kinds = ["AdamW" if "betas" in group else "SGD" for group in (groups[0], own[0])]
    if kinds[0] != kinds[1]:
        raise InputError(f"SOLVER.OPTIMIZER was {kinds[0]}, and is {kinds[1]}")
    counts = [[len(group["params"]) for group in each] for each in (groups, own)]
    if sum(counts[0]) != sum(counts[1]):
        raise InputError(
            f"it trained {sum(counts[0])} tensors, and now {sum(counts[1])} are to be trained "
            "(MODEL.VIDEO_GCRF.FREEZE_DETECTOR, MODEL.BACKBONE.FREEZE_AT and the like)"
        )
    if counts[0] != counts[1]:
        raise InputError("its learning rates were distributed otherwise over the weights")
    for before, now in zip(groups, own, strict=True):
        for key, name in SETTINGS.items():
            if key in before and key in now and before[key] != now[key]:
                logger.warning(
                    f"--resume keeps the training's {name}: {before[key]}, where the config has "
                    f"{now[key]}"
                )
