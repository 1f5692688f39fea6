"""The command line of fitting, for detectors and for other networks with a backbone."""

import argparse
from collections.abc import Callable
from typing import Any

from detectron2.config import CfgNode

from videogcrf_det.cli import tool_parser
from videogcrf_det.steady.detector import Detector
from videogcrf_det.steady.fit import OBJECTIVES, FitOptions
from videogcrf_det.steady.fit_video import fit_video, write_moving_average
from videogcrf_det.video.find import add_videos_argument


def argument_parser(description: str | None = None, epilog: str = "") -> argparse.ArgumentParser:
    """The options of the command line."""
    parser = tool_parser(description, epilog)
    parser.add_argument(
        "--config-file",
        required=True,
        metavar="FILE",
        help="of a detector: YAML, a LazyConfig, or a name in detectron2's model zoo",
    )
    parser.add_argument("--weights", default="", metavar="FILE", help="default: the config's")
    add_videos_argument(parser, default=[])
    parser.add_argument(
        "--output", metavar="FILE", help="gets the fields; default: OUTPUT_DIR/fields.pth"
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--iterations", type=int, metavar="N")
    budget.add_argument("--minutes", type=float, metavar="M", help="default: 5")
    parser.add_argument(
        "--objective",
        choices=OBJECTIVES,
        default="features",
        help="what is to come back; default: %(default)s",
    )
    parser.add_argument(
        "--from-ready-made", action="store_true", help="begin with the ready-made fields"
    )
    parser.add_argument(
        "--moving-average",
        type=float,
        metavar="A",
        help="fit nothing: fields that give the newest frame the share A, for comparison",
    )
    parser.add_argument(
        "--motion", action="store_true", help="follow the optical flow from frame to frame"
    )
    parser.add_argument(
        "--refine",
        action="store_true",
        help="change features before they are coupled, for footage that is bad throughout",
    )
    parser.add_argument(
        "--evaluate", action="store_true", help="evaluate on DATASETS.TEST, with the fields"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted fit")
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, default=[], help="config overrides, KEY VALUE, at the end"
    )
    return parser


def fit_as_asked(
    args: argparse.Namespace, detector: Detector, evaluate: Callable[[CfgNode], Any]
) -> None:
    """Fit what the command line asks for.

    Args:
        args: of ``argument_parser``.
        detector: that ``args`` name.
        evaluate: evaluates a config that names fields, for ``--evaluate``.
    """
    minutes = 5.0 if args.iterations is None and args.minutes is None else args.minutes
    options = FitOptions(
        args.iterations,
        minutes,
        objective=args.objective,
        motion=args.motion,
        ready_made=args.from_ready_made,
        refine=args.refine,
    )
    output = args.output or detector.default_output
    evaluation = evaluate if args.evaluate else None
    if args.moving_average is not None:
        write_moving_average(detector, args.moving_average, output, evaluate=evaluation)
        return
    fit_video(detector, args.videos, output, options, resume=args.resume, evaluate=evaluation)
