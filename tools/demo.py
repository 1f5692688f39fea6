"""Detect and follow instances in a video, and draw them over it."""

import argparse

from videogcrf_det.cli import run_tool

EPILOG = """
    videogcrf demo --config-file FILE --steady --input new.mp4 --output steady.mp4
    videogcrf demo --fields fields.pth --input new.mp4 --output steady.mp4 --compare-baseline
    videogcrf demo --config-file FILE --input street.mp4 --output detected.mp4 \\
        --opts MODEL.WEIGHTS model_final.pth
    videogcrf demo --config-file FILE --input frames/ --fps 24 --output detected/ \\
        --json detected.json --opts MODEL.WEIGHTS model_final.pth
    videogcrf demo --config-file FILE --input 0 --output camera.mp4 \\
        --compare-baseline mask_rcnn.pth --opts MODEL.WEIGHTS model_final.pth

Ctrl-C stops early and keeps what there is. docs/demo.md has the rest.
"""


def main() -> None:
    from videogcrf_det.data.own_data import add_data_arguments, data_options
    from videogcrf_det.demo import add_detection_arguments, run_demo
    from videogcrf_det.demo_loop import add_demo_arguments
    from videogcrf_det.steady.detector import add_detector_arguments, asked_cfg

    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_detector_arguments(parser)
    add_data_arguments(parser)
    add_demo_arguments(parser)
    add_detection_arguments(parser)
    parser.add_argument("--json", metavar="FILE", help="gets the detections as COCO results")
    parser.add_argument(
        "--compare-baseline",
        nargs="?",
        const="",
        metavar="WEIGHTS",
        help="show the per-frame detector beside it, with its own weights or with the same ones",
    )
    args = parser.parse_args()
    run_demo(
        asked_cfg(args, data_options(args)),
        args.input,
        args.output,
        confidence_threshold=args.confidence_threshold,
        json_file=args.json,
        baseline=args.compare_baseline,
        fps=args.fps,
        max_frames=args.max_frames,
        longest_gap=args.fill_gaps,
    )


if __name__ == "__main__":
    run_tool(main)
