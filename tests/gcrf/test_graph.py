import math

import numpy as np
import pytest
import torch

from videogcrf_det.gcrf import temporal_coupling

TABLES = {
    (): "0111111 1011111 1101111 1110111 1111011 1111101 1111110",
    (1,): "0100000 1010000 0101000 0010100 0001010 0000101 0000010",
    (1, 2): "0110000 1011000 1101100 0110110 0011011 0001101 0000110",
    (1, 2, 4): "0110100 1011010 1101101 0110110 1011011 0101101 0010110",
}


@pytest.fixture
def _double():
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.double)
    yield
    torch.set_default_dtype(default)


@pytest.mark.parametrize("neighbourhood", TABLES)
def test_neighbours_of_seven_frames(neighbourhood):
    expected = [[float(link) for link in row] for row in TABLES[neighbourhood].split()]
    weights = temporal_coupling(7, neighbourhood, "zero")
    assert weights.tolist() == expected
    assert weights.dtype == torch.float32


@pytest.mark.parametrize("neighbourhood", TABLES)
def test_psd_changes_the_diagonal_alone(neighbourhood):
    for num_frames in range(1, 13):
        weights = temporal_coupling(num_frames, neighbourhood, "psd")
        printed = temporal_coupling(num_frames, neighbourhood, "zero")
        assert torch.equal(printed.diagonal(), torch.zeros(num_frames))
        assert torch.equal(weights - weights.diagonal().diag(), printed)
        assert torch.equal(weights.diagonal(), weights[0, 0].expand(num_frames))


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize("distance_decay", [None, 1.5])
@pytest.mark.parametrize("neighbourhood", TABLES)
def test_psd_raises_the_smallest_eigenvalue_to_zero(neighbourhood, distance_decay):
    for num_frames in range(1, 13):
        weights = temporal_coupling(num_frames, neighbourhood, "psd", distance_decay)
        smallest = np.linalg.eigvalsh(weights.numpy())[0]
        assert -1e-12 <= smallest <= 1e-12


@pytest.mark.parametrize("neighbourhood", TABLES)
def test_psd_survives_rounding_to_float32(neighbourhood):
    for num_frames in range(1, 13):
        weights = temporal_coupling(num_frames, neighbourhood, "psd").double()
        assert np.linalg.eigvalsh(weights.numpy())[0] >= -1e-6


@pytest.mark.parametrize("num_frames", [2, 3, 4, 7, 12, 40])
def test_fully_connected_psd_is_the_matrix_of_ones(num_frames):
    assert torch.equal(temporal_coupling(num_frames), torch.ones(num_frames, num_frames))


@pytest.mark.parametrize("self_coupling", ["psd", "zero"])
@pytest.mark.parametrize("neighbourhood", TABLES)
def test_one_frame_has_no_neighbours(neighbourhood, self_coupling):
    assert temporal_coupling(1, neighbourhood, self_coupling).tolist() == [[0.0]]


@pytest.mark.parametrize("neighbourhood", TABLES)
def test_distance_decay(neighbourhood):
    decayed = temporal_coupling(7, neighbourhood, "zero", distance_decay=2.5)
    for v, row in enumerate(TABLES[neighbourhood].split()):
        for u, link in enumerate(row):
            expected = int(link) * math.exp(-abs(v - u) / 2.5)
            assert decayed[v, u].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("self_coupling", ["psd", "zero"])
def test_a_learned_distance_decay_gets_gradients(self_coupling):
    decay = torch.tensor(1.7, dtype=torch.double, requires_grad=True)
    assert temporal_coupling(4, (), self_coupling, decay).dtype == torch.double
    for neighbourhood in ((), (1, 2)):
        assert torch.autograd.gradcheck(
            lambda tau, name=neighbourhood: temporal_coupling(4, name, self_coupling, tau), decay
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_frames": 0}, "num_frames=0"),
        ({"num_frames": -3}, "num_frames=-3"),
        ({"num_frames": 2, "neighbourhood": (1, 0)}, r"neighbourhood.*from 1.* \(1, 0\)"),
        ({"num_frames": 2, "neighbourhood": (1.5,)}, r"neighbourhood.*from 1.* \(1\.5,\)"),
        ({"num_frames": 2, "neighbourhood": "2"}, "neighbourhood.*from 1.* '2'"),
        ({"num_frames": 2, "self_coupling": "one"}, "unknown self_coupling 'one'.*psd"),
        ({"num_frames": 2, "distance_decay": 0.0}, "distance_decay.*0.0"),
        ({"num_frames": 2, "distance_decay": -1.5}, "distance_decay.*-1.5"),
        ({"num_frames": 2, "distance_decay": math.nan}, "distance_decay.*nan"),
        ({"num_frames": 2, "distance_decay": torch.tensor(-2.0)}, "distance_decay.*-2"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        temporal_coupling(**arguments)
