"""DenseCRF post-processing."""

import importlib

import numpy as np
import pytest
from detectron2.config import get_cfg

from videogcrf_det.errors import InputError
from videogcrf_det.segmentation import DenseCRF, add_segmentation_config


def make_cfg(*opts):
    cfg = get_cfg()
    add_segmentation_config(cfg)
    cfg.merge_from_list(list(opts))
    return cfg


def test_pixels_join_those_of_their_colour():
    pytest.importorskip("pydensecrf")
    image = np.full((20, 30, 3), 40, np.uint8)
    image[:, 15:] = 200
    left = np.where(image[..., 0] == 40, 0.7, 0.3)
    left[5, 5], left[12, 22] = 0.4, 0.6  # taken for the other label
    crf = DenseCRF(
        iterations=5, smoothness_weight=0, appearance_std=10, colour_std=10, appearance_weight=3
    )
    found = crf(np.stack([left, 1 - left]), image)
    assert found.shape == (2, 20, 30)
    assert np.allclose(found.sum(0), 1, atol=1e-5)
    assert np.array_equal(found.argmax(0), (image[..., 0] == 200).astype(int))


def test_from_a_config():
    assert DenseCRF.from_cfg(make_cfg()) is None
    pytest.importorskip("pydensecrf")
    cfg = make_cfg("TEST.DENSE_CRF.ENABLED", True, "TEST.DENSE_CRF.COLOUR_STD", 7.0)
    assert DenseCRF.from_cfg(cfg) == DenseCRF(colour_std=7.0)


def test_without_the_library(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(InputError, match=r"needs pydensecrf2.*TEST\.DENSE_CRF\.ENABLED False"):
        DenseCRF()
