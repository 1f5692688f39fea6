"""Saving checkpoints whole, and loading weights, with a sentence where they do not fit."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer

from videogcrf_det.errors import InputError

NEW = "backbone.gcrf."  # weights that no detector without a VideoGCRF has
# what is being written, before it is renamed: what a killed training leaves, the next overwrites
PARTIAL = ".partial.pth"


class ClipCheckpointer(DetectionCheckpointer):
    """Leaves no half-written files behind, and refuses weights of another architecture, of which
    the stock one loads nothing in silence.

    Attributes:
        missing: the model's tensors that the last file lacked, but for those of the VideoGCRF.
    """

    missing: tuple[str, ...] = ()

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load ``path``; see DetectionCheckpointer.

        Raises:
            InputError: the file cannot be had or read, or is of another architecture.
        """
        try:
            return super().load(path, *args, **kwargs)
        except (OSError, EOFError, AssertionError, RuntimeError, pickle.UnpicklingError) as error:
            raise InputError(
                f"cannot load the weights {path} ({' '.join(str(error).split())}): check the path "
                "in MODEL.WEIGHTS, or download the file and give its path there"
            ) from error

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
        skipped = []
        for name in sorted(weights.keys() & shapes.keys()):
            if tuple(weights[name].shape) != tuple(shapes[name]):
                # as fvcore does, but that it looks for the tensor's module under this name, which
                # VideoGCRFBackbone gives to weights and not to modules
                skipped.append((name, tuple(weights.pop(name).shape), tuple(shapes[name])))
        incompatible = super()._load_model(checkpoint)
        incompatible.incorrect_shapes.extend(skipped)  # for the log
        # tensors of another shape count as missing as well
        self.missing = tuple(k for k in incompatible.missing_keys if not k.startswith(NEW))
        absent = [key for key in self.missing if key.startswith("backbone.")]
        names = [key for key in self.model.state_dict() if key.startswith("backbone.")]
        size = sum(not key.startswith(NEW) for key in names)
        if 2 * len(absent) > size:
            raise InputError(
                f"the checkpoint is of another architecture: it lacks {len(absent)} of the "
                f"backbone's {size} tensors, {absent[0]} for one; name one that fits in "
                "MODEL.WEIGHTS, or the config it was trained with in --config-file"
            )
        return incompatible
