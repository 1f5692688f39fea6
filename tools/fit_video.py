"""Fit fields to a detector on raw videos, so that it stays steady where frames are hard to see."""

import argparse

from videogcrf_det.cli import run_tool

EPILOG = """
    videogcrf fit --config-file COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml \\
        --videos footage/ --output fields.pth
    videogcrf demo --fields fields.pth --input new.mp4 --output steady.mp4 --compare-baseline

No label is read and the detector stays as it is. Ctrl-C stops, and --resume goes on. docs/steady.md
has the rest.
"""


def argument_parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    from videogcrf_det.steady.fit import OBJECTIVES

    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config-file",
        required=True,
        metavar="FILE",
        help="of a detector: YAML, a LazyConfig, or a name in detectron2's model zoo",
    )
    parser.add_argument("--weights", default="", metavar="FILE", help="default: the config's")
    parser.add_argument(
        "--videos",
        nargs="+",
        default=[],
        metavar="PATH",
        help="video files, folders of frames, folders of either, or patterns",
    )
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


def main() -> None:
    from videogcrf_det.steady.detector import load_detector
    from videogcrf_det.steady.fit import FitOptions
    from videogcrf_det.steady.fit_video import fit_video, write_moving_average

    args = argument_parser().parse_args()
    minutes = 5.0 if args.iterations is None and args.minutes is None else args.minutes
    options = FitOptions(
        args.iterations,
        minutes,
        objective=args.objective,
        motion=args.motion,
        ready_made=args.from_ready_made,
        refine=args.refine,
    )
    detector = load_detector(args.config_file, args.weights, args.opts)
    output = args.output or detector.default_output
    if args.moving_average is not None:
        write_moving_average(detector, args.moving_average, output, evaluate=args.evaluate)
        return
    fit_video(
        detector,
        args.videos,
        output,
        options,
        resume=args.resume,
        evaluate=args.evaluate,
    )


if __name__ == "__main__":
    run_tool(main)
