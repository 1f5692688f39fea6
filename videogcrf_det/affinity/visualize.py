"""The plot of what a point of a video is coupled to: Fig. 3 of the paper, and a little more.

Letters: V frames of a clip, H x W pixels of a frame.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray

from videogcrf_det.affinity.clip import (
    Clip,
    Frame,
    Mask,
    Point,
    choose_point,
    clip_of_dataset,
    clip_of_video,
    instance_at,
)
from videogcrf_det.affinity.couplings import Map, cells_of_pixels, point_affinity
from videogcrf_det.affinity.grid import Grid, HeatRow, PictureRow, draw_grid
from videogcrf_det.data.classes import check_classes
from videogcrf_det.dispatch import DETECTORS, ByArchitecture
from videogcrf_det.drawing.overlay import draw_instances
from videogcrf_det.drawing.predictions import first_test_set
from videogcrf_det.engine import load_model
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write
from videogcrf_det.gcrf import RandomField
from videogcrf_det.gcrf.embedding import LOG_CONFIDENCE
from videogcrf_det.modeling import ClipRCNN, VideoGCRFBackbone
from videogcrf_det.predictor import model_input

DPI = 150
# titles and texts of rows by the fields of PointAffinity
COUPLINGS = {
    "spatial": (
        "Spatial coupling",
        r"$A_v^\top A_v$" ": of the point with\npositions of its frame",
    ),
    "temporal": (
        "Temporal coupling",
        r"$W_{vu}\,T_v^\top T_u$" ": of the point with\npositions of every frame",
    ),
    "influence": (
        "Influence",
        "weights of all positions in\nwhat inference takes from the\npoint",
    ),
}
NORMS = {
    "unary": ("Unary features", "norm of $b$ over the channels"),
    "inferred": ("Inferred features", "norm after the inference, on\nthe same scale"),
}
TRUST = ("Confidence", "how much $b$ is trusted: the\nlogarithm of $c$")
# what the detector gets in place of b, by the fusion
CHANGES = {
    "residual": "norm of what the convolution\nadds to $b$, in % of that of $b$",
    "replace": "norm of the change of $b$,\nin % of that of $b$",
}
FOOTER = (
    "Red is positive, blue negative. Couplings and influence are in units of 1/P (P = {} positions "
    "of a {}):\nan influence of 1 is the weight of a position in a plain average over them."
)
FOOTER_SHARES = (
    "\nIn the corners: share of the absolute values on the outlined {}, on its share of the frame."
)
# functions of a config, a Clip, a point and, by name, options of their own, that give a Grid and a
# table as text
AFFINITIES = ByArchitecture("videogcrf_det.segmentation.affinity")
Table = dict[str, list[float | None]]  # shares, V each, by the name of a row


def visualize_affinity(
    cfg: CfgNode,
    output: str | Path,
    *,
    source: str | Path | None = None,
    dataset: str | None = None,
    video: str | None = None,
    frame: int | None = None,
    point: Point | None = None,
    **options: Any,
) -> str:
    """Draw what a point of a video is coupled to (docs/affinity.md).

    Args:
        cfg: the config of a model with a VideoGCRF, with MODEL.WEIGHTS.
        output: the picture's file, in a format that its suffix names.
        source: a video file or a folder of frames, in place of a data set.
        dataset: a registered data set, by default the first of DATASETS.TEST.
        video: the name of one of its videos, by default the first that shows an instance.
        frame: the position of the reference frame in the video, by default the middle one of
            those that show an instance, or of all in a ``source``. The clip is
            INPUT.CLIP.NUM_FRAMES frames around it.
        point: x, y in pixels of the reference frame; the default is the meta-architecture's.
        options: of the meta-architecture's function in AFFINITIES.

    Returns:
        a table of the share of each coupling that lies where the point's instance or label is;
        empty where nobody knows that.

    Raises:
        InputError: something of the above is not usable. Nothing has been written then.
    """
    check_output(Path(output))
    clip = find_clip(cfg, source, dataset, video, frame)
    grid, table = AFFINITIES.of(cfg)(cfg, clip, point, **options)
    with atomic_write(output) as path:
        draw_grid(grid).savefig(path, dpi=DPI)
    return table


@AFFINITIES.register(
    DETECTORS, {"--feature": {"metavar": "NAME", "help": "default: the first that is coupled"}}
)
def feature_affinity(
    cfg: CfgNode, clip: Clip, point: Point | None, *, feature: str | None = None
) -> tuple[Grid, str]:
    """The couplings of a point of a detector's features; see visualize_affinity.

    Args:
        point: by default the one deepest inside the reference frame's largest instance, annotated
            or else detected.
        feature: one of MODEL.VIDEO_GCRF.IN_FEATURES, by default the first.
    """
    if clip.dataset is not None:
        check_classes(cfg, [clip.dataset])
    model = _load_detector(cfg)
    coupled = list(model.backbone.gcrf)
    feature = coupled[0] if feature is None else feature
    if feature not in coupled:
        raise InputError(
            f"--feature {feature} is not coupled by this model: use one of {', '.join(coupled)}"
        )
    inputs = [model_input(cfg, picture[:, :, ::-1]) for picture in clip.pictures]
    point = choose_point(clip, point, model, inputs)
    return describe(model, clip, inputs, point, feature)


def find_clip(
    cfg: CfgNode,
    source: str | Path | None,
    dataset: str | None,
    video: str | None,
    frame: int | None,
) -> Clip:
    """The clip that options name; see visualize_affinity."""
    if source is None:
        return clip_of_dataset(cfg, dataset or first_test_set(cfg), video, frame)
    if dataset is None and video is None:
        return clip_of_video(cfg, source, frame)
    raise InputError("--input names a video, --dataset and --video another: leave out either")


def check_output(path: Path) -> None:
    """Raise InputError if a plot cannot be written there."""
    formats = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise InputError(f"--output {path} names no picture: let it end in .png, .pdf or .svg")
    if path.is_dir():
        raise InputError(f"--output {path} is a folder: name a file")


def _load_detector(cfg: CfgNode) -> ClipRCNN:
    if not cfg.MODEL.WEIGHTS:
        raise InputError(
            "couplings are learned: name a trained detector with --opts MODEL.WEIGHTS PATH"
        )
    model = load_model(cfg).eval()
    if not isinstance(model, ClipRCNN) or not isinstance(model.backbone, VideoGCRFBackbone):
        raise InputError(
            f"the config has no VideoGCRF (MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE}, "
            f"MODEL.BACKBONE.NAME {cfg.MODEL.BACKBONE.NAME}) and couples nothing: name one with "
            "ClipRCNN and build_video_gcrf_backbone"
        )
    return model


def describe(
    model: ClipRCNN, clip: Clip, inputs: list[Frame], point: Point, feature: str
) -> tuple[Grid, str]:
    """The drawing, and the table of shares; see visualize_affinity.

    Args:
        model: in evaluation mode.
        clip: V frames.
        inputs: the same as the model takes them.
        point: x, y in the reference frame.
        feature: the name of a coupled feature.
    """
    images = model.preprocess_image(inputs)
    stride = model.backbone.output_shape()[feature].stride
    # the rows and the columns in which the pixels of each frame lie
    cells = [
        [cells_of_pixels(*lengths, stride) for lengths in zip(picture.shape[:2], size, strict=True)]
        for picture, size in zip(clip.pictures, images.image_sizes, strict=True)
    ]
    row, column = (int(at[i]) for at, i in zip(cells[clip.reference], point[::-1], strict=True))
    affinity = point_affinity(model.backbone, images, feature, clip.reference, (row, column))
    in_pixels = maps_in_pixels(affinity._asdict(), cells)
    height, width = (-(-length // stride) for length in images.image_sizes[clip.reference])
    masks, layer = instance_at(clip, point), model.backbone.gcrf[feature]
    field = layer.field
    positions, whole = height * width, "frame"
    if field.block_size:
        positions, whole = field.block_size**2, "block"
    couplings, table = coupling_rows(in_pixels, positions, masks, "instance")
    if "trust" in in_pixels:
        couplings.append(HeatRow(*TRUST, in_pixels["trust"], LOG_CONFIDENCE, signed=True))
    frames = [f"frame {number}" for number in clip.numbers]
    grid = Grid(
        title=f"{clip.name}, {frames[clip.reference]}, point ({point[0]}, {point[1]})",
        subtitle=f"VideoGCRF at {feature}, stride {stride}: cell ({row}, {column}) of {height} x "
        f"{width}; {settings(field, len(frames))}",
        captions=frames,
        sizes=[picture.shape[:2] for picture in clip.pictures],
        rows=[*_picture_rows(clip), *couplings, *_feature_rows(in_pixels, layer.fusion)],
        outlines=masks,
        reference=clip.reference,
        point=point,
        footer=footer(positions, "instance" if table else "", whole),
    )
    return grid, format_shares(table, frames, "instance")


def settings(field: RandomField, num_frames: int) -> str:
    """The settings of a field on clips of that many frames, for a subtitle."""
    neighbourhood = list(field.neighbourhood) or "all"
    lam = f"\N{GREEK SMALL LETTER LAMDA} = {float(field.lam):.3g}"
    return f"V = {num_frames}, neighbourhood {neighbourhood}, {lam}"


def footer(positions: int, region: str, whole: str = "frame") -> str:
    """A legend of the colours of couplings and, unless ``region`` is empty, of maps' corners."""
    shares = FOOTER_SHARES.format(region) if region else ""
    return FOOTER.format(positions, whole) + shares


def maps_in_pixels(
    maps: Mapping[str, Map | None], cells: Sequence[Sequence[NDArray[np.intp]]]
) -> dict[str, list[Map]]:
    """Maps (V, h, w) over cells as V maps (H, W) over pixels, without those that are None.

    Args:
        maps: by name.
        cells: for each frame the rows and the columns in which its pixels lie.
    """
    return {
        name: [values[np.ix_(*at)] for values, at in zip(of_frames, cells, strict=True)]
        for name, of_frames in maps.items()
        if of_frames is not None
    }


def _picture_rows(clip: Clip) -> list[PictureRow]:
    rows = [PictureRow("Input", "with the point", clip.pictures)]
    if clip.truth:
        drawn = [
            draw_instances(picture, truth.masks, truth.colours, crowd=truth.crowd)
            for picture, truth in zip(clip.pictures, clip.truth, strict=True)
        ]
        rows.append(PictureRow("Ground truth", "annotated instances", drawn))
    return rows


def coupling_rows(
    in_pixels: Mapping[str, list[Map]], positions: int, masks: Sequence[Mask | None], region: str
) -> tuple[list[HeatRow], Table]:
    """Rows of couplings and influence, and how much of them lies on the masks of a ``region``."""
    rows = []
    table: Table = {}
    areas = [None if mask is None else float(mask.mean()) for mask in masks]
    if any(areas):
        table[f"area of the {region}"] = areas
    for name, (title, text) in COUPLINGS.items():
        if name not in in_pixels:
            continue
        maps = [positions * values if values.any() else None for values in in_pixels[name]]
        shares = list(map(_share, maps, masks))
        if any(areas):
            table[title.lower()] = shares
        notes = [
            "" if share is None else f"{share:.0%} on {area:.0%} of the frame"
            for share, area in zip(shares, areas, strict=True)
        ]
        rows.append(HeatRow(title, text, maps, largest(maps), signed=True, notes=notes))
    return rows, table


def _feature_rows(in_pixels: Mapping[str, list[Map]], fusion: str) -> list[HeatRow]:
    limit = max(largest(in_pixels[name]) for name in NORMS)
    norms = [HeatRow(*NORMS[name], in_pixels[name], limit) for name in NORMS]
    change = in_pixels["change"]
    return [*norms, HeatRow("Change", CHANGES[fusion], change, largest(change))]


def largest(maps: Sequence[Map | None]) -> float:
    """The largest absolute value of maps."""
    return max((float(np.abs(v).max()) for v in maps if v is not None), default=0.0)


def _share(values: Map | None, mask: Mask | None) -> float | None:
    """The share of the absolute values that lies on a mask, from 0 to 1."""
    if values is None or mask is None:
        return None
    return float(np.abs(values[mask]).sum() / np.abs(values).sum())


def format_shares(table: Table, captions: Sequence[str], region: str) -> str:
    """A table of shares as text; empty if it is."""
    if not table:
        return ""
    lines = [f"share of the absolute values that lies on the point's {region}:"]
    lines.append(" " * 22 + "".join(f"{caption:>13}" for caption in captions))
    for name, shares in table.items():
        cells = ("" if share is None else f"{share:.1%}" for share in shares)
        lines.append(f"{name:22}" + "".join(f"{cell:>13}" for cell in cells))
    return "\n".join(lines)
