"""Segment a video, and draw the labels over it."""

import argparse

from videogcrf_det.cli import run_tool

EPILOG = """
    python demo.py --config-file FILE --input street.mp4 --output segmented.mp4 \\
        --opts MODEL.WEIGHTS output/CamVid/quick_R_50_3f/joint/model_final.pth
    python demo.py --config-file FILE --input frames/ --fps 24 --output segmented/ \\
        --labels labels/ --opts MODEL.WEIGHTS model_final.pth
    python demo.py --config-file FILE --input 0 --output camera.mp4 --compare-baseline \\
        --opts MODEL.WEIGHTS model_final.pth

MODEL.PHASE unary leaves the random field out. Ctrl-C stops early and keeps what there is.
"""


def main() -> None:
    from video_semseg.demo import run_demo
    from video_semseg.drawing import OPACITY

    from videogcrf_det.demo_loop import add_demo_arguments
    from videogcrf_det.engine import build_cfg
    from videogcrf_det.segmentation import add_segmentation_config

    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE")
    add_demo_arguments(parser)
    parser.add_argument("--labels", metavar="FOLDER", help="gets the label maps as indexed PNGs")
    parser.add_argument(
        "--compare-baseline",
        action="store_true",
        help="show what the unaries of the same weights say on their own beside it",
    )
    parser.add_argument(
        "--opacity", type=float, default=OPACITY, metavar="P", help="default: %(default)s"
    )
    args = parser.parse_args()
    run_demo(
        build_cfg(args.config_file, args.opts, add_segmentation_config),
        args.input,
        args.output,
        compare_baseline=args.compare_baseline,
        labels=args.labels,
        opacity=args.opacity,
        fps=args.fps,
        max_frames=args.max_frames,
    )


if __name__ == "__main__":
    run_tool(main)
