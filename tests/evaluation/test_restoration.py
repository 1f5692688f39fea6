"""What a random field restores, and the spectrum of its couplings against dense matrices."""

import numpy as np
import pytest
import torch

from tests.conftest import CONFIG
from videogcrf_det.engine import VideoTrainer, build_cfg
from videogcrf_det.errors import InputError
from videogcrf_det.evaluation.restoration import (
    _constant,
    _spectrum,
    measure_restoration,
    restoration_table,
)
from videogcrf_det.gcrf import Embeddings, ProductField
from videogcrf_det.steady.detector import Detector


@pytest.mark.parametrize("dims", [(3, 2), (0, 4), (3, 0)])
@pytest.mark.parametrize("neighbourhood", [(), (1,)])
def test_eigenvalues_are_those_of_the_dense_couplings(dims, neighbourhood):
    rng = torch.Generator().manual_seed(0)
    field = ProductField(
        5, spatial_dim=dims[0], temporal_dim=dims[1], neighbourhood=neighbourhood, lam=0.3
    )
    parts = [torch.randn(4, d, 2, 3, generator=rng) if d else None for d in dims]
    dense = torch.zeros(4, 6, 4, 6, dtype=torch.float64)
    weights = field.coupling(4).double()
    for v in range(4):
        for u in range(4):
            if parts[0] is not None and v == u:
                dense[v, :, u] += (
                    parts[0][v].flatten(1).double().T @ parts[0][u].flatten(1).double()
                )
            if parts[1] is not None:
                product = parts[1][v].flatten(1).double().T @ parts[1][u].flatten(1).double()
                dense[v, :, u] += weights[v, u] * product
    values = torch.linalg.eigvalsh(dense.flatten(2).flatten(0, 1)) / 0.3
    largest, damped = _spectrum(field, Embeddings(*parts).map(lambda part: part.flatten(2)))
    assert largest == pytest.approx(float(values.max()), rel=1e-6)
    assert damped == int((values >= 1 / 9).sum())


def detector_of(small, *opts):
    cfg = build_cfg(CONFIG, [*small, "INPUT.CLIP.NUM_FRAMES", "3", *opts])
    torch.manual_seed(0)
    model = VideoTrainer.build_model(cfg).eval()
    return Detector(model, cfg, False, 48, 1333, {"config_file": "", "weights": "", "opts": []})


def test_averages_restore_and_untrained_products_change_nothing(small):
    average = ["MODEL.VIDEO_GCRF.PAIRWISE", "average", "MODEL.VIDEO_GCRF.FUSION", "replace"]
    detector = detector_of(small, *average, "MODEL.VIDEO_GCRF.SPATIAL_DIM", "0")
    field = detector.model.backbone.gcrf["p3"].field
    for parameter in field.parameters():  # trust nobody: an average of the three frames
        torch.nn.init.zeros_(parameter)
    measured = measure_restoration(detector, most_clips=2)["p3"]
    assert 0 < measured.restored < 1
    assert measured.clear > 0
    assert np.isnan(measured.strength)
    products = measure_restoration(detector_of(small), most_clips=2)
    assert products["p3"].restored == pytest.approx(0, abs=1e-6)  # its output starts at zero
    assert products["p3"].clear == pytest.approx(0, abs=1e-9)
    assert products["p3"].strength > 0
    assert products["p3"].constant == 0  # of no change
    change = torch.tensor([[[3.0, 3.0, 3.0]], [[4.0, -4.0, 0.0]]])
    assert float(_constant(change)) == pytest.approx(27 / 59)
    assert "| p3" in restoration_table(products)


def test_detectors_without_random_fields(small):
    detector = detector_of(small, "MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone")
    with pytest.raises(InputError, match="no random fields of its own"):
        measure_restoration(detector)
