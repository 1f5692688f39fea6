"""Draw what a point of a video is coupled to, and what the random field makes of it."""

from videogcrf_det.cli import add_opts, import_projects, run_tool, tool_parser

EPILOG = """
    videogcrf visualize-affinity --config-file FILE --opts MODEL.WEIGHTS model_final.pth
    videogcrf visualize-affinity --config-file FILE --video parkour --frame 45 \\
        --point 250,166 --feature p3 --output parkour.pdf --opts MODEL.WEIGHTS model_final.pth

    videogcrf visualize-affinity --config-file FILE --label car --opts MODEL.WEIGHTS model_final.pth
    videogcrf visualize-affinity --config-file FILE --input walk.mp4 --frame 120 \\
        --opts MODEL.WEIGHTS model_final.pth

docs/affinity.md explains the plot.
"""


def point(text: str) -> tuple[int, int]:
    """Two whole numbers with a comma between them."""
    x, y = map(int, text.split(","))
    return x, y


def main() -> None:
    from videogcrf_det.affinity.visualize import AFFINITIES, visualize_affinity
    from videogcrf_det.data.own_data import add_data_arguments, data_options
    from videogcrf_det.engine import build_cfg

    import_projects()
    parser = tool_parser(__doc__, EPILOG)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    add_data_arguments(parser)
    parser.add_argument(
        "--input", metavar="PATH", help="a video file or a folder of frames, not of a data set"
    )
    parser.add_argument("--dataset", metavar="NAME", help="default: the first of DATASETS.TEST")
    parser.add_argument("--video", metavar="NAME", help="default: the first that shows an instance")
    parser.add_argument(
        "--frame", type=int, metavar="N", help="counted from 0; default: the middle one"
    )
    parser.add_argument(
        "--point",
        type=point,
        metavar="X,Y",
        help="in pixels of the frame; default: the middle of its largest instance",
    )
    parser.add_argument(
        "--output", default="output/affinity.png", metavar="FILE", help="default: %(default)s"
    )
    add_opts(parser)
    AFFINITIES.add_arguments(parser)
    args = parser.parse_args()
    cfg = build_cfg(args.config_file, [*data_options(args), *args.opts])
    table = visualize_affinity(
        cfg,
        args.output,
        source=args.input,
        dataset=args.dataset,
        video=args.video,
        frame=args.frame,
        point=args.point,
        **AFFINITIES.given(args, cfg),
    )
    if table:
        print(table)
    print(f"wrote {args.output}")


if __name__ == "__main__":
    run_tool(main)
