"""A trained detector, however it is named: its model, and frames as it takes them."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, LazyConfig, instantiate
from detectron2.data import transforms as T
from torch import nn

from videogcrf_det.checkpoint import ClipCheckpointer
from videogcrf_det.config import find_config
from videogcrf_det.engine import build_cfg, load_model
from videogcrf_det.errors import InputError
from videogcrf_det.steady.fields import SteadyFields
from videogcrf_det.steady.ready_made import READY_MADE


@dataclass
class Detector:
    """A model in evaluation mode and what it expects.

    Attributes:
        cfg: None for a LazyConfig.
        rgb: it takes RGB images, not BGR ones.
        min_size, max_size: in pixels, of the shorter and of the longer side.
        source: how to have the same again: ``config_file``, ``weights``, ``opts``.
    """

    model: nn.Module
    cfg: CfgNode | None
    rgb: bool
    min_size: int
    max_size: int
    source: dict[str, Any]

    @property
    def default_output(self) -> Path:
        """The path of fields by default."""
        return Path("." if self.cfg is None else self.cfg.OUTPUT_DIR, "fields.pth")

    @property
    def seed(self) -> int:
        """SEED of the config, 0 where it has none."""
        return 0 if self.cfg is None else max(0, int(self.cfg.SEED))

    def resize(self, image: np.ndarray) -> np.ndarray:
        """An image (H, W, 3) as large as the detector sees it."""
        if not self.min_size:
            return image
        size = T.ResizeShortestEdge(self.min_size, self.max_size).get_transform(image)
        return np.ascontiguousarray(size.apply_image(np.ascontiguousarray(image)))

    def record(self, frame: np.ndarray) -> dict[str, Any]:
        """A frame (H, W, 3), BGR and of that size, as the model takes it."""
        pixels = np.ascontiguousarray((frame[:, :, ::-1] if self.rgb else frame).transpose(2, 0, 1))
        return {
            "image": torch.from_numpy(pixels),
            "height": frame.shape[0],
            "width": frame.shape[1],
        }


def load_detector(
    config_file: str,
    weights: str = "",
    opts: Sequence[str] = (),
    add_config: Callable[[CfgNode], None] | None = None,
) -> Detector:
    """Build a detector and load its weights.

    Args:
        config_file: YAML or a LazyConfig (.py), by path or by name (see find_config).
        weights: replace those that the config names.
        opts: ``KEY VALUE`` pairs, or ``key=value`` for a LazyConfig.
        add_config: see build_cfg.

    Raises:
        InputError: there is no such config, or the weights do not fit.
    """
    path = find_config(config_file)
    if path.endswith(".py"):
        return _lazy(path, weights, opts)
    cfg = build_cfg(path, [*opts, *(["MODEL.WEIGHTS", weights] if weights else [])], add_config)
    if not cfg.MODEL.WEIGHTS:
        raise InputError(f"MODEL.WEIGHTS is empty in {config_file}: name them with --weights")
    model = load_model(cfg).eval()
    source = _source(config_file, cfg.MODEL.WEIGHTS, opts)
    rgb, test = cfg.INPUT.FORMAT == "RGB", cfg.INPUT
    return Detector(model, cfg, rgb, test.MIN_SIZE_TEST, test.MAX_SIZE_TEST, source)


def _source(config_file: str, weights: str, opts: Sequence[str]) -> dict[str, Any]:
    """The names of a detector's parts, with the paths of files made absolute."""
    here = [
        str(Path(name).resolve()) if Path(name).is_file() else name
        for name in (config_file, weights)
    ]
    return {"config_file": here[0], "weights": here[1], "opts": list(opts)}


def _lazy(path: str, weights: str, opts: Sequence[str]) -> Detector:
    try:
        cfg = LazyConfig.apply_overrides(LazyConfig.load(path), list(opts))
        model = instantiate(cfg.model).eval()
    except Exception as error:  # whatever the Python in it raises
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"the config {path} cannot be used ({reason}): correct it") from error
    weights = weights or cfg.get("train", {}).get("init_checkpoint", "")
    if not weights:
        raise InputError(f"{path} names no weights (train.init_checkpoint): give --weights")
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    ClipCheckpointer(model).load(weights)
    resize = _resize_of(cfg)
    rgb = getattr(model, "input_format", "BGR") == "RGB"
    return Detector(model, None, rgb, *resize, _source(path, weights, opts))


def _resize_of(cfg: Any) -> tuple[int, int]:
    """Sides of test images in a LazyConfig; detectron2's defaults where it does not say."""
    try:
        augmentation = cfg.dataloader.test.mapper.augmentations[0]
        return int(augmentation.short_edge_length), int(augmentation.max_size)
    except (AttributeError, KeyError, IndexError, TypeError):
        return 800, 1333


def add_detector_arguments(parser: argparse.ArgumentParser, *, ahead: bool = True) -> None:
    """Add to a tool's arguments what ``asked_cfg`` takes, but for ``opts``.

    Args:
        ahead: with those of tools that may look ahead.
    """
    parser.add_argument(
        "--config-file", metavar="FILE", help="default: that of the detector that --fields are for"
    )
    fields = parser.add_mutually_exclusive_group()
    fields.add_argument("--fields", metavar="FILE", help="a file of videogcrf fit")
    fields.add_argument(
        "--steady",
        action="store_const",
        const=READY_MADE,
        dest="fields",
        help="use the ready-made fields, which suit any detector",
    )
    parser.add_argument(
        "--strength", type=float, metavar="S", help="of the fields, from 0 to 1; default: 1"
    )
    if not ahead:
        return
    parser.add_argument(
        "--latency", type=int, metavar="N", help="frames that the fields look ahead; default: 1"
    )
    parser.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help="frames that the backbone sees at a time, with fields",
    )


def asked_cfg(args: argparse.Namespace, data: Sequence[str] = ()) -> CfgNode:
    """The config that a tool with ``add_detector_arguments`` and ``--opts`` is asked for.

    Args:
        args: of the command line.
        data: ``KEY VALUE`` pairs that come before its own.
    """
    return demo_cfg(
        args.config_file,
        args.fields,
        [*data, *args.opts],
        latency=getattr(args, "latency", None),
        strength=args.strength,
        batch=getattr(args, "batch", None),
    )


def demo_cfg(
    config_file: str | None,
    fields: str | None,
    opts: Sequence[str] = (),
    *,
    latency: int | None = None,
    strength: float | None = None,
    batch: int | None = None,
) -> CfgNode:
    """The config of a detector with fields, or of one without.

    Args:
        config_file: None for that of the detector that the fields were fitted to, with its weights.
        fields: a file of videogcrf fit, or READY_MADE, if any.
        opts: ``KEY VALUE`` pairs, which have the last word.
        latency, strength, batch: for fields alone; None for the config's.

    Raises:
        InputError: neither a config nor fields are given, or an option is for fields alone.
    """
    extra = {
        "TEST.LATENCY": latency,
        "MODEL.VIDEO_GCRF.STRENGTH": strength,
        "TEST.FRAMES_PER_BATCH": batch,
    }
    given = {key: value for key, value in extra.items() if value is not None}
    pairs = [str(part) for pair in given.items() for part in pair]
    if fields is None:
        if config_file is None:
            raise InputError("give --config-file, or --fields of videogcrf fit")
        if given:
            raise InputError(
                "--latency, --strength and --batch are for fields: give --fields or --steady"
            )
        return build_cfg(config_file, opts)
    if fields == READY_MADE and config_file is None:
        raise InputError(f"{READY_MADE} fields are for any detector: give one with --config-file")
    if config_file is None:
        source = SteadyFields.load(fields).source
        config_file = source["config_file"]
        if config_file.endswith(".py"):
            raise InputError(
                f"{fields} are for a LazyConfig, {config_file}: use videogcrf_det.steady.attach in "
                "Python (docs/steady.md)"
            )
        opts = [*source["opts"], "MODEL.WEIGHTS", source["weights"], *pairs, *opts]
    else:
        opts = [*pairs, *opts]
    return build_cfg(config_file, ["MODEL.VIDEO_GCRF.FIELDS", fields, *opts])
