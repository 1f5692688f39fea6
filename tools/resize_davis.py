"""Make a smaller resolution of a data set in the layout of DAVIS, for CPUs: 240p from 480p."""

import argparse

from videogcrf_det.cli import run_tool


def main() -> None:
    from videogcrf_det.data.davis.resize import resize_davis

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, help="folder with JPEGImages and Annotations")
    parser.add_argument("--source", default="480p", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--height", type=int, default=240, help="pixels; default: %(default)s")
    args = parser.parse_args()
    count = resize_davis(args.root, args.source, args.height)
    print(f"wrote {count} files of {args.root}/*/{args.height}p")


if __name__ == "__main__":
    run_tool(main)
