"""The interface of a tracker, so that VideoPredictor and the demo take their identities from it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from detectron2.structures import Instances
from numpy.typing import NDArray

from videogcrf_det.errors import InputError


class Tracker(Protocol):
    """Gives the instances of successive frames of one video their identities."""

    def update(self, frame: NDArray[np.uint8], instances: Instances) -> Sequence[int]:
        """The identities of the N instances of the next frame, in their order.

        Args:
            frame: (H, W, 3), BGR.
            instances: what was detected on it, on the CPU, in pixels of the frame.

        Returns:
            N whole numbers, no two alike.
        """
        ...


def identify(tracker: Tracker, frame: NDArray[np.uint8], instances: Instances) -> None:
    """Give the instances of the next frame a field ``track_ids``, (N,) int64.

    Raises:
        InputError: the tracker gave something else than N different whole numbers.
    """
    ids = np.asarray(tracker.update(frame, instances))
    wanted = f"{len(instances)} different whole numbers, one for each instance"
    if ids.shape != (len(instances),) or len({*ids.tolist()}) != len(ids):
        raise InputError(f"{type(tracker).__name__}.update gave {ids.tolist()}: return {wanted}")
    if len(ids) and ids.dtype.kind not in "iu":
        raise InputError(f"{type(tracker).__name__}.update gave {ids.tolist()}: return {wanted}")
    instances.track_ids = torch.as_tensor(ids.astype(np.int64))
