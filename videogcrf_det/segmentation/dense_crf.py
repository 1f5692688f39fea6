"""DenseCRF post-processing of single frames: what the paper's tables compare with."""

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videogcrf_det.errors import InputError


def load_densecrf() -> Any:
    """The library.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module("pydensecrf.densecrf")
    except ImportError:
        raise InputError(
            "TEST.DENSE_CRF needs pydensecrf2, which is not installed: run "
            "`pip install -e '.[benchmark]'`, or set it to False"
        ) from None


def dense_crf(
    probabilities: NDArray[np.floating], image: NDArray[np.uint8], iterations: int = 10
) -> NDArray[np.float32]:
    """Mean-field inference in a fully connected CRF over the pixels of a frame.

    The kernels are those of DeepLab: positions (3 pixels, weight 3), and positions and colours
    (80 pixels, 13 grey levels, weight 10).

    Args:
        probabilities: (L, H, W).
        image: (H, W, 3).
        iterations: of the mean field.

    Returns:
        (L, H, W) probabilities.
    """
    labels, height, width = probabilities.shape
    crf = load_densecrf().DenseCRF2D(width, height, labels)
    energy = -np.log(np.maximum(probabilities, 1e-6))
    crf.setUnaryEnergy(np.ascontiguousarray(energy.reshape(labels, -1), dtype=np.float32))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=np.ascontiguousarray(image), compat=10)
    return np.asarray(crf.inference(iterations), np.float32).reshape(probabilities.shape)
