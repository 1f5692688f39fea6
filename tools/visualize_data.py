"""Draw clips as training sees them: after augmentation, with their masks and boxes."""

from videogcrf_det.cli import add_opts, run_tool, tool_parser

EPILOG = """
    videogcrf visualize-data --config-file DAVIS-Person/video_gcrf_R_50_FPN_4f
    videogcrf visualize-data --config-file FILE --opts INPUT.CLIP.STRIDE 3
"""


def main() -> None:
    from videogcrf_det.data.own_data import add_data_arguments, data_options
    from videogcrf_det.drawing import write_clips
    from videogcrf_det.engine import build_cfg

    parser = tool_parser(__doc__, EPILOG)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    add_data_arguments(parser)
    parser.add_argument(
        "--output", default="output/data", metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--num-clips", type=int, default=8, metavar="N", help="default: %(default)s"
    )
    add_opts(parser)
    args = parser.parse_args()
    cfg = build_cfg(args.config_file, [*data_options(args), *args.opts])
    paths = write_clips(cfg, args.output, args.num_clips)
    print(f"wrote {len(paths)} clips to {args.output}")


if __name__ == "__main__":
    run_tool(main)
