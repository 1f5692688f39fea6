"""Write unaries for instance tracking: a network fine-tuned on the first frame of each video."""

from videogcrf_det.cli import add_opts, run_tool, tool_parser

EPILOG = """
    python make_unaries.py --config-file configs/DAVIS-2016/parent_R_50.yaml \\
        --dataset davis_2016_val_480p --output output/DAVIS-2016/unaries \\
        --opts MODEL.WEIGHTS output/DAVIS-2016/parent_R_50/unary/model_final.pth
    python make_unaries.py --config-file FILE --dataset davis_2016_val_480p --sequences cows goat \\
        --output unaries --opts UNARIES.ADAPT.ENABLED True MODEL.WEIGHTS model_final.pth

Videos that are finished are left out: after an interruption, the same command goes on.
"""


def main() -> None:
    from video_tracking import add_tracking_config
    from video_tracking.write_unaries import make_unaries

    from videogcrf_det.engine import build_cfg

    parser = tool_parser(__doc__, EPILOG)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--dataset", required=True, metavar="NAME")
    parser.add_argument("--output", required=True, metavar="FOLDER")
    parser.add_argument("--sequences", nargs="+", default=[], metavar="NAME", help="default: all")
    add_opts(parser)
    args = parser.parse_args()
    cfg = build_cfg(args.config_file, args.opts, add_tracking_config)
    make_unaries(cfg, args.dataset, args.output, args.sequences)


if __name__ == "__main__":
    run_tool(main)
