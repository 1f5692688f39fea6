"""Say of videos whether their camera moves, by the median optical flow at the border of frames."""

from itertools import islice

from videogcrf_det.cli import run_tool, tool_parser

EPILOG = """
    videogcrf camera-motion --videos datasets/DAVIS/JPEGImages/480p/*
"""


def main() -> None:
    from videogcrf_det.video.find import add_videos_argument, find_videos

    parser = tool_parser(__doc__, EPILOG)
    add_videos_argument(parser, required=True)
    parser.add_argument(
        "--first", type=int, metavar="N", help="number of frames to look at, of each"
    )
    args = parser.parse_args()

    import numpy as np
    from tabulate import tabulate

    from videogcrf_det.motion.camera import MOVING, camera_motion
    from videogcrf_det.video import open_video

    rows = []
    for path in find_videos(args.videos):
        frames = islice(open_video(path), args.first)
        moved = camera_motion(np.ascontiguousarray(frame.image[:, :, ::-1]) for frame in frames)
        kind = "-" if moved is None else "moving" if moved > MOVING else "static"
        rows.append([path.name, kind, "-" if moved is None else f"{100 * moved:.2f}"])
    headings = ["video", "camera", "% of the height a frame"]
    print(tabulate(rows, headings, tablefmt="pipe", disable_numparse=True))


if __name__ == "__main__":
    run_tool(main)
