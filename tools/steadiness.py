"""Measure how steady detections of a video are, without annotations."""

from videogcrf_det.cli import run_tool, tool_parser

EPILOG = """
    videogcrf steadiness --results a.json --results b.json --video x.mp4

docs/evaluation.md says what is measured, and how to read it.
"""


def main() -> None:
    from videogcrf_det.evaluation.steadiness import measure_steadiness, steadiness_table

    parser = tool_parser(__doc__, EPILOG)
    parser.add_argument(
        "--results",
        action="append",
        required=True,
        metavar="FILE",
        help="COCO results with masks, as the evaluation and demo.py --json write them; may be "
        "given several times",
    )
    parser.add_argument(
        "--video", required=True, metavar="PATH", help="a video file or a folder of frames"
    )
    parser.add_argument(
        "--first-image",
        type=int,
        default=0,
        metavar="ID",
        help="image_id of the first frame, from which on they count the frames; default: "
        "%(default)s",
    )
    parser.add_argument(
        "--confidence-threshold", type=float, default=0.5, metavar="P", help="default: %(default)s"
    )
    args = parser.parse_args()
    measured = measure_steadiness(
        args.results,
        args.video,
        confidence_threshold=args.confidence_threshold,
        first_image=args.first_image,
    )
    print(steadiness_table(args.results, measured))


if __name__ == "__main__":
    run_tool(main)
