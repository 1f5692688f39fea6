"""Images as cameras, phones and programs write them: read right by everybody, or named."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from tests.conftest import CONFIG
from videogcrf_det.data.davis_folder import DavisFolder, Problems, read_sequence
from videogcrf_det.data.images import header_size, read_image, read_label_map
from videogcrf_det.data.mappers import FrameMapper
from videogcrf_det.engine import build_cfg
from videogcrf_det.errors import InputError
from videogcrf_det.video import open_video


@pytest.fixture
def picture():
    """Left half dark, right half bright, with a corner of its own: (24, 40, 3)."""
    pixels = np.full((24, 40, 3), 30, np.uint8)
    pixels[:, 20:] = 200
    pixels[:6, :6] = [250, 10, 10]
    return pixels


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def through_all_readers(path):
    """The frame (H, W, 3) as the folder's reader, the mapper and read_image give it."""
    folder = path.parent / "frames"
    folder.mkdir(exist_ok=True)
    path.rename(folder / path.name)
    path = folder / path.name
    cfg = build_cfg(CONFIG, ["INPUT.FORMAT", "RGB", "INPUT.MIN_SIZE_TEST", "0"])
    (frame,) = list(open_video(folder))
    height, width = frame.image.shape[:2]
    record = {"file_name": str(path), "height": height, "width": width}
    mapped = FrameMapper(cfg, is_train=False).read_frame(record)["image"]
    return [frame.image, mapped.permute(1, 2, 0).numpy(), read_image(path)]


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_turn_as_exif_says(orientation, suffix, picture, tmp_path):
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        save(path, picture, tiffinfo={0x0112: orientation})
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(path, picture, exif=exif)
    turned = {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.transpose(1, 0, 2),
        6: np.rot90(picture, -1),
        7: picture[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(picture),
    }[orientation]
    assert header_size(path) == turned.shape[1::-1]
    for image in through_all_readers(path):
        assert np.array_equal(image, turned)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_all_take_the_upper_half_of_16_bits(suffix, tmp_path):
    grey = np.linspace(0, 65535, 24 * 40).reshape(24, 40).astype(np.uint16)
    for image in through_all_readers(save(tmp_path / f"a.{suffix}", grey)):
        assert np.array_equal(image, np.stack([grey // 256] * 3, 2))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_all_colours_become_three_channels(mode, picture, tmp_path):
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture).convert(mode).save(path)
    images = through_all_readers(path)
    for image in images:
        assert image.shape == (24, 40, 3)
        assert np.array_equal(image, images[0])
        assert image[12, 30].mean() > image[12, 10].mean() + 50


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp", "ppm"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_files_that_were_cut_are_named(suffix, share, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    path = save(tmp_path / f"a.{suffix}", noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    for _ in range(2):  # the second time as well
        with pytest.raises(OSError, match=r".+"):
            read_image(path)


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
def test_a_png_that_is_damaged_in_its_middle_is_never_half_black(place, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    path = save(tmp_path / "a.png", noise)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 255
    path.write_bytes(bytes(content))
    cfg = build_cfg(CONFIG)
    record = {"file_name": str(path), "height": 60, "width": 80}
    for _ in range(2):
        with pytest.raises(InputError, match=r"cannot read the frame .*a\.png"):
            FrameMapper(cfg, is_train=True).read_frame(record)


@pytest.mark.parametrize("suffix", ["tif", "gif", "webp", "png"])
def test_several_images_in_a_file_are_named(suffix, picture, tmp_path):
    path = tmp_path / f"a.{suffix}"
    images = [Image.fromarray(np.roll(picture, 3 * i, 1)) for i in range(3)]
    images[0].save(path, save_all=True, append_images=images[1:])
    with pytest.raises(OSError, match="it holds 3 images"):
        read_image(path)


def test_jpegs_with_something_after_them_are_whole(picture, tmp_path):
    (tmp_path / "JPEGImages/24p/walk").mkdir(parents=True)
    (tmp_path / "Annotations/24p/walk").mkdir(parents=True)
    path = save(tmp_path / "JPEGImages/24p/walk/00000.jpg", picture)
    mask = np.uint8(255 * (picture[..., 0] > 100))
    save(tmp_path / "Annotations/24p/walk/00000.png", mask)
    whole = path.read_bytes()
    folder = DavisFolder(tmp_path, "24p", tmp_path / "none.json", {}, one_person=True)
    for content, right in ((whole + b"\0" * 5000, True), (whole[: len(whole) // 2], False)):
        path.write_bytes(content)
        problems = Problems()
        frames = read_sequence(folder, "walk", problems)
        assert (len(problems) == 0) == right
        assert len(frames) == right


def test_images_that_are_too_large_are_named(monkeypatch, picture, tmp_path):
    path = save(tmp_path / "a.png", picture)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(OSError, match="make it smaller"):
        read_image(path)
    with pytest.raises(InputError, match="make it smaller"):
        open_video(_in_folder(path))


def test_labels_of_16_bits_are_named(tmp_path):
    save(tmp_path / "a.png", np.full((4, 5), 300, np.uint16))
    with pytest.raises(OSError, match="more than 8 bits"):
        read_label_map(tmp_path / "a.png")
    save(tmp_path / "b.png", np.full((4, 5), 7, np.uint8))
    assert (read_label_map(tmp_path / "b.png") == 7).all()


def test_floating_point_pixels_are_named(tmp_path):
    Image.fromarray(np.ones((4, 5), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(OSError, match="floating-point"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"II*\0" + b"\0" * 20,
        b"RIFF\0\0\0\0WEBP",
    ],
)
def test_files_that_are_no_images(content, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(OSError, match=r".+"):
        read_image(path)
    with pytest.raises(OSError, match=r".+"):
        header_size(path)
    with pytest.raises(InputError, match=r"a\.png"):
        list(open_video(_in_folder(path)))


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        read_image(tmp_path / "a.png")
    with pytest.raises(OSError, match=r".+"):
        read_image(tmp_path)


def test_sizes_are_compared_after_turning(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.jpg", picture, exif=exif)
    cfg = build_cfg(CONFIG)
    lying = {"file_name": str(path), "height": 24, "width": 40}
    with pytest.raises(InputError, match="after turning by EXIF"):
        FrameMapper(cfg, is_train=False).read_frame(lying)
    FrameMapper(cfg, is_train=False).read_frame({**lying, "height": 40, "width": 24})


def test_a_corrupt_exif_block_is_not_in_the_way(picture, tmp_path):
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG")
    jpeg = stream.getvalue()
    block = b"Exif\0\0" + b"MM\0*" + b"\xff" * 30
    broken = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]
    path = tmp_path / "a.jpg"
    path.write_bytes(broken)
    assert read_image(path).shape == picture.shape


def _in_folder(path):
    folder = path.parent / "only"
    folder.mkdir()
    path.rename(folder / path.name)
    return folder
