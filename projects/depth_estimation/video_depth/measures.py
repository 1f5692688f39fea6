"""Metrics of depth.

Letters: H x W a frame, N its pixels with a known depth. d is predicted, d* true, both in metres.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from videogcrf_det.data.depth import DepthMap
from videogcrf_det.motion.estimate import consistent

FlowMap = NDArray[np.float32]  # (H, W, 2)
Values = NDArray[np.float64]

STATIC = 0.02  # a depth that changes by no more than this share from frame to frame is the same
STEPS = 20  # shares of pixels that sparsification leaves out: 0, 1/20, ..., 19/20


def known_pixels(truth: DepthMap, least: float, greatest: float) -> NDArray[np.bool_]:
    """Pixels (H, W) whose true depth is known and in range."""
    return (truth > 0) & (truth >= least) & (truth <= greatest)


def prepared(
    depth: DepthMap,
    truth: DepthMap,
    known: NDArray[np.bool_],
    least: float,
    greatest: float,
    median_scaling: bool,
) -> DepthMap:
    """A prediction (H, W), as metrics take it: brought into range, and before that, with
    ``median_scaling``, multiplied so that its median over known pixels is the true one (Zhou et
    al., "Unsupervised Learning of Depth and Ego-Motion from Video", CVPR 2017)."""
    if median_scaling and known.any():
        depth = depth * np.float32(np.median(truth[known]) / np.median(depth[known]))
    return np.asarray(np.clip(depth, least, greatest), np.float32)


def errors(depth: Values, truth: Values) -> dict[str, float]:
    """The metrics of Eigen et al., "Depth Map Prediction from a Single Image using a Multi-Scale
    Deep Network", NeurIPS 2014, over N pixels of a frame.

    AbsRel is the mean of ``|d - d*| / d*``, SqRel that of ``(d - d*)^2 / d*`` (metres), RMSE in
    metres, RMSE log of natural logarithms, and delta k the share of pixels with
    ``max(d / d*, d* / d) < 1.25^k``.
    """
    difference = depth - truth
    ratio = np.maximum(depth / truth, truth / depth)
    return {
        "AbsRel": float(np.mean(np.abs(difference) / truth)),
        "SqRel": float(np.mean(difference**2 / truth)),
        "RMSE": float(np.sqrt(np.mean(difference**2))),
        "RMSElog": float(np.sqrt(np.mean((np.log(depth) - np.log(truth)) ** 2))),
        **{f"delta{k}": float(np.mean(ratio < 1.25**k)) for k in (1, 2, 3)},
    }


def flow_warped_difference(
    depths: tuple[DepthMap, DepthMap],
    truths: tuple[DepthMap, DepthMap],
    known: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    flows: tuple[FlowMap, FlowMap],
) -> float | None:
    """OPW of two successive frames: the mean of ``|d_v - warped d_{v-1}|``, in metres.

    It is that of Wang et al., "Neural Video Depth Stabilizer", ICCV 2023, over static cells: pixels
    whose way to the frame before leads there and back, and whose true depth is the same at both
    ends of it (within STATIC). Depth that moves towards the camera has to change.

    Args:
        depths, truths, known: of the earlier and of the later frame, (H, W) each.
        flows: from the later frame to the earlier one, and back.

    Returns:
        None where no pixel can be compared.
    """
    there, back = flows
    height, width = there.shape[:2]
    rows, columns = np.indices((height, width), np.float32)
    x, y = columns + there[..., 0], rows + there[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)

    def warped(maps: DepthMap) -> DepthMap:
        return np.asarray(cv2.remap(maps, x, y, cv2.INTER_LINEAR), np.float32)

    same = np.abs(warped(truths[0]) - truths[1]) <= STATIC * truths[1]
    seen = (warped(known[0].astype(np.float32)) > 0.999) & known[1] & inside
    kept = same & seen & consistent(there, back)
    if not kept.any():
        return None
    return float(np.mean(np.abs(warped(depths[0]) - depths[1])[kept], dtype=np.float64))


def sparsification(error: Values, uncertainty: Values) -> dict[str, float]:
    """The agreement of uncertainty and error, over N pixels of a frame.

    The sparsification curve (Ilg et al., "Uncertainty Estimates and Multi-Hypotheses Networks for
    Optical Flow", ECCV 2018) is the mean error of what is left when the most uncertain pixels are
    left out, share by share. ``area`` is the mean of the curve, ``oracle`` that of the curve that
    leaves out the greatest errors, ``AUSE`` the difference. Leaving out pixels at random has the
    mean error as its area.
    """

    def area(order: NDArray[np.intp]) -> float:
        total = np.cumsum(error[order])  # the least uncertain first
        kept = [max(1, len(error) - len(error) * step // STEPS) for step in range(STEPS)]
        return float(np.mean([total[number - 1] / number for number in kept]))

    found, oracle = area(np.argsort(uncertainty, kind="stable")), area(np.argsort(error))
    return {"area": found, "oracle": oracle, "AUSE": found - oracle}


def calibration(log_error: Values, variance: Values) -> dict[str, float]:
    """Shares of N errors of log depth within one and two predicted standard deviations: 0.683 and
    0.954 for errors that are Gaussian with the predicted variance."""
    deviations = np.abs(log_error) / np.sqrt(variance)
    return {f"within{k}": float(np.mean(deviations <= k)) for k in (1, 2)}
