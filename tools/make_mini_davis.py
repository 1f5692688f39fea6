"""Draw a small data set of walking people in the layout of DAVIS."""

import argparse

from videogcrf_det.cli import run_tool


def main() -> None:
    from videogcrf_det.data import mini_davis

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--output", required=True, metavar="ROOT", help="folder to make")
    parser.add_argument(
        "--num-train", type=int, default=mini_davis.NUM_TRAIN, help="training sequences"
    )
    parser.add_argument(
        "--num-val", type=int, default=mini_davis.NUM_VAL, help="validation sequences"
    )
    parser.add_argument(
        "--num-frames", type=int, default=mini_davis.NUM_FRAMES, help="frames of each sequence"
    )
    parser.add_argument("--height", type=int, default=mini_davis.SIZE[0], help="pixels")
    parser.add_argument("--width", type=int, default=mini_davis.SIZE[1], help="pixels")
    parser.add_argument("--seed", type=int, default=0, help="other seeds give other scenes")
    parser.add_argument("--speed", type=float, default=1.0, help="of everything that moves")
    parser.add_argument(
        "--degraded",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of frames of which little can be seen, up to 0.5",
    )
    parser.add_argument(
        "--depth", action="store_true", help="write the true depth of every frame as well"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace ROOT, if this tool wrote it"
    )
    args = parser.parse_args()
    mini_davis.make_mini_davis(
        args.output,
        num_train=args.num_train,
        num_val=args.num_val,
        num_frames=args.num_frames,
        size=(args.height, args.width),
        seed=args.seed,
        speed=args.speed,
        degraded=args.degraded,
        depth=args.depth,
        overwrite=args.overwrite,
    )


if __name__ == "__main__":
    run_tool(main)
