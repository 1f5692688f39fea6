"""The method: linear systems over all positions of all frames of a clip. Needs torch alone.

Shape letters, used in every docstring: ``B`` clips, ``V`` frames of a clip (the temporal context),
``P`` positions of a feature map, ``L`` labels, ``D`` embedding size, ``N`` unknowns per frame,
``C`` right-hand sides, ``M`` frames of a batch (the sum of its clips' lengths).
"""

from videogcrf_det.gcrf import compiled as _compiled  # noqa: F401, what torch.compile uses
from videogcrf_det.gcrf.average import weighted_average
from videogcrf_det.gcrf.averaging_field import AveragingField
from videogcrf_det.gcrf.cg import CGResult, IndefiniteError, conjugate_gradient
from videogcrf_det.gcrf.embedding import Embeddings
from videogcrf_det.gcrf.field import RandomField
from videogcrf_det.gcrf.fields import build_field
from videogcrf_det.gcrf.graph import temporal_coupling
from videogcrf_det.gcrf.inference import ConvergenceWarning, gcrf_inference
from videogcrf_det.gcrf.module import Terms, VideoGCRF
from videogcrf_det.gcrf.operator import SpatioTemporalOperator
from videogcrf_det.gcrf.product_field import ProductField
from videogcrf_det.gcrf.windows import average_windows

__all__ = [
    "AveragingField",
    "CGResult",
    "ConvergenceWarning",
    "Embeddings",
    "IndefiniteError",
    "ProductField",
    "RandomField",
    "SpatioTemporalOperator",
    "Terms",
    "VideoGCRF",
    "average_windows",
    "build_field",
    "conjugate_gradient",
    "gcrf_inference",
    "temporal_coupling",
    "weighted_average",
]
