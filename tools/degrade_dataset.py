"""Copy a data set of videos and make some of its frames, or all of them, hard to see."""

from videogcrf_det.cli import run_tool, tool_parser

EPILOG = """
What the evaluation on davis_person_val loses where frames are degraded:

    videogcrf degrade-dataset --output datasets/DAVIS_degraded \\
        --annotations datasets/DAVIS/annotations/davis_person_val.json \\
        --images datasets/DAVIS/JPEGImages
    videogcrf train --config-file ... --eval-only MODEL.WEIGHTS ... \\
        DATASETS.TEST "('degraded_davis_person_val',)"

Kinds of copies: degraded (single frames out of focus, noisy, dark, or behind something); and of
whole videos low_rate (H.264), lost_packets (of a stream of H.264) and wet_lens (drops on it).
"""


def main() -> None:
    parser = tool_parser(__doc__, EPILOG)
    parser.add_argument(
        "--annotations", nargs="+", required=True, metavar="JSON", help="in COCO's format"
    )
    parser.add_argument(
        "--images", required=True, metavar="DIR", help="where the names of their images begin"
    )
    parser.add_argument("--output", required=True, metavar="ROOT", help="folder to make")
    parser.add_argument(
        "--kind",
        default="degraded",
        help="degraded, low_rate, lost_packets or wet_lens; see below (default: %(default)s)",
    )
    parser.add_argument(
        "--share",
        type=float,
        default=0.4,
        help="of frames to degrade, for the first kind, up to 0.4 (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="others degrade other frames")
    args = parser.parse_args()

    from videogcrf_det.data.degrade.dataset import degrade_dataset

    count = degrade_dataset(
        args.annotations,
        args.images,
        args.output,
        kind=args.kind,
        share=args.share,
        seed=args.seed,
    )
    print(f"{count} frames degraded in {args.output}")


if __name__ == "__main__":
    run_tool(main)
