"""Draw what a label at a point of a video is coupled to, and what the random field changes."""

import argparse

from videogcrf_det.cli import run_tool

EPILOG = """
    python visualize_affinity.py --config-file FILE \\
        --opts MODEL.WEIGHTS output/CamVid/quick_R_50_3f/joint/model_final.pth
    python visualize_affinity.py --config-file FILE --video 0001TP --frame 45 --point 120,80 \\
        --label car --output car.pdf --opts MODEL.WEIGHTS model_final.pth
    python visualize_affinity.py --config-file FILE --input street.mp4 --frame 120 \\
        --opts MODEL.WEIGHTS model_final.pth

docs/affinity.md explains the plot.
"""


def point(text: str) -> tuple[int, int]:
    """Two whole numbers with a comma between them."""
    x, y = map(int, text.split(","))
    return x, y


def main() -> None:
    from video_semseg.visualize_affinity import visualize_affinity

    from videogcrf_det.engine import build_cfg
    from videogcrf_det.segmentation import add_segmentation_config

    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument(
        "--input", metavar="PATH", help="a video file or a folder of frames, not of a data set"
    )
    parser.add_argument("--dataset", metavar="NAME", help="default: the first of DATASETS.TEST")
    parser.add_argument("--video", metavar="NAME", help="default: the first")
    parser.add_argument(
        "--frame", type=int, metavar="N", help="counted from 0; default: the middle one"
    )
    parser.add_argument(
        "--point",
        type=point,
        metavar="X,Y",
        help="in pixels of the frame; default: the middle of the label",
    )
    parser.add_argument("--label", metavar="NAME", help="default: the one at the point")
    parser.add_argument(
        "--output", default="output/affinity.png", metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config overrides"
    )
    args = parser.parse_args()
    table = visualize_affinity(
        build_cfg(args.config_file, args.opts, add_segmentation_config),
        args.output,
        source=args.input,
        dataset=args.dataset,
        video=args.video,
        frame=args.frame,
        point=args.point,
        label=args.label,
    )
    if table:
        print(table)
    print(f"wrote {args.output}")


if __name__ == "__main__":
    run_tool(main)
