"""Write a page about an evaluated model: metrics, curves, videos, where it differs from another."""

from videogcrf_det.cli import run_tool, tool_parser

EPILOG = """
RUN and BASELINE are the OUTPUT_DIR of a training or of an evaluation:

    videogcrf report --run output/video_gcrf --baseline output/mask_rcnn
    videogcrf report --run output/video_gcrf --dataset davis_person_val --fps 24

docs/report.md says what the page shows.
"""


def main() -> None:
    from videogcrf_det.data.own_data import add_data_arguments, register_entries
    from videogcrf_det.report import write_report

    parser = tool_parser(__doc__, EPILOG)
    parser.add_argument("--run", required=True, metavar="DIR")
    parser.add_argument("--baseline", metavar="DIR", help="what to compare it with")
    parser.add_argument(
        "--output", default="output/report", metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("--dataset", metavar="NAME", help="default: the only one of the evaluation")
    parser.add_argument(
        "--confidence-threshold", type=float, default=0.5, metavar="P", help="default: %(default)s"
    )
    parser.add_argument("--fps", type=float, default=10, help="default: %(default)s")
    parser.add_argument("--title", help="the headline of the page")
    add_data_arguments(parser, ["test"])
    args = parser.parse_args()
    register_entries(args.test_data)
    page = write_report(
        args.output,
        args.run,
        args.baseline,
        dataset=args.dataset,
        confidence_threshold=args.confidence_threshold,
        fps=args.fps,
        title=args.title,
    )
    print(f"wrote {page}")


if __name__ == "__main__":
    run_tool(main)
