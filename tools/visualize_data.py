"""Draw clips as training sees them: after augmentation, with their masks and boxes."""

import argparse

from videogcrf_det.cli import run_tool

EPILOG = """
    videogcrf visualize-data --config-file DAVIS-Person/video_gcrf_R_50_FPN_4f
    videogcrf visualize-data --config-file FILE --opts INPUT.CLIP.STRIDE 3
"""


def main() -> None:
    from videogcrf_det.data.own_data import add_data_arguments, data_options
    from videogcrf_det.drawing import write_clips
    from videogcrf_det.engine import build_cfg

    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE")
    add_data_arguments(parser)
    parser.add_argument(
        "--output", default="output/data", metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--num-clips", type=int, default=8, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config overrides"
    )
    args = parser.parse_args()
    cfg = build_cfg(args.config_file, [*data_options(args), *args.opts])
    paths = write_clips(cfg, args.output, args.num_clips)
    print(f"wrote {len(paths)} clips to {args.output}")


if __name__ == "__main__":
    run_tool(main)
