"""Every key that VideoGCRF adds to a detectron2 config."""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode as CN

from videogcrf_det.errors import InputError
from videogcrf_det.files import shipped_folder
from videogcrf_det.gcrf import IndefiniteError

# names of arguments in what videogcrf_det.gcrf says, with a value in quotes or without, and their
# keys in MODEL.VIDEO_GCRF unless those are the same in capitals
ARGUMENT = re.compile(
    r"\b(lam|rtol|max_iters|neighbourhood|self_coupling|distance_decay|solver(?==)|(?:spatial_|temporal_)?dim|block_size)\b"
    r'(?:="(\w+)")?'
)
KEYS = {"lam": "LAMBDA", "dim": "TEMPORAL_DIM"}
# what adds the keys of a meta-architecture that has some of its own, by its name
ADDED_KEYS: dict[str, Callable[[CN], None]] = {}


def find_config(name: str) -> str:
    """The path of a config.

    Args:
        name: a path; else a name below this project's ``configs/``, or one in detectron2's model
            zoo, with or without ``.yaml``: ``DAVIS-Person/video_gcrf_R_50_FPN_4f``.

    Raises:
        InputError: there is none.
    """
    names = (name, f"{name}.yaml")
    for path in (Path(name), *(shipped_folder("configs") / each for each in names)):
        if path.is_file():
            return str(path)
    from detectron2 import model_zoo  # needs pkg_resources, which newer setuptools lack

    for each in names:
        with contextlib.suppress(RuntimeError):
            return str(model_zoo.get_config_file(each))
    raise InputError(
        f"there is no config {name}, neither here nor among those of videogcrf_det and of "
        "detectron2's model zoo: check the path"
    )


def add_videogcrf_config(cfg: CN) -> None:
    """Add the keys of clips and of the VideoGCRF to ``cfg``, with their defaults."""
    cfg.MODEL.VIDEO_GCRF = CN()
    _add_data(cfg)
    _add_training(cfg)
    _add_videos(cfg)
    _add_random_field(cfg)
    _add_couplings(cfg)


def _add_data(cfg: CN) -> None:
    # A YAML file of your own data sets, which replaces DATASETS.TRAIN and DATASETS.TEST:
    #     train: {street_train: {annotations: train.json, images: images}}
    #     test: {street_val: {annotations: val.json, images: images}}
    # with paths that begin in its folder. MODEL.ROI_HEADS.NUM_CLASSES then follows from the data,
    # unless the command line sets it.
    cfg.DATASETS.FILE = ""
    # The same as "NAME=JSON:IMAGES" each: ["street=street/train.json:street/images"], for names in
    # DATASETS.TRAIN and DATASETS.TEST. --train-data and --test-data write it.
    cfg.DATASETS.OWN = []

    cfg.INPUT.CLIP = CN()
    # Frames of a clip: the temporal context V, in training and in inference. 1: single frames.
    # NUM_FRAMES 4, STRIDE 1, reference frame 10: frames 9, 10, 11, 12.
    # NUM_FRAMES 3, STRIDE 1, reference frame 10: frames 9, 10, 11.
    # A video's first frame as the reference, NUM_FRAMES 4: frames 0, 1, 2, 3.
    # A video of two frames, NUM_FRAMES 4: frames 0, 1.
    cfg.INPUT.CLIP.NUM_FRAMES = 4
    # Frames from one frame of a training clip to the next.
    # NUM_FRAMES 4, STRIDE 2, reference frame 10: frames 8, 10, 12, 14.
    # Inference takes successive frames whatever the stride.
    cfg.INPUT.CLIP.STRIDE = 1
    # The share of training frames to degrade at random: blur, noise, darkness, things in front. A
    # detector then has to ask the frames around them. 0.4: two in five.
    cfg.INPUT.CLIP.DEGRADED = 0.0


def _add_training(cfg: CN) -> None:
    # SOLVER.IMS_PER_BATCH counts clips: 2 clips of 4 frames are 8 images an iteration.
    # "SGD" is detectron2's. "AdamW" suits weights whose gradients differ much in size, as those of
    # VideoGCRFs do from all others, and takes a BASE_LR of about 1e-4; it needs, like the next key,
    # a detectron2 after 0.6.
    cfg.SOLVER.OPTIMIZER = "SGD"
    # The learning rate of the weights of VideoGCRFs, in units of SOLVER.BASE_LR: they are new where
    # all others are pretrained. Try 10.0.
    cfg.SOLVER.VIDEO_GCRF_LR_FACTOR = 1.0
    # What SOLVER.AMP.ENABLED computes in, "float16" or "bfloat16", on a GPU with a detectron2 after
    # 0.6. "": float16 on a GPU, bfloat16 on a CPU, which does nothing else.
    cfg.SOLVER.AMP.PRECISION = ""


def _add_videos(cfg: CN) -> None:
    # Inference on a video slides a window of NUM_FRAMES frames over it, by WINDOW_STEP frames,
    # and averages the features of frames that several windows cover.
    # NUM_FRAMES 4, WINDOW_STEP 1, video of 6 frames: windows 0-3, 1-4, 2-5.
    # NUM_FRAMES 4, WINDOW_STEP 4, video of 8 frames: windows 0-3, 4-7, nothing to average.
    cfg.TEST.WINDOW_STEP = 1

    # With MODEL.VIDEO_GCRF.FIELDS: the number of later frames that a frame's result waits for.
    # 0: the result comes at once; 2: frame 10 is read, and then frame 8 is done; -1: the whole
    # video, which memory must then hold.
    cfg.TEST.LATENCY = 1
    # With ClipRCNN or MODEL.VIDEO_GCRF.FIELDS: frames of a video that the backbone sees at a time.
    # 4 suits GPUs; the frames of a camera come later by as many.
    cfg.TEST.FRAMES_PER_BATCH = 1
    # The number of frames, the newest included, over which boxes, scores and masks of an object are
    # averaged; for detectors of single frames. To compare with: the usual way without fields.
    # 1: no averaging.
    cfg.TEST.DETECTION_WINDOW = 1

    # For inference with any meta-architecture: features of successive frames are averaged, each
    # counting as much as it can be trusted. A file of videogcrf fit ("fields.pth"),
    # "ready-made" for what comes with the package, "hand-made" to compare with; "": none.
    cfg.MODEL.VIDEO_GCRF.FIELDS = ""
    # How far neighbouring frames count, from 0 (the detector by itself, bit by bit) to 1 (as they
    # were fitted).
    cfg.MODEL.VIDEO_GCRF.STRENGTH = 1.0
    # "": along what fields were fitted, the optical flow or the same places. "dis": OpenCV's flow.
    # A folder: the flow of one video that another program has computed; see FlowFolder.
    cfg.MODEL.VIDEO_GCRF.MOTION = ""


def _add_random_field(cfg: CN) -> None:
    # Used where MODEL.BACKBONE.NAME is build_video_gcrf_backbone.
    # The backbone that makes the features: any name in detectron2's BACKBONE_REGISTRY.
    cfg.MODEL.VIDEO_GCRF.BACKBONE_NAME = "build_resnet_backbone"
    # Its features that pass through a VideoGCRF of their own; the others go through unchanged.
    # ["res4"] is the paper's place, ["p2", "p3", "p4", "p5"] the levels of an FPN.
    cfg.MODEL.VIDEO_GCRF.IN_FEATURES = ["res4"]
    # Size of the embeddings that couple positions within a frame. 0 leaves the spatial terms out.
    cfg.MODEL.VIDEO_GCRF.SPATIAL_DIM = 128
    # Size of the embeddings that couple positions of different frames. 0: the spatial G-CRF.
    cfg.MODEL.VIDEO_GCRF.TEMPORAL_DIM = 128
    # 3x3 convolutions of an embedding branch before its 1x1 output layer, and their channels.
    cfg.MODEL.VIDEO_GCRF.NUM_CONVS = 1
    cfg.MODEL.VIDEO_GCRF.CONV_DIM = 128


def _add_couplings(cfg: CN) -> None:
    # "product": positions with similar embeddings inhibit each other, as in the paper.
    # "average": they are averaged, each counting as much as it is trusted. Takes SPATIAL_DIM 0:
    # the temporal embeddings couple positions of one frame as well, with SELF_COUPLING "psd".
    cfg.MODEL.VIDEO_GCRF.PAIRWISE = "product"
    # For "product", in detectors: the weight of a loss by which couplings tell pairs of positions
    # that are both on instances, or both on the background, from others (Sec. 3). 0.0: none. A
    # warm start: 1.0 with FREEZE_DETECTOR True first, then a training from these weights with 0.0.
    cfg.MODEL.VIDEO_GCRF.PAIRWISE_LOSS = 0.0
    # For "average": positions are coupled to those in the same block, of this number of cells
    # along each side, in all frames. 1: to the same place in other frames; 0: to all positions.
    # With NUM_FRAMES 1 and more than 1 here: to other places of the frame, the spatial field.
    cfg.MODEL.VIDEO_GCRF.BLOCK_SIZE = 1
    # Distances in frames at which frames of a clip are coupled (Fig. 4 of the paper); []: all.
    # With NUM_FRAMES 7, frame 3 sees: [] frames 0 1 2 4 5 6; [1] frames 2 4; [1, 2] frames 1 2 4 5;
    # [1, 2, 4] frames 1 2 4 5 as well, and frame 0 sees frames 1 2 4.
    cfg.MODEL.VIDEO_GCRF.NEIGHBOURHOOD = []
    # "psd": a frame is coupled to itself just enough for a unique solution with any lambda.
    # "zero": not at all, Eq. 2 as printed; a small lambda is then an error.
    cfg.MODEL.VIDEO_GCRF.SELF_COUPLING = "psd"
    # Temporal couplings fade as exp(-distance / DISTANCE_DECAY) with the distance in frames.
    # 2.0: neighbours at distances 1, 2, 3 count 0.61, 0.37, 0.22. 0.0: all count 1, the paper.
    cfg.MODEL.VIDEO_GCRF.DISTANCE_DECAY = 0.0
    # Weight of the unary term against the couplings, above 0.
    cfg.MODEL.VIDEO_GCRF.LAMBDA = 1.0
    # "residual": features + conv1x1(lambda x - features), with a convolution that starts at zero,
    # so that a pretrained detector is unchanged at first. "replace": lambda x, as in the paper.
    cfg.MODEL.VIDEO_GCRF.FUSION = "residual"
    # True: what is not a random field stays as MODEL.WEIGHTS has it. Gives a temporal context to a
    # detector that is not to change otherwise, in less time.
    cfg.MODEL.VIDEO_GCRF.FREEZE_DETECTOR = False
    # False: no position sees another one, with the same layers and as many weights, which scale the
    # features of each instead ("average" by nothing at first). For comparisons that ask what
    # couplings are worth.
    cfg.MODEL.VIDEO_GCRF.COUPLED = True
    # "direct": the exact solver of docs/method.md. "cg": conjugate gradients, Algorithm 1 of the
    # paper. "auto": the direct one, unless the shapes of the system favour the other. PAIRWISE
    # "average" has an exact solver of its own, but for "cg" with more than 256 unknowns a clip.
    cfg.MODEL.VIDEO_GCRF.SOLVER = "auto"
    # A system counts as solved at this relative residual.
    cfg.MODEL.VIDEO_GCRF.RTOL = 1e-5
    # Conjugate gradients give up, with a warning, after this number of iterations.
    cfg.MODEL.VIDEO_GCRF.MAX_ITERS = 200


def keys_of(path: str, opts: Sequence[str] = ()) -> Callable[[CN], None]:
    """The function that adds the keys that a YAML file's or ``KEY VALUE`` pairs' model needs."""
    # as detectron2 reads it: its own RetinaNet computes a value in its YAML
    named = CN.load_yaml_with_base(path, allow_unsafe=True).get("MODEL", {}) if path else {}
    pairs = dict(zip(opts[::2], opts[1::2], strict=False))
    name = pairs.get("MODEL.META_ARCHITECTURE", named.get("META_ARCHITECTURE"))
    return ADDED_KEYS.get(str(name), add_videogcrf_config)


def gcrf_options(cfg: CN) -> dict[str, Any]:
    """Keyword arguments of VideoGCRF.build from MODEL.VIDEO_GCRF.

    Raises:
        InputError: a key is set that these pairwise terms do not have.
    """
    options = cfg.MODEL.VIDEO_GCRF
    own = {"spatial_dim": options.SPATIAL_DIM, "temporal_dim": options.TEMPORAL_DIM}
    if options.PAIRWISE == "average":
        if options.SPATIAL_DIM:
            raise InputError(
                "MODEL.VIDEO_GCRF.PAIRWISE average has one embedding, of TEMPORAL_DIM, within and "
                f"across frames: set SPATIAL_DIM, which is {options.SPATIAL_DIM}, to 0"
            )
        own = {"dim": options.TEMPORAL_DIM, "block_size": options.BLOCK_SIZE}
    elif options.PAIRWISE == "product" and options.BLOCK_SIZE != 1:
        raise InputError(
            "MODEL.VIDEO_GCRF.PAIRWISE product couples all positions: leave out BLOCK_SIZE, which "
            f"is {options.BLOCK_SIZE}, or set PAIRWISE average"
        )
    return {
        "pairwise": options.PAIRWISE,
        **own,
        "num_convs": options.NUM_CONVS,
        "conv_dim": options.CONV_DIM,
        "neighbourhood": options.NEIGHBOURHOOD,
        "self_coupling": options.SELF_COUPLING,
        "distance_decay": options.DISTANCE_DECAY or None,
        "lam": options.LAMBDA,
        "fusion": options.FUSION,
        "coupled": options.COUPLED,
        "solver": options.SOLVER,
        "rtol": options.RTOL,
        "max_iters": options.MAX_ITERS,
    }


@contextlib.contextmanager
def wrong_options_named() -> Iterator[None]:
    """Have what a random field says of its arguments name keys of the config."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(as_keys(str(error))) from None


@contextlib.contextmanager
def indefinite_named() -> Iterator[None]:
    """The same for systems that turn out to be indefinite."""
    try:
        yield
    except IndefiniteError as error:
        raise InputError(as_keys(str(error))) from None


def as_keys(text: str) -> str:
    """A message of a random field, with keys of the config for the names of arguments.

    >>> as_keys('use solver="direct", or a larger lam')
    'in MODEL.VIDEO_GCRF: use SOLVER direct, or a larger LAMBDA'
    """

    def key(found: re.Match[str]) -> str:
        name, value = found.groups()
        return KEYS.get(name, name.upper()) + (f" {value}" if value else "")

    return f"in MODEL.VIDEO_GCRF: {ARGUMENT.sub(key, text)}"


def check_windows(num_frames: int, window_step: int) -> None:
    """Raise InputError unless windows of that many frames can advance by that step."""
    if num_frames < 1:
        raise InputError(f"INPUT.CLIP.NUM_FRAMES must be at least 1, got {num_frames}")
    if not 1 <= window_step <= num_frames:
        raise InputError(
            f"TEST.WINDOW_STEP must be from 1 to INPUT.CLIP.NUM_FRAMES = {num_frames}, "
            f"got {window_step}"
        )
