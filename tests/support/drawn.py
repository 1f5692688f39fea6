"""Drawn sequences in DAVIS's layout: bright balls that roll over a noisy floor."""

import numpy as np
from PIL import Image
from video_tracking.unaries import read_unary

HEIGHT, WIDTH, RADIUS = 48, 64, 9
COLOURS = [(230, 200, 40), (40, 90, 230)]
CONFIGS = "projects/instance_tracking/configs/DAVIS-2016"
TINY = [
    *["MODEL.RESNETS.STEM_OUT_CHANNELS", "8", "MODEL.RESNETS.RES2_OUT_CHANNELS", "8"],
    *["MODEL.RESNETS.WIDTH_PER_GROUP", "4", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "8"],
    *["MODEL.SEM_SEG_HEAD.NORM", "''", "MODEL.VIDEO_GCRF.CONV_DIM", "8"],
    *["MODEL.VIDEO_GCRF.NUM_CONVS", "1", "MODEL.VIDEO_GCRF.SPATIAL_DIM", "4"],
    *["MODEL.VIDEO_GCRF.TEMPORAL_DIM", "3", "MODEL.PIXEL_STD", "[50.0, 50.0, 50.0]"],
    *["INPUT.MIN_SIZE_TEST", "48", "MODEL.WEIGHTS", "''"],
]


def ball(number, which=0):
    """Where a ball is on a frame: (48, 64) bool."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    row, column = (16 + number, 12 + 5 * number) if which == 0 else (34, 52 - 5 * number)
    return (rows - row) ** 2 + (columns - column) ** 2 <= RADIUS**2


def object_ids(number, count):
    """(48, 64): 1 and 2 on the balls, of which the second is in front."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    for which in range(count):
        ids[ball(number, which)] = which + 1
    return ids


def picture(number, count):
    """A frame (48, 64, 3), RGB."""
    noise = np.random.default_rng(int(number)).normal(0, 6, (HEIGHT, WIDTH, 3))
    image = 110 + noise
    for which in range(count):
        image[object_ids(number, count) == which + 1] = COLOURS[which]
    return image.clip(0, 255).astype(np.uint8)


def write_sequence(root, name, *, year, count=1, num_frames=6, resolution="240p"):
    """A sequence's frames and masks."""
    images, masks = (root / kind / resolution / name for kind in ("JPEGImages", "Annotations"))
    for folder in (images, masks):
        folder.mkdir(parents=True)
    for number in range(num_frames):
        Image.fromarray(picture(number, count)).save(images / f"{number:05d}.jpg", quality=95)
        ids = object_ids(number, count)
        mask = Image.fromarray(ids if year == "2017" else (ids > 0).astype(np.uint8) * 255)
        if year == "2017":
            mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        mask.save(masks / f"{number:05d}.png")


def write_list(root, year, split, lines):
    """A list of sequences."""
    file = root / "ImageSets" / year / f"{split}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")


def read_probability(folder, record):
    """The probabilities (H, W) of the foreground that unaries stand for."""
    return 1 / (1 + np.exp(-read_unary(folder, record)))
