"""Write the persons, or all objects, of a folder in the layout of DAVIS as COCO annotations."""

from videogcrf_det.cli import run_tool, tool_parser

EPILOG = """
DAVIS-2017 (indexed masks, davis_semantics.json, ImageSets/2017):

    videogcrf prepare-davis-person --root datasets/DAVIS --split train
    videogcrf prepare-davis-person --root datasets/DAVIS --split val

DAVIS-2016 (masks of 0 and 255), sequences in which the object is one person:

    videogcrf prepare-davis-person --root datasets/DAVIS --split val \\
        --sequences dance-twirl parkour

All sequences of DAVIS-2016, whatever the object is:

    videogcrf prepare-davis-person --root datasets/DAVIS --split train --all-objects

docs/datasets.md has the layout and more examples.
"""


def main() -> None:
    parser = tool_parser(__doc__, EPILOG)
    parser.add_argument("--root", required=True, help="folder with JPEGImages and Annotations")
    parser.add_argument("--split", required=True, choices=["train", "val"])
    parser.add_argument(
        "--resolution",
        default="480p",
        metavar="FOLDER",
        help="folder below JPEGImages and Annotations (default: 480p)",
    )
    names = parser.add_mutually_exclusive_group()
    names.add_argument(
        "--sequences",
        nargs="+",
        metavar="NAME",
        help="sequences to take, in place of ROOT/ImageSets/YEAR/SPLIT.txt; a mask of 0 and 255 "
        "is one person in them (with --all-objects one object)",
    )
    names.add_argument("--sequences-file", metavar="FILE", help="the same, one name a line")
    parser.add_argument(
        "--semantics",
        metavar="FILE",
        help="JSON with the category of each object (default: ROOT/davis_semantics.json)",
    )
    parser.add_argument(
        "--ignore-masks",
        metavar="DIR",
        help="DIR/SEQUENCE/FRAME.png are non-zero where do-not-care",
    )
    parser.add_argument(
        "--all-objects",
        action="store_true",
        help="the foreground of a frame is one instance of the class 'object'; sequences are those "
        "of DAVIS-2016",
    )
    parser.add_argument("--first", type=int, metavar="N", help="frames of each sequence to take")
    parser.add_argument(
        "--step",
        type=int,
        default=1,
        metavar="N",
        help="take one frame in N, as a camera of a lower frame rate does",
    )
    parser.add_argument(
        "--label-every",
        type=int,
        default=1,
        metavar="N",
        help="keep the labels of one frame in N; the others are context in training, and are left "
        "out of evaluation",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="file to write (default: ROOT/annotations/davis_person_SPLIT.json, with --all-objects "
        "davis_2016_objects_SPLIT.json, with --first, --step and "
        "--label-every N ..._SPLIT_N_step_N_every_N.json)",
    )
    args = parser.parse_args()

    from videogcrf_det.data.davis.prepare import prepare_davis_person, read_list

    summary = prepare_davis_person(
        args.root,
        args.split,
        resolution=args.resolution,
        sequences=read_list(args.sequences_file) if args.sequences_file else args.sequences,
        semantics=args.semantics,
        ignore_masks=args.ignore_masks,
        all_objects=args.all_objects,
        first=args.first,
        step=args.step,
        every=args.label_every,
        output=args.output,
    )
    print(summary)


if __name__ == "__main__":
    run_tool(main)
