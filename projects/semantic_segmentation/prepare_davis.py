"""Write label maps, person against background, from the annotations of DAVIS-Person."""

from videogcrf_det.cli import run_tool, tool_parser

EPILOG = """
After tools/prepare_davis_person.py, which makes the annotations:

    python prepare_davis.py datasets/DAVIS/annotations/davis_person_{train,val}.json

Label maps go to datasets/DAVIS/SemanticPerson.
"""


def main() -> None:
    parser = tool_parser(__doc__, EPILOG)
    parser.add_argument("annotations", nargs="+", metavar="JSON", help="COCO-format annotations")
    args = parser.parse_args()

    from video_semseg.davis import write_label_maps

    for json_file in args.annotations:
        paths = write_label_maps(json_file)
        print(f"{json_file}: {len(paths)} label maps, the first is {paths[0]}")


if __name__ == "__main__":
    run_tool(main)
