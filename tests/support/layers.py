"""Small VideoGCRF layers, inputs for them, and what they should return."""

import torch

from tests.support.reference import Problem, reference_coupling, reference_solve
from videogcrf_det.gcrf import VideoGCRF

CHANNELS, LABELS = 6, 3
KINDS = [("shared", "product"), ("per_label", "product"), ("shared", "average")]


def make(layout="shared", *, strength=30.0, seed=0, **options):
    """A small module whose embeddings, unlike those at the start, are strong enough to matter."""
    torch.manual_seed(seed)
    defaults = {"conv_dim": 5, "lam": 0.5, "rtol": 1e-6, "fusion": "replace"}
    if options.get("pairwise") == "average":
        defaults |= {"dim": 4, "block_size": 0}
    else:
        labels = LABELS if layout == "per_label" else None
        defaults |= {"spatial_dim": 3, "temporal_dim": 4, "num_labels": labels}
    module = VideoGCRF.build(CHANNELS, **{**defaults, **options})
    with torch.no_grad():
        for name in ("spatial", "temporal", "confidence"):
            branch = getattr(module.field, name, None)
            if branch is not None:
                branch.embed.weight *= strength
    return module


def inputs(layout, num_frames, height=4, width=5, seed=1):
    """features (M, C, H, W) and the keyword arguments that the layout needs."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(num_frames, CHANNELS, height, width, generator=generator)
    unary = torch.randn(num_frames, LABELS, height, width, generator=generator)
    return features, ({"unary": unary} if layout == "per_label" else {})


def reference_output(module, features, unary=None):
    """lam x of one clip without padding, from the module's embeddings and a dense solve."""
    spatial, temporal = (
        None if e is None else e.detach()[None] for e in module.embeddings(features)[:2]
    )
    num_frames = len(features)
    if module.field.num_labels:
        rhs = unary.reshape(1, num_frames, -1, 1)
    else:
        unary = features
        rhs = unary.flatten(2).transpose(1, 2)[None]
    coupling = reference_coupling(
        num_frames, module.field.neighbourhood, module.field.self_coupling
    )
    problem = Problem(rhs, spatial, temporal, torch.from_numpy(coupling), module.field.lam.item())
    x = problem.lam * reference_solve(problem)[0]
    if not module.field.num_labels:
        x = x.transpose(1, 2)
    return x.reshape(unary.shape).float()


def assert_close(actual, expected, tolerance=1e-4):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
