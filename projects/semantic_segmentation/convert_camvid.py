"""Convert an original CamVid, of 32 classes, to the layout and labels of the SegNet tutorial."""

from videogcrf_det.cli import run_tool, tool_parser

EPILOG = """
    python convert_camvid.py --images 701_StillsRaw_full --labels LabeledApproved_full \\
        --output datasets/CamVid --size 480x360

480x360 is the size of the tutorial's own files. A part of the original will do: what is missing is
said at the end.
"""


def _size(text: str) -> tuple[int, int]:
    width, separator, height = text.partition("x")
    if not separator or int(width) < 1 or int(height) < 1:
        raise ValueError(text)
    return int(width), int(height)


_size.__name__ = "size"  # argparse names it in its error


def main() -> None:
    parser = tool_parser(__doc__, EPILOG)
    parser.add_argument("--images", required=True, metavar="DIR", help="0001TP_006690.png, ...")
    parser.add_argument("--labels", required=True, metavar="DIR", help="0001TP_006690_L.png, ...")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--size", type=_size, metavar="WxH", help="of what is written (default: as it is)"
    )
    args = parser.parse_args()

    from video_semseg.camvid_original import convert_camvid

    print(convert_camvid(args.images, args.labels, args.output, args.size))


if __name__ == "__main__":
    run_tool(main)
