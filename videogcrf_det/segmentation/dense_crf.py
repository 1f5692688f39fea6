"""DenseCRF post-processing of single frames: what the paper's tables compare with."""

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from numpy.typing import NDArray

from videogcrf_det.errors import InputError


@dataclass(frozen=True)
class DenseCRF:
    """Mean-field inference in a fully connected CRF over the pixels of a frame.

    Two Gaussian kernels say how alike the labels of two pixels should be: one of their positions,
    and one of their positions and colours. The defaults are those of DeepLab, for frames of about
    500 pixels.

    Attributes:
        iterations: of the mean field.
        smoothness_std, smoothness_weight: of the first kernel, in pixels.
        appearance_std, colour_std, appearance_weight: of the second, in pixels and grey levels.

    Raises:
        InputError: pydensecrf is not installed.
    """

    iterations: int = 10
    smoothness_std: float = 3.0
    smoothness_weight: float = 3.0
    appearance_std: float = 80.0
    colour_std: float = 13.0
    appearance_weight: float = 10.0

    def __post_init__(self) -> None:
        _load_library()

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> "DenseCRF | None":
        """The dense CRF of TEST.DENSE_CRF; None where it is switched off."""
        settings = {key.lower(): value for key, value in cfg.TEST.DENSE_CRF.items()}
        return cls(**settings) if settings.pop("enabled") else None

    def __call__(
        self, probabilities: NDArray[np.floating], image: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Probabilities (L, H, W) of labels after inference.

        Args:
            probabilities: (L, H, W).
            image: (H, W, 3).
        """
        labels, height, width = probabilities.shape
        crf = _load_library().DenseCRF2D(width, height, labels)
        energy = -np.log(np.maximum(probabilities, 1e-6))
        crf.setUnaryEnergy(np.ascontiguousarray(energy.reshape(labels, -1), dtype=np.float32))
        crf.addPairwiseGaussian(sxy=self.smoothness_std, compat=self.smoothness_weight)
        crf.addPairwiseBilateral(
            sxy=self.appearance_std,
            srgb=self.colour_std,
            rgbim=np.ascontiguousarray(image),
            compat=self.appearance_weight,
        )
        found = crf.inference(self.iterations)
        return np.asarray(found, np.float32).reshape(probabilities.shape)


def _load_library() -> Any:
    try:
        return importlib.import_module("pydensecrf.densecrf")
    except ImportError:
        raise InputError(
            "TEST.DENSE_CRF needs pydensecrf2, which is not installed: run "
            "`pip install pydensecrf2`, or set TEST.DENSE_CRF.ENABLED False"
        ) from None
