"""The effect of a trained random field on features: how much of spoilt frames it restores, how far
it changes clear ones, and how strongly its couplings act.

Two questions in numbers, whichever couplings a field has: does it bring a spoilt frame nearer to
what the backbone would have made of the clear one, and has training left it anything to do that
with?
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.config import CfgNode
from tabulate import tabulate
from torch import Tensor

from videogcrf_det.data.clips import load_videos
from videogcrf_det.data.images import read_image
from videogcrf_det.errors import InputError
from videogcrf_det.gcrf import Embeddings, ProductField, RandomField
from videogcrf_det.modeling.backbone import VideoGCRFBackbone
from videogcrf_det.steady.detector import Detector
from videogcrf_det.steady.fit import held_out_rng
from videogcrf_det.steady.objective import relative_errors, valid_cells
from videogcrf_det.steady.spoil import spoil_clip

HEADERS = (
    *("level", "error of spoilt features", "restored", "change of clear ones"),
    "of the change, constant",
    *("largest eigenvalue / lambda", "damped by a tenth"),
)


class Restoration(NamedTuple):
    """The effect of the field at one level, as means over clips.

    Errors are squared, in units of the variance of the clear features.
    """

    spoilt: float  # error of the features of spoilt frames
    restored: float  # the share of it that is gone behind the field; below 0: it grew
    clear: float  # change of the features of clear frames
    constant: float  # share of what the field changes that is the same at all positions of a frame
    strength: float  # largest eigenvalue of the couplings of a clip, in units of lambda
    damped: float  # eigenvalues that damp what they belong to by a tenth or more, of a clip


@torch.no_grad()
def measure_restoration(detector: Detector, most_clips: int = 24) -> dict[str, Restoration]:
    """Spoil clips of the first data set of DATASETS.TEST and couple them, level by level.

    Args:
        detector: whose backbone has random fields.
        most_clips: of INPUT.CLIP.NUM_FRAMES frames; spread over all videos.

    Returns:
        by name of the feature. ``strength`` and ``damped`` are those of products, else nan.

    Raises:
        InputError: the backbone has no random fields.
    """
    backbone = getattr(detector.model, "backbone", None)
    if detector.cfg is None or not isinstance(backbone, VideoGCRFBackbone):
        raise InputError(
            "the detector has no random fields of its own (MODEL.BACKBONE.NAME "
            "build_video_gcrf_backbone): what fitted fields restore, videogcrf fit says"
        )
    rows: dict[str, list[list[float]]] = {name: [] for name in backbone.gcrf}
    for index, frames in enumerate(_clips(detector.cfg, detector, most_clips)):
        changed = spoil_clip(frames, held_out_rng(index))
        is_spoilt = torch.tensor([number in changed for number in range(len(frames))])
        seen = [changed.get(number, frame) for number, frame in enumerate(frames)]
        clear, images = _features(detector, frames)
        spoilt, _ = _features(detector, seen)
        for name, row in rows.items():
            layer, terms = backbone.layer(name), backbone.terms(name, spoilt, images.image_sizes)
            inferred = layer.field.infer(terms.unary, terms.embeddings, [len(frames)])
            coupled = layer.fuse(terms, inferred)
            valid = valid_cells(clear[name], images.image_sizes[0], images.tensor.shape[2:])
            before, after = (
                relative_errors(maps, clear[name], valid) for maps in (spoilt[name], coupled)
            )
            values = [before[is_spoilt].mean(), after[is_spoilt].mean(), after[~is_spoilt].mean()]
            values.append(_constant((coupled - spoilt[name])[:, :, valid[0, 0]]))
            row.append([*map(float, values), *_spectrum(layer.field, terms.embeddings)])
    means = {name: np.mean(row, 0).tolist() for name, row in rows.items()}
    return {
        name: Restoration(before, 1 - after / before, *others)
        for name, (before, after, *others) in means.items()
    }


def restoration_table(measured: dict[str, Restoration]) -> str:
    """Markdown, a line for each level."""
    rows = [
        [name, f"{r.spoilt:.3f}", f"{r.restored:.1%}", f"{r.clear:.5f}", f"{r.constant:.0%}"]
        + ["-" if np.isnan(value) else f"{value:.3g}" for value in (r.strength, r.damped)]
        for name, r in measured.items()
    ]
    return tabulate(rows, HEADERS, tablefmt="pipe", disable_numparse=True)


def _clips(cfg: CfgNode, detector: Detector, most: int) -> Iterator[list[np.ndarray]]:
    """Clips of successive frames, one after another of each video, from its beginning on."""
    length = cfg.INPUT.CLIP.NUM_FRAMES
    videos = [video["frames"] for video in load_videos(cfg.DATASETS.TEST[0])]
    places = [
        (start, number)
        for number, frames in enumerate(videos)
        for start in range(0, len(frames) - length + 1, length)
    ]
    if not places:
        raise InputError(f"{cfg.DATASETS.TEST[0]} has no {length} frames in a row: name other data")
    for start, number in sorted(places)[:most]:
        records = videos[number][start : start + length]
        yield [detector.resize(read_image(record["file_name"], "BGR")) for record in records]


def _features(detector: Detector, frames: list[np.ndarray]) -> tuple[dict[str, Tensor], Any]:
    """Features (V, C, h, w) by name before any coupling, and the images."""
    model: Any = detector.model
    images = model.preprocess_image([detector.record(frame) for frame in frames])
    return model.backbone.bottom_up(images.tensor), images


def _constant(change: Tensor) -> Tensor:
    """The share of the squares of a change (V, C, cells) that its mean over cells makes up."""
    return change.mean(2).square().mean() / change.square().mean().clamp(min=1e-20)


def _spectrum(field: RandomField, embedded: Embeddings) -> tuple[float, float]:
    """Of the couplings K of a clip, in units of lambda: the largest eigenvalue, and how many damp
    what they belong to, by 1 / (1 + e), to nine tenths or less.

    K is ``F^T M F``, where F has the embeddings of each frame in a block of its own and M says what
    couples which frames; so it has the eigenvalues of ``G M G`` with ``G^2 = F F^T``, whose blocks
    are as large as embeddings are long.
    """
    if not isinstance(field, ProductField):
        return float("nan"), float("nan")
    parts = [part.double() for part in embedded[:2] if part is not None]
    number = len(parts[0])
    within = torch.eye(number, dtype=torch.float64)
    couplings = [
        field.coupling(number).double() if temporal else within
        for part, temporal in zip(embedded[:2], (False, True), strict=True)
        if part is not None
    ]
    sizes = [part.shape[1] for part in parts]
    gram = torch.cat(parts, 1) @ torch.cat(parts, 1).mT  # (V, D, D), D of both parts together
    root = torch.block_diag(*map(_root, gram.cpu()))
    middle = torch.zeros(number, sum(sizes), number, sum(sizes), dtype=torch.float64)
    first = 0
    for size, coupling in zip(sizes, couplings, strict=True):
        for place in range(first, first + size):
            middle[:, place, :, place] = coupling
        first += size
    values = torch.linalg.eigvalsh(root @ middle.flatten(2).flatten(0, 1) @ root)
    values = values / float(field.lam)
    return float(values.max()), float((values >= 1 / 9).sum())


def _root(matrix: Tensor) -> Tensor:
    """The square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.mT
