"""Confidences that nobody trained, to compare ready-made fields with."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from videogcrf_det.gcrf.chain_field import Described
from videogcrf_det.gcrf.embedding import LOG_CONFIDENCE
from videogcrf_det.steady.fields import Fields

HAND_MADE = "hand-made"  # in the place of the name of a file of fields

LAPLACIAN = [[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]
CELLS = 5  # along each side of the surroundings that decide together


class HandMade(Fields):
    """Trust what is sharp and bright, and link the same places by 1.

    The confidence is a product of powers of the Laplacian's mean square and of the brightness. The
    exponents are the best of a grid on the footage that ReadyMade was trained on. Also tried there,
    and no better: less confidence where there is noise, and links as strong as colours agree.
    """

    sharpness, brightness = 1.5, 2.0

    def describe(self, features: Mapping[str, Tensor], pictures: Tensor) -> dict[str, Described]:
        """See Fields."""
        grey = pictures.mean(1, keepdim=True)
        kernel = torch.tensor(LAPLACIAN).to(grey)[None, None]
        sharp = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernel).square()
        result = {}
        for name, maps in features.items():
            size = maps.shape[2], maps.shape[3]
            details, level = (_around(F.adaptive_avg_pool2d(part, size)) for part in (sharp, grey))
            log = self.sharpness * (details.clamp(min=1e-6) / 1e-3).log().clamp(-3, 1)
            log += self.brightness * (level.clamp(min=1e-3) / 0.3).log().clamp(-3, 0)
            confidence = log.clamp(-LOG_CONFIDENCE, LOG_CONFIDENCE).exp()
            result[name] = Described(torch.ones_like(confidence), confidence)
        return result


def _around(maps: Tensor) -> Tensor:
    edge = CELLS // 2
    return F.avg_pool2d(F.pad(maps, (edge,) * 4, mode="replicate"), CELLS, 1)
