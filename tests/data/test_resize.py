import numpy as np
import pytest
from PIL import Image

from videogcrf_det.data.davis.resize import resize_davis
from videogcrf_det.data.mini_davis import davis_palette
from videogcrf_det.errors import InputError


@pytest.fixture
def root(tmp_path):
    """Two frames of 48x80 with masks, indexed and 0/255."""
    for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
        (tmp_path / kind / "48p" / "walk").mkdir(parents=True)
        for index in range(2):
            pixels = np.zeros((48, 80), np.uint8)
            pixels[12:36, 20:60] = [2, 255][index]
            image = Image.fromarray(pixels if kind == "Annotations" else np.stack([pixels] * 3, 2))
            if kind == "Annotations" and not index:
                image.putpalette(davis_palette())
            image.save(tmp_path / kind / "48p" / "walk" / f"{index:05d}.{suffix}")
    return tmp_path


def test_frames_and_masks_are_halved(root):
    assert resize_davis(root, "48p", 24) == 4
    with Image.open(root / "Annotations/24p/walk/00000.png") as mask:
        assert mask.mode == "P"
        assert mask.getpalette()[:12] == list(davis_palette()[:12])
        ids = np.asarray(mask)
    assert ids.shape == (24, 40)
    assert set(np.unique(ids)) == {0, 2}
    assert (ids[6:18, 10:30] == 2).all()
    assert (ids == 2).sum() == 12 * 20
    with Image.open(root / "JPEGImages/24p/walk/00001.jpg") as frame:
        assert abs(np.asarray(frame)[8:16, 14:26].astype(int) - 255).max() < 8


def test_lists_of_paths_name_the_new_ones(root):
    """As DAVIS-2016 has them: without, its smaller frames would have no list of sequences."""
    lists = root / "ImageSets"
    (lists / "48p").mkdir(parents=True)
    (lists / "48p/val.txt").write_text("/JPEGImages/48p/walk/0.jpg /Annotations/48p/walk/0.png\n")
    resize_davis(root, "48p", 24)
    expected = "/JPEGImages/24p/walk/0.jpg /Annotations/24p/walk/0.png\n"
    assert (lists / "24p/val.txt").read_text() == expected


@pytest.mark.parametrize(
    ("source", "height", "message"),
    [("480p", 24, "no frames"), ("48p", 60, "has to be smaller"), ("48p", 3, "16 pixels or more")],
)
def test_what_cannot_be_resized(root, source, height, message):
    with pytest.raises(InputError, match=message):
        resize_davis(root, source, height)
    assert not (root / "JPEGImages" / f"{height}p").exists()


def test_damaged_files_and_folders_that_are_there(root):
    resize_davis(root, "48p", 24)
    with pytest.raises(InputError, match="is there already"):
        resize_davis(root, "48p", 24)
    frame = root / "JPEGImages/48p/walk/00000.jpg"
    frame.write_bytes(frame.read_bytes()[:100])
    with pytest.raises(InputError, match=r"00000\.jpg cannot be read"):
        resize_davis(root, "48p", 30)
    assert not (root / "JPEGImages/30p").exists()
