"""Measure a folder of masks, any method's: J, F and J&F with recall and decay."""

from videogcrf_det.cli import run_tool, tool_parser

EPILOG = """
The folder has indexed PNGs in the layout of DAVIS's results, FOLDER/<sequence>/00000.png; of
DAVIS-2016, 0 and any other value on the object:

    python score_masks.py --dataset davis_2016_val_480p --masks FOLDER
    python score_masks.py --dataset davis_2017_val_480p --masks FOLDER --output evaluation/

DAVIS is found below $DETECTRON2_DATASETS.
"""


def main() -> None:
    import video_tracking  # noqa: F401 - registers the data sets
    from video_tracking.scoring import score_masks

    from videogcrf_det.evaluation.record import Evaluation

    parser = tool_parser(__doc__, EPILOG)
    parser.add_argument("--dataset", required=True, metavar="NAME")
    parser.add_argument("--masks", required=True, metavar="FOLDER")
    parser.add_argument("--sequences", nargs="+", default=[], metavar="NAME", help="default: all")
    parser.add_argument("--output", metavar="FOLDER", help="gets evaluation.json")
    args = parser.parse_args()
    scores = score_masks(args.dataset, args.masks, args.sequences)
    print(scores.table())
    if args.output:
        sequences = {name: {"tracking": found} for name, found in scores.sequences.items()}
        Evaluation(args.dataset, {"tracking": scores.metrics}, sequences).write(args.output)


if __name__ == "__main__":
    run_tool(main)
