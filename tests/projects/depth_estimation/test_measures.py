"""Metrics of depth against loops over pixels, and against what is known without computing."""

import math

import numpy as np
import pytest
from video_depth.measures import (
    STATIC,
    STEPS,
    calibration,
    errors,
    flow_warped_difference,
    known_pixels,
    prepared,
    sparsification,
)


def maps(seed=0, shape=(20, 24)):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(1, 12, shape).astype(np.float32)
    truth[rng.random(shape) < 0.3] = 0
    depth = (np.maximum(truth, 2) * np.exp(rng.normal(0, 0.3, shape))).astype(np.float32)
    return depth, truth


def test_errors_are_those_of_a_loop():
    depth, truth = maps()
    sums = dict.fromkeys(["abs", "sq", "se", "log", 1, 2, 3], 0.0)
    count = 0
    for d, t in zip(depth.ravel().tolist(), truth.ravel().tolist(), strict=True):
        if not 2 <= t <= 10:
            continue
        d = min(max(d, 2), 10)
        count += 1
        sums["abs"] += abs(d - t) / t
        sums["sq"] += (d - t) ** 2 / t
        sums["se"] += (d - t) ** 2
        sums["log"] += (math.log(d) - math.log(t)) ** 2
        for k in (1, 2, 3):
            sums[k] += max(d / t, t / d) < 1.25**k
    known = known_pixels(truth, 2, 10)
    assert known.sum() == count > 100
    found = errors(
        prepared(depth, truth, known, 2, 10, False)[known].astype(float), truth[known].astype(float)
    )
    expected = {
        "AbsRel": sums["abs"] / count,
        "SqRel": sums["sq"] / count,
        "RMSE": math.sqrt(sums["se"] / count),
        "RMSElog": math.sqrt(sums["log"] / count),
        **{f"delta{k}": sums[k] / count for k in (1, 2, 3)},
    }
    assert found == pytest.approx(expected, rel=1e-6)
    assert 0.2 < found["delta1"] < found["delta2"] < 1


def test_median_scaling_takes_known_pixels_alone():
    depth, truth = maps()
    known = known_pixels(truth, 0.1, 80)
    wrong = 3.7 * depth
    wrong[~known] = 1e3
    scaled = prepared(wrong, truth, known, 0.1, 80, True)
    assert np.median(scaled[known]) == pytest.approx(np.median(truth[known]), rel=1e-6)
    assert scaled[known] == pytest.approx(prepared(depth, truth, known, 0.1, 80, True)[known])


def opw_by_loop(depths, truths, flow):
    """Of whole pixels: the mean over those that stay inside, and whose true depth is the same."""
    found = []
    for row, column in np.ndindex(*depths[0].shape):
        x, y = column + int(flow[row, column, 0]), row + int(flow[row, column, 1])
        if not (0 <= y < depths[0].shape[0] and 0 <= x < depths[0].shape[1]):
            continue
        before, now = truths[0][y, x], truths[1][row, column]
        if before == 0 or now == 0 or abs(before - now) > STATIC * now:
            continue
        found.append(abs(depths[0][y, x] - depths[1][row, column]))
    return np.mean(found), len(found)


def test_opw_is_that_of_a_loop_along_whole_pixels():
    shape, way = (16, 20), (3, -2)
    rng = np.random.default_rng(1)
    scene = rng.uniform(2, 9, (40, 40)).astype(np.float32)
    truths = scene[10:26, 10:30].copy(), scene[8:24, 13:33].copy()
    truths[1][4:9, 5:9] *= 1.2  # comes nearer or goes away
    truths[0][2, 3] = truths[1][8, 15] = 0
    depths = tuple((t + rng.normal(0, 0.5, shape)).astype(np.float32) for t in truths)
    flow = np.broadcast_to(np.float32(way), (*shape, 2)).copy()
    expected, count = opw_by_loop(depths, truths, flow)
    assert count > 100
    known = tuple(truth > 0 for truth in truths)
    assert flow_warped_difference(depths, truths, known, (flow, -flow)) == pytest.approx(expected)
    # a way that does not lead back, and nothing that is known twice
    assert flow_warped_difference(depths, truths, known, (flow, flow)) is None
    nowhere = np.zeros(shape, bool)
    assert flow_warped_difference(depths, truths, (known[0], nowhere), (flow, -flow)) is None


def test_sparsification_is_that_of_a_loop():
    rng = np.random.default_rng(2)
    error, uncertainty = rng.exponential(1, 173), rng.random(173)

    def area(order):
        means = []
        for step in range(STEPS):
            kept = order[: len(order) - len(order) * step // STEPS]
            means.append(sum(error[i] for i in kept) / len(kept))
        return sum(means) / STEPS

    by_uncertainty = sorted(range(173), key=lambda i: uncertainty[i])
    by_error = sorted(range(173), key=lambda i: error[i])
    found = sparsification(error, uncertainty)
    assert found["area"] == pytest.approx(area(by_uncertainty))
    assert found["oracle"] == pytest.approx(area(by_error))
    assert found["AUSE"] == pytest.approx(found["area"] - found["oracle"])


def test_what_ranks_errors_comes_near_to_the_oracle():
    rng = np.random.default_rng(3)
    deviation = rng.uniform(0.05, 1, 4000)
    error = np.abs(rng.normal(0, deviation))
    good, bad = sparsification(error, deviation), sparsification(error, rng.random(4000))
    assert sparsification(error, error)["AUSE"] == pytest.approx(0)
    assert good["area"] < 0.7 * error.mean()
    assert bad["area"] == pytest.approx(error.mean(), rel=0.1)
    assert good["oracle"] == bad["oracle"]


def test_calibration_of_gaussian_errors():
    rng = np.random.default_rng(4)
    variance = rng.uniform(0.01, 1, 20000)
    error = rng.normal(0, np.sqrt(variance))
    found = calibration(error, variance)
    assert found == pytest.approx({"within1": 0.683, "within2": 0.954}, abs=0.01)
    assert calibration(error, variance / 4)["within1"] == pytest.approx(0.383, abs=0.01)
