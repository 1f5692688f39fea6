"""Keys of detectron2 that change nothing here: refused, rather than left without an effect."""

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import META_ARCH_REGISTRY

from videogcrf_det.config import add_videogcrf_config
from videogcrf_det.errors import InputError

PROPOSALS = "proposals are those of the model's own RPN"
KEYPOINTS = "keypoints are neither read nor evaluated"
SAMPLERS = "each clip is drawn once an epoch"
# keys, or nodes with all of theirs, and why they change nothing
UNUSED = {
    "MODEL.LOAD_PROPOSALS": PROPOSALS,
    "DATASETS.PROPOSAL_FILES_TRAIN": PROPOSALS,
    "DATASETS.PROPOSAL_FILES_TEST": PROPOSALS,
    "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TRAIN": PROPOSALS,
    "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TEST": PROPOSALS,
    "MODEL.KEYPOINT_ON": KEYPOINTS,
    "MODEL.ROI_KEYPOINT_HEAD": KEYPOINTS,
    "TEST.KEYPOINT_OKS_SIGMAS": KEYPOINTS,
    "DATALOADER.REPEAT_THRESHOLD": SAMPLERS,
    "DATALOADER.REPEAT_SQRT": SAMPLERS,
    "TEST.AUG": "videos are not augmented in evaluation",
    "MODEL.RETINANET": "no model here is a RetinaNet",
    "MODEL.PANOPTIC_FPN": "no model here is panoptic",
}
DETECTOR = "it is for the segmentation of projects/"
SEGMENTOR = "it is for detectors"
OF_DETECTORS = {
    **{f"MODEL.{name}": SEGMENTOR for name in ("MASK_ON", "RPN", "ROI_HEADS", "ROI_BOX_HEAD")},
    **{f"MODEL.{name}": SEGMENTOR for name in ("ROI_BOX_CASCADE_HEAD", "ROI_MASK_HEAD")},
    **{f"MODEL.{name}": SEGMENTOR for name in ("ANCHOR_GENERATOR", "PROPOSAL_GENERATOR")},
    "DATALOADER.FILTER_EMPTY_ANNOTATIONS": "every frame is taken",
    "TEST.DETECTIONS_PER_IMAGE": SEGMENTOR,
    "VIS_PERIOD": "there are no proposals to draw",
}
FIELD = "depth has a chain over time, which has no such thing"
OF_ARCHITECTURE = {
    "ClipRCNN": {"MODEL.SEM_SEG_HEAD": DETECTOR},
    "VideoDepth": {
        **OF_DETECTORS,
        "MODEL.SEM_SEG_HEAD": DETECTOR,
        **{
            f"MODEL.VIDEO_GCRF.{name}": FIELD
            for name in (
                *("BACKBONE_NAME", "IN_FEATURES", "SPATIAL_DIM", "PAIRWISE", "BLOCK_SIZE"),
                *("NEIGHBOURHOOD", "SELF_COUPLING", "DISTANCE_DECAY"),
                *("LAMBDA", "FUSION", "SOLVER", "RTOL", "MAX_ITERS"),
            )
        },
        "TEST.WINDOW_STEP": "chains have no windows",
        "TEST.DETECTION_WINDOW": SEGMENTOR,
    },
    "VideoSegmentor": {
        **OF_DETECTORS,
        "MODEL.VIDEO_GCRF.FIELDS": "labels have a random field of their own",
        "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT": "there is one loss",
        "MODEL.SEM_SEG_HEAD.COMMON_STRIDE": "scores have the stride of the features",
        "MODEL.SEM_SEG_HEAD.LOSS_TYPE": "the loss is the cross-entropy of all pixels",
        **{
            f"MODEL.SEM_SEG_HEAD.{name}": "it is for detectron2's DeepLab head"
            for name in (
                *("PROJECT_FEATURES", "PROJECT_CHANNELS", "ASPP_CHANNELS", "ASPP_DILATIONS"),
                *("ASPP_DROPOUT", "USE_DEPTHWISE_SEPARABLE_CONV"),
            )
        },
        "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA": "crops are taken as they are drawn",
    },
}
# former keys and values, and what to do now
NEIGHBOURHOOD = (
    "give distances in frames: [] for fc (all frames), [1] for 2, [1, 2] for 4 and "
    "[1, 2, 4] for 6ms"
)
FORMER = {
    "MODEL.VIDEO_GCRF.NEIGHBOURHOOD": NEIGHBOURHOOD,
    "MODEL.VIDEO_GCRF.LEARN_LAMBDA": "leave it out; VideoGCRF.build has the argument learn_lam",
    "MODEL.VIDEO_GCRF.LEARN_DISTANCE_DECAY": (
        "leave it out; VideoGCRF.build has the argument learn_distance_decay"
    ),
}
FOR_FIELDS = ("MODEL.VIDEO_GCRF.STRENGTH", "MODEL.VIDEO_GCRF.MOTION", "TEST.LATENCY")
# keys, whether they change anything, and without what they do not
NEEDS: tuple[tuple[tuple[str, ...], Callable[[CfgNode], bool], str], ...] = (
    (
        ("SOLVER.MOMENTUM", "SOLVER.NESTEROV"),
        lambda cfg: cfg.SOLVER.OPTIMIZER == "SGD",
        "with another SOLVER.OPTIMIZER than SGD",
    ),
    (
        ("INPUT.CLIP.STRIDE",),
        lambda cfg: cfg.INPUT.CLIP.NUM_FRAMES > 1,
        "with INPUT.CLIP.NUM_FRAMES 1",
    ),
    (
        ("SOLVER.AMP.PRECISION",),
        lambda cfg: cfg.SOLVER.AMP.ENABLED,
        "with SOLVER.AMP.ENABLED False",
    ),
    (
        ("MODEL.VIDEO_GCRF.NEIGHBOURHOOD", "MODEL.VIDEO_GCRF.DISTANCE_DECAY"),
        lambda cfg: cfg.MODEL.VIDEO_GCRF.TEMPORAL_DIM != 0,
        "with MODEL.VIDEO_GCRF.TEMPORAL_DIM 0",
    ),
    (
        ("MODEL.VIDEO_GCRF.CONV_DIM",),
        lambda cfg: cfg.MODEL.VIDEO_GCRF.NUM_CONVS != 0,
        "with MODEL.VIDEO_GCRF.NUM_CONVS 0",
    ),
)
# what detectron2 takes without a word, or fails at hours later
WORDS = (
    ("INPUT.MIN_SIZE_TRAIN_SAMPLING", ("choice", "range")),
    ("INPUT.RANDOM_FLIP", ("horizontal", "vertical", "none")),
    ("INPUT.CROP.TYPE", ("relative", "relative_range", "absolute", "absolute_range")),
    ("INPUT.MASK_FORMAT", ("polygon", "bitmask")),
    ("SOLVER.WARMUP_METHOD", ("linear", "constant")),
    ("SOLVER.CLIP_GRADIENTS.CLIP_TYPE", ("value", "norm")),
)
LEAST = (
    ("SOLVER.MAX_ITER", 1),
    ("SOLVER.CHECKPOINT_PERIOD", 1),
    ("SOLVER.WARMUP_ITERS", 0),
    ("SOLVER.REFERENCE_WORLD_SIZE", 0),
    ("SOLVER.WEIGHT_DECAY", 0),
    ("SOLVER.MOMENTUM", 0),
    ("TEST.EVAL_PERIOD", 0),
    ("TEST.DETECTIONS_PER_IMAGE", 1),
    ("DATALOADER.NUM_WORKERS", 0),
    ("INPUT.MIN_SIZE_TEST", 0),
    ("INPUT.MAX_SIZE_TEST", 1),
    ("INPUT.MAX_SIZE_TRAIN", 1),
    ("VIS_PERIOD", 0),
    ("MODEL.BACKBONE.FREEZE_AT", 0),
)


def check_keys(cfg: CfgNode, stock: CfgNode) -> None:
    """Check what was set of detectron2's keys, so that nobody learns of it hours later.

    Args:
        cfg: a config.
        stock: the same before anything was set.

    Raises:
        InputError: a key was set that changes nothing here, or has a value that is of no use.
    """
    for keys, used, without in NEEDS:
        if not used(cfg):
            _check_stock(cfg, stock, keys, without)
    name = cfg.MODEL.META_ARCHITECTURE
    if name not in OF_ARCHITECTURE:  # detectron2's own, which fields can be put into
        return
    for key, reason in {**UNUSED, **OF_ARCHITECTURE[name]}.items():
        _check_stock(cfg, stock, [key], f"here, since {reason}")
    _check_values(cfg)


def check_for_fields(cfg: CfgNode) -> None:
    """Raise InputError where a key was set that is for fields, and there are none."""
    stock = get_cfg()
    add_videogcrf_config(stock)
    chain = cfg.MODEL.META_ARCHITECTURE == "VideoDepth"  # its own heeds them
    if not cfg.MODEL.VIDEO_GCRF.FIELDS and not chain:
        _check_stock(cfg, stock, FOR_FIELDS, "without MODEL.VIDEO_GCRF.FIELDS")
        if cfg.MODEL.META_ARCHITECTURE != "ClipRCNN":
            without = "without ClipRCNN or MODEL.VIDEO_GCRF.FIELDS"
            _check_stock(cfg, stock, ["TEST.FRAMES_PER_BATCH"], without)


def without_fields(cfg: CfgNode) -> CfgNode:
    """A copy without fields, and without what was set for them alone."""
    stock = get_cfg()
    add_videogcrf_config(stock)
    copy = cfg.clone()
    copy.defrost()
    for key in ("MODEL.VIDEO_GCRF.FIELDS", *FOR_FIELDS, "TEST.FRAMES_PER_BATCH"):
        copy.merge_from_list([key, _at(stock, key)])
    copy.freeze()
    return copy


def _check_stock(cfg: CfgNode, stock: CfgNode, keys: Sequence[str], without: str) -> None:
    """Raise InputError where keys, or those below a node, have been set."""
    for key in keys:
        for changed in _changed(key, _at(cfg, key), _at(stock, key)):
            raise InputError(
                f"{changed} {_at(cfg, changed)} would change nothing {without}: leave it at "
                f"{_at(stock, changed)}"
            )


def unreadable(reason: str) -> str:
    """A message of yacs about a config, with advice where it is about a former key."""
    for key, advice in FORMER.items():
        if re.search(rf"{re.escape(key)}\b", reason):
            value = re.search(r"\(\[.*\] vs\. (.*)\) for config key", reason)
            return f"{key}{f' {value[1]!r}' if value else ''} is not valid any more: {advice}"
    return reason


def check_takes_clips(cfg: CfgNode) -> None:
    """Raise InputError for a meta-architecture that cannot be trained on clips."""
    name = cfg.MODEL.META_ARCHITECTURE
    if name in META_ARCH_REGISTRY:
        module = META_ARCH_REGISTRY.get(name).__module__
        if module.startswith("detectron2."):
            raise InputError(
                f"MODEL.META_ARCHITECTURE {name} takes single images and no clips: set it to "
                "ClipRCNN, which is detectron2's GeneralizedRCNN on clips, or train it with "
                "detectron2 and steady it with videogcrf fit"
            )


def check_parts(cfg: CfgNode) -> None:
    """Raise InputError for a part of detectron2's models that cannot be used here."""
    if cfg.MODEL.PROPOSAL_GENERATOR.NAME in ("RRPN", "PrecomputedProposals"):
        raise InputError(
            f"MODEL.PROPOSAL_GENERATOR.NAME {cfg.MODEL.PROPOSAL_GENERATOR.NAME} makes no proposals "
            "that instances of videos are found with: set it to IgnoreRegionRPN or RPN"
        )
    if any(cfg.MODEL.RESNETS.DEFORM_ON_PER_STAGE):
        try:
            from detectron2 import _C  # noqa: F401
        except ImportError:
            raise InputError(
                "MODEL.RESNETS.DEFORM_ON_PER_STAGE needs detectron2's compiled extension, which "
                "this installation lacks: leave it False, or install detectron2 from its "
                "repository (docs/install.md)"
            ) from None


def _check_values(cfg: CfgNode) -> None:
    for key, words in WORDS:
        if _at(cfg, key) not in words:
            raise InputError(f"{key} {_at(cfg, key)!r} is not known: use {' or '.join(words)}")
    for key, least in LEAST:
        if not _is_number(_at(cfg, key)) or not _at(cfg, key) >= least:
            raise InputError(f"{key} {_at(cfg, key)} is too small: use {least} or more")
    for key in ("SOLVER.BASE_LR", "SOLVER.VIDEO_GCRF_LR_FACTOR"):
        if not _is_number(_at(cfg, key)) or not 0 < _at(cfg, key) < math.inf:
            raise InputError(f"{key} {_at(cfg, key)} is no learning rate: use one above 0")
    _check_sizes(cfg)
    _check_expected(cfg)


def _check_sizes(cfg: CfgNode) -> None:
    sizes = cfg.INPUT.MIN_SIZE_TRAIN
    sizes = [sizes] if isinstance(sizes, int) else sizes
    if not sizes or min(sizes) < 1:
        raise InputError(f"INPUT.MIN_SIZE_TRAIN {sizes} are no sizes in pixels: try (480,)")
    if cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING == "range" and len(sizes) != 2:
        raise InputError(
            f"INPUT.MIN_SIZE_TRAIN {sizes} is not the least and the greatest size, which "
            "INPUT.MIN_SIZE_TRAIN_SAMPLING range takes: try (240, 480)"
        )
    if not all(std > 0 for std in cfg.MODEL.PIXEL_STD) or len(cfg.MODEL.PIXEL_STD) != len(
        cfg.MODEL.PIXEL_MEAN
    ):
        raise InputError(
            f"MODEL.PIXEL_STD {cfg.MODEL.PIXEL_STD} are not the deviations of the channels of "
            f"MODEL.PIXEL_MEAN {cfg.MODEL.PIXEL_MEAN}: give one above 0 for each"
        )


def _check_expected(cfg: CfgNode) -> None:
    if cfg.TEST.EXPECTED_RESULTS and len(cfg.DATASETS.TEST) != 1:
        raise InputError(
            f"TEST.EXPECTED_RESULTS are those of one data set, and DATASETS.TEST names "
            f"{len(cfg.DATASETS.TEST)}: leave them out, or name one"
        )
    for expected in cfg.TEST.EXPECTED_RESULTS:
        if not isinstance(expected, list | tuple) or len(expected) != 4:
            raise InputError(
                f"TEST.EXPECTED_RESULTS has {expected!r}, which is not a task, a metric, its value "
                "and a tolerance: try ['segm', 'AP', 38.5, 0.2]"
            )


@contextlib.contextmanager
def built_from_config(part: str) -> Iterator[None]:
    """Turn what detectron2 raises while it builds a part of a training into an InputError."""
    try:
        yield
    except InputError:
        raise
    except (
        *(KeyError, ValueError, TypeError, AssertionError, AttributeError, IndexError),
        *(NotImplementedError, RuntimeError, ZeroDivisionError, ImportError),
    ) as error:
        reason = " ".join(str(error).split()) or "it gives no reason"
        raise InputError(
            f"the config does not make {part} ({type(error).__name__}: {reason}): look at the keys "
            "that it is made from"
        ) from error


def _at(cfg: CfgNode, key: str) -> Any:
    for name in key.split("."):
        cfg = cfg.get(name) if isinstance(cfg, CfgNode) else None
    return cfg


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _changed(key: str, value: Any, stock: Any) -> Iterator[str]:
    """The keys below a node, or the key itself, whose value is another than the stock one."""
    if isinstance(value, CfgNode) and isinstance(stock, CfgNode):
        for name in value:
            yield from _changed(f"{key}.{name}", value[name], stock.get(name))
    elif _plain(value) != _plain(stock):
        yield key


def _plain(value: Any) -> Any:
    """Lists and tuples are the same to a config."""
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
