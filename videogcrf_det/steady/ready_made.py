"""Fields that know nothing of a detector: steady without fitting."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videogcrf_det.files import atomic_write
from videogcrf_det.gcrf.chain_field import Described, described
from videogcrf_det.steady.fields import Fields, SteadyFields
from videogcrf_det.steady.hand_made import HAND_MADE, HandMade
from videogcrf_det.steady.picture import PictureBranch

READY_MADE = "ready-made"  # in the place of the name of a file of fields
WEIGHTS = "ready_made.pth"


class ReadyMade(Fields):
    """Confidences and links from the pictures themselves, for the features of any backbone.

    Args:
        options: keyword arguments of PictureBranch.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.picture = PictureBranch(**options)

    def describe(self, features: Mapping[str, Tensor], pictures: Tensor) -> dict[str, Described]:
        """See Fields."""
        return {name: described(maps) for name, maps in self.picture(pictures, features).items()}

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        content = {
            "options": self.picture.options,
            "motion": self.motion,
            "weights": self.state_dict(),
        }
        with atomic_write(path) as temporary:
            torch.save(content, temporary)

    @classmethod
    def load(cls) -> "ReadyMade":
        """Load those that come with the package (videogcrf train-ready-made)."""
        with resources.as_file(resources.files(__package__) / WEIGHTS) as path:
            content = torch.load(path, map_location="cpu", weights_only=True)
        fields = cls(**content["options"])
        fields.motion = content["motion"]
        fields.load_state_dict(content["weights"])
        return fields


def load_fields(name: str | Path) -> Fields:
    """The fields that a file of videogcrf fit holds, or READY_MADE, or HAND_MADE.

    Raises:
        InputError: see SteadyFields.load.
    """
    if str(name) == READY_MADE:
        return ReadyMade.load()
    return HandMade() if str(name) == HAND_MADE else SteadyFields.load(name)
