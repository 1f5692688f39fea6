"""Write videos of what several methods found, side by side."""

from videogcrf_det.cli import run_tool, tool_parser
from videogcrf_det.errors import InputError

EPILOG = """
Folders are those of an evaluation, or of any method in the layout of DAVIS's results:

    python compare_results.py --dataset davis_2016_val_480p --output output/compared --results \\
        unaries=output/tables/davis_2016/unaries/seed0/unary/inference/davis_2016_val_480p/masks \\
        "3 frames=output/DAVIS-2016/R_50_3f/joint/inference/davis_2016_val_480p/masks"
"""


def _named(words: list[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for word in words:
        name, _, folder = word.partition("=")
        if not name or not folder:
            raise InputError(f"--results takes NAME=FOLDER, got {word!r}")
        if name in named:
            raise InputError(f"--results has two folders called {name!r}: name them apart")
        named[name] = folder
    return named


def main() -> None:
    import video_tracking  # noqa: F401 - registers the data sets
    from video_tracking.compare import compare_results

    parser = tool_parser(__doc__, EPILOG)
    parser.add_argument("--dataset", required=True, metavar="NAME")
    parser.add_argument("--results", required=True, nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="gets <sequence>.mp4")
    parser.add_argument("--sequences", nargs="+", default=[], metavar="NAME", help="default: all")
    parser.add_argument("--fps", type=float, default=10, help="default: %(default)s")
    args = parser.parse_args()
    videos = compare_results(
        args.dataset, _named(args.results), args.output, sequences=args.sequences, fps=args.fps
    )
    print("wrote " + ", ".join(map(str, videos)))


if __name__ == "__main__":
    run_tool(main)
