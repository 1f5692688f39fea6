"""The couplings of a label at a point of a video: Fig. 3 of the paper, for the last layer.

Letters: V frames of a clip, L labels, H x W pixels of a frame, h x w cells of its feature map.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from torch import Tensor

from videogcrf_det.affinity.clip import (
    Clip,
    Point,
    centre_point,
    check_point,
    reference_name,
)
from videogcrf_det.affinity.couplings import cell_couplings, cells_of_pixels
from videogcrf_det.affinity.grid import Grid, HeatRow, PictureRow
from videogcrf_det.affinity.visualize import (
    AFFINITIES,
    coupling_rows,
    footer,
    format_shares,
    largest,
    maps_in_pixels,
    settings,
)
from videogcrf_det.errors import InputError
from videogcrf_det.gcrf import Terms
from videogcrf_det.predictor import model_input
from videogcrf_det.segmentation.compare import read_labels
from videogcrf_det.segmentation.drawing import LabelMap, Palette, draw_labels, palette_for
from videogcrf_det.segmentation.frames import FrameTerms
from videogcrf_det.segmentation.predictor import SemanticPredictor
from videogcrf_det.segmentation.segmentor import VideoSegmentor

MIN_SHARE = 0.02  # of the frame, for a label to be chosen
INHIBITION = (
    "Couplings inhibit: where they are red, a high score of {0} lowers that of {0} at the point; "
    "where they are blue, it raises it.\n"
)
ATTRACTION = "Scores at the point are averaged with those of what is red, of all labels alike.\n"


class Scores(NamedTuple):
    """The outputs of the model for a clip."""

    frames: list[FrameTerms]
    terms: Terms  # of all frames
    inferred: Tensor  # (V, L, h, w)


@AFFINITIES.register(
    "VideoSegmentor", {"--label": {"metavar": "NAME", "help": "default: the one at the point"}}
)
def label_affinity(
    cfg: CfgNode, clip: Clip, point: Point | None, *, label: str | None = None
) -> tuple[Grid, str]:
    """The couplings of a label at a point to the same label elsewhere; see visualize_affinity.

    Args:
        point: by default the one deepest inside the label.
        label: its name; by default the one at the point, annotated or else inferred. Without a
            point, the one that covers least of the frame, but MIN_SHARE of it.
    """
    palette = palette_for(cfg)
    if label is not None and label not in palette.names:
        raise InputError(f"--label {label} is none of {', '.join(palette.names)}")
    if cfg.MODEL.PHASE == "unary":
        raise InputError("MODEL.PHASE unary has no random field: set it to joint, or to pairwise")
    model = SemanticPredictor(cfg).model
    inputs = [model_input(cfg, picture[:, :, ::-1]) for picture in clip.pictures]
    return describe(model, clip, inputs, palette, point, label)


@torch.no_grad()
def infer(model: VideoSegmentor, inputs: Sequence[dict[str, Any]]) -> Scores:
    """The scores of the frames of a clip, as one window of the inference."""
    frames = [model.frame_terms(frame) for frame in inputs]
    terms = Terms.cat([frame.terms for frame in frames])
    inferred = model.crf.field.infer(terms.unary, terms.embeddings, [len(frames)])
    return Scores(frames, terms, model.crf.fuse(terms, inferred))


def describe(
    model: VideoSegmentor,
    clip: Clip,
    inputs: Sequence[dict[str, Any]],
    palette: Palette,
    point: Point | None,
    label: str | None,
) -> tuple[Grid, str]:
    """The drawing, and the table of shares; see label_affinity.

    Args:
        model: in evaluation mode.
        clip: V frames.
        inputs: the same as the model takes them.
        palette: of L labels.
        point, label: those asked for.
    """
    scores = infer(model, inputs)
    sizes = [(picture.shape[0], picture.shape[1]) for picture in clip.pictures]
    unary, inferred = (
        _decide(of_clip, scores.frames, sizes) for of_clip in (scores.terms.unary, scores.inferred)
    )
    truth = [read_labels(record) for record in clip.records if "sem_seg_file_name" in record]
    known = truth or inferred
    point, index = choose(
        *(clip, point, label, palette), known[clip.reference], inferred[clip.reference]
    )
    name = palette.names[index]

    height, width = scores.terms.unary.shape[2:]
    # where the cells are that the model's scores at a pixel are interpolated from
    cells = [
        tuple(
            cells_of_pixels(length, seen, padded / count)
            for length, seen, padded, count in zip(
                size, frame.size, frame.padded, (height, width), strict=True
            )
        )
        for size, frame in zip(sizes, scores.frames, strict=True)
    ]
    row, column = (int(at[i]) for at, i in zip(cells[clip.reference], point[::-1], strict=True))
    couplings = cell_couplings(model.crf.field, scores.terms, clip.reference, (row, column), index)
    change = (scores.inferred - scores.terms.unary)[:, index].cpu().numpy()
    in_pixels = maps_in_pixels({**couplings._asdict(), "change": change}, cells)
    masks = [labels == index if (labels == index).any() else None for labels in known]
    rows, table = coupling_rows(in_pixels, height * width, masks, "label")
    said = ATTRACTION if model.crf.field.num_labels is None else INHIBITION.format(name)
    pictures = [PictureRow("Input", "with the point", clip.pictures)]
    if truth:
        pictures.append(_label_row("Ground truth", "annotated labels", clip, truth, palette))
    frames = [f"frame {number}" for number in clip.numbers]
    grid = Grid(
        title=f"{name} at ({point[0]}, {point[1]}) in {clip.name}, {frames[clip.reference]}",
        subtitle=f"coupled with {name} elsewhere; cell ({row}, {column}) of {height} x {width}; "
        f"{settings(model.crf.field, len(frames))}",
        captions=frames,
        sizes=sizes,
        rows=[
            *pictures,
            *rows,
            _label_row("Unary", "labels with the highest $b$", clip, unary, palette),
            _label_row("Inferred", "labels after the inference", clip, inferred, palette),
            HeatRow(
                *("Change", f"what the inference adds to\nthe score of {name}"),
                *(in_pixels["change"], largest(in_pixels["change"])),
                signed=True,
            ),
        ],
        outlines=masks,
        reference=clip.reference,
        point=point,
        footer=said + footer(height * width, name if table else ""),
        legend=list(zip(*palette, strict=True)),
    )
    return grid, format_shares(table, frames, "label")


def choose(
    clip: Clip,
    point: Point | None,
    label: str | None,
    palette: Palette,
    known: LabelMap,
    inferred: LabelMap,
) -> tuple[Point, int]:
    """A point x, y and a label in the reference frame; see label_affinity.

    Args:
        clip: V frames.
        point, label: those asked for.
        palette: of L labels.
        known: (H, W) annotated labels of the reference frame, or else inferred ones.
        inferred: (H, W) for where nothing is annotated.

    Raises:
        InputError: the point is outside the frame, or the label nowhere in it.
    """
    number = len(palette.names)
    index = None if label is None else palette.names.index(label)
    if point is not None:
        check_point(clip, point)
        at_point = [int(labels[point[1], point[0]]) for labels in (known, inferred)]
        return point, next(i for i in (index, *at_point) if i is not None and 0 <= i < number)
    if index is None:
        areas = np.bincount(known[known < number].ravel(), minlength=number)
        candidates = np.flatnonzero(areas >= MIN_SHARE * known.size)
        if not len(candidates):
            raise InputError(f"{reference_name(clip)} shows no label: name a point, --point X,Y")
        index = int(candidates[areas[candidates].argmin()])
    if not (known == index).any():
        raise InputError(
            f"no {label} is in {reference_name(clip)}: name another --label, or a --point X,Y"
        )
    return centre_point(known == index), index


def _decide(
    scores: Tensor, frames: Sequence[FrameTerms], sizes: Sequence[tuple[int, int]]
) -> list[LabelMap]:
    """The labels (H, W) with the highest scores in each frame, as the model decides."""
    pixels = [at.in_pixels(of_frame) for at, of_frame in zip(frames, scores.split(1), strict=True)]
    return [
        F.interpolate(of_frame, size, mode="bilinear", align_corners=False)[0]
        .argmax(0)
        .cpu()
        .numpy()
        for of_frame, size in zip(pixels, sizes, strict=True)
    ]


def _label_row(
    title: str, text: str, clip: Clip, labels: Sequence[LabelMap], palette: Palette
) -> PictureRow:
    drawn = [
        draw_labels(picture, of_frame, palette, opacity=0.75)
        for picture, of_frame in zip(clip.pictures, labels, strict=True)
    ]
    return PictureRow(title, text, drawn)
