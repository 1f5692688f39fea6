"""Write the persons of a folder in the layout of DAVIS as COCO-format annotations."""

import argparse

from videogcrf_det.cli import run_tool

EPILOG = """
DAVIS-2017 (indexed masks, davis_semantics.json, ImageSets/2017):

    videogcrf prepare-davis-person --root datasets/DAVIS --split train
    videogcrf prepare-davis-person --root datasets/DAVIS --split val

DAVIS-2016 (masks of 0 and 255), sequences in which the object is one person:

    videogcrf prepare-davis-person --root datasets/DAVIS --split val \\
        --sequences dance-twirl parkour

docs/datasets.md has the layout and more examples.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
        help="sequences to take, in place of ROOT/ImageSets/2017/SPLIT.txt; a mask of 0 and 255 "
        "is one person in them",
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
        "--output",
        metavar="FILE",
        help="file to write (default: ROOT/annotations/davis_person_SPLIT.json)",
    )
    args = parser.parse_args()

    from videogcrf_det.data.prepare import prepare_davis_person, read_list

    summary = prepare_davis_person(
        args.root,
        args.split,
        resolution=args.resolution,
        sequences=read_list(args.sequences_file) if args.sequences_file else args.sequences,
        semantics=args.semantics,
        ignore_masks=args.ignore_masks,
        output=args.output,
    )
    print(summary)


if __name__ == "__main__":
    run_tool(main)
