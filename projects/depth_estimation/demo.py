"""Estimate the depth of a video, and show it beside the frames."""

import argparse

from videogcrf_det.cli import run_tool

EPILOG = """
    python demo.py --config-file configs/MiniDAVIS/R_18_4f.yaml --input street.mp4 \\
        --output depth.mp4 --compare-baseline --opts MODEL.WEIGHTS model_final.pth
    python demo.py --config-file configs/MiniDAVIS/R_18_frames.yaml --fields fields.pth \\
        --input frames/ --fps 24 --output depth.mp4 --depth depth/ \\
        --opts MODEL.WEIGHTS model_final.pth

--opts TEST.LATENCY 2 looks two frames ahead. Ctrl-C stops early and keeps what there is.
"""


def main() -> None:
    from video_depth import add_depth_config
    from video_depth.demo import UNIT, run_demo

    from videogcrf_det.demo_loop import add_demo_arguments
    from videogcrf_det.engine import build_cfg

    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--fields", metavar="FILE", help="what fit_video.py wrote")
    add_demo_arguments(parser)
    parser.add_argument("--depth", metavar="FOLDER", help="gets depth as PNGs of 16 bits")
    parser.add_argument(
        "--unit",
        type=float,
        default=UNIT,
        metavar="M",
        help="metres a grey level of --depth; default: %(default)s",
    )
    parser.add_argument(
        "--range",
        type=float,
        nargs=2,
        metavar=("NEAR", "FAR"),
        help="metres at the ends of the colours; default: after the first frame",
    )
    parser.add_argument(
        "--compare-baseline",
        action="store_true",
        help="show what the same network says of single frames as well",
    )
    args = parser.parse_args()
    fields = [] if args.fields is None else ["MODEL.VIDEO_GCRF.FIELDS", args.fields]
    run_demo(
        build_cfg(args.config_file, [*fields, *args.opts], add_depth_config),
        args.input,
        args.output,
        compare_baseline=args.compare_baseline,
        depth_folder=args.depth,
        unit=args.unit,
        scale=None if args.range is None else tuple(args.range),
        fps=args.fps,
        max_frames=args.max_frames,
    )


if __name__ == "__main__":
    run_tool(main)
