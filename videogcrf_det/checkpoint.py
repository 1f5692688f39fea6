"""Loading weights, with a sentence where they do not fit."""

import pickle
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer

from videogcrf_det.errors import InputError

NEW = "backbone.gcrf."  # weights that no detector without a VideoGCRF has


class ClipCheckpointer(DetectionCheckpointer):
    """Refuses weights of another architecture, of which the stock one loads nothing in silence.

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

    def _load_model(self, checkpoint: Any) -> Any:
        shapes = {name: value.shape for name, value in self.model.state_dict().items()}
        weights = checkpoint["model"]
        for name in weights.keys() & shapes.keys():
            if tuple(weights[name].shape) != tuple(shapes[name]):
                # as fvcore does, but that it looks for the tensor's module under this name, which
                # VideoGCRFBackbone gives to weights and not to modules
                del weights[name]
        incompatible = super()._load_model(checkpoint)
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
