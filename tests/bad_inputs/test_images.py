"""Images as cameras, phones and programs write them: read right by everybody, or named."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from video_semseg.camvid_original import convert_camvid

from tests.conftest import CONFIG
from videogcrf_det.data.davis import prepare
from videogcrf_det.data.davis.folder import (
    DavisFolder,
    Problems,
    image_header,
    mask_values,
    read_sequence,
)
from videogcrf_det.data.davis.resize import resize_davis
from videogcrf_det.data.degrade import frames
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


def turned(path, pixels, **options):
    """Save an image that its EXIF orientation turns to ``pixels``."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path.parent.mkdir(parents=True, exist_ok=True)
    return save(path, np.ascontiguousarray(np.rot90(pixels)), exif=exif, **options)


@pytest.fixture
def mask(picture):
    """Where ``picture`` is bright, as ids of objects."""
    return np.uint8(picture[..., 1] > 100)


def test_headers_are_read_without_pixels(picture, tmp_path):
    path = turned(tmp_path / "a.png", np.random.default_rng(0).permuted(picture))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"IDAT") + 40])
    assert header_size(path) == image_header(path)[0] == (40, 24)
    with pytest.raises(OSError, match=r".+"):
        read_image(path)


@pytest.mark.parametrize("value", [-1, 65536, 2**31 - 1])
def test_32_bits_are_named(value, tmp_path):
    pixels = np.zeros((4, 5), np.int32)
    pixels[2, 2] = value
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    with pytest.raises(OSError, match="32-bit"):
        read_image(tmp_path / "a.tif")


def test_a_tiff_whose_next_image_is_none_is_named(picture, tmp_path):
    path = save(tmp_path / "a.tif", picture)
    content = path.read_bytes()
    start = struct.unpack_from("<I", content, 4)[0]
    after = start + 2 + 12 * struct.unpack_from("<H", content, start)[0]
    following = struct.pack("<I", len(content))  # where a directory without entries begins
    path.write_bytes(content[:after] + following + content[after + 4 :] + bytes(6))
    for read in (read_image, header_size, read_label_map):
        with pytest.raises(OSError, match=r".+"):
            read(path)


def test_label_maps_are_read_as_they_are(mask, tmp_path):
    assert np.array_equal(read_label_map(save(tmp_path / "a.png", 7 * mask)), 7 * mask)
    assert np.array_equal(read_label_map(turned(tmp_path / "b.png", mask)), mask)


@pytest.mark.parametrize("mode", ["1", "P", "RGB", "LA", "I;16"])
def test_label_maps_of_another_kind_are_never_guessed(mode, picture, mask, tmp_path):
    frame, path = save(tmp_path / "a.png", picture), tmp_path / "labels.png"
    if mode == "I;16":  # the upper 8 bits of which are all 0
        Image.fromarray(mask.astype(np.uint16)).save(path)
    else:
        Image.fromarray(mask).convert(mode).save(path)
    with pytest.raises(OSError, match="8 bits of grey"):
        read_label_map(path)
    record = {"file_name": str(frame), "sem_seg_file_name": str(path), "height": 24, "width": 40}
    with pytest.raises(InputError, match=r"cannot read the label map .*labels\.png"):
        FrameMapper(build_cfg(CONFIG), is_train=True).read_frame(record)


def test_what_is_degraded_is_turned(picture, monkeypatch, tmp_path):
    monkeypatch.setattr(frames, "degrade", lambda image, rng: image)
    source = turned(tmp_path / "a.png", picture)
    frames.degrade_file(source, tmp_path / "b.png", np.random.default_rng(0))
    assert np.array_equal(read_image(tmp_path / "b.png"), picture)


def test_what_is_resized_is_turned(picture, mask, tmp_path):
    large = picture.repeat(2, 0).repeat(2, 1)
    turned(tmp_path / "JPEGImages/48p/walk/00000.jpg", large, quality=95)
    turned(tmp_path / "Annotations/48p/walk/00000.png", mask.repeat(2, 0).repeat(2, 1))
    resize_davis(tmp_path, "48p", 24)
    small = read_image(tmp_path / "JPEGImages/24p/walk/00000.jpg")
    assert np.abs(small.astype(int) - picture)[:, 21:].max() < 30
    with Image.open(tmp_path / "Annotations/24p/walk/00000.png") as image:
        assert np.array_equal(mask_values(image), mask)


def test_frames_of_camvid_are_turned(picture, mask, tmp_path):
    name = "0001TP_006690"
    colours = np.where(mask[..., None] > 0, np.uint8([128, 128, 0]), np.uint8([128, 128, 128]))
    turned(tmp_path / f"images/{name}.png", picture)
    turned(tmp_path / f"labels/{name}_L.png", colours)
    done = convert_camvid(tmp_path / "images", tmp_path / "labels", tmp_path / "out")
    split = next(split for split, frames in done.frames.items() if frames)
    assert np.array_equal(read_image(tmp_path / f"out/{split}/{name}.png"), picture)
    labels = read_label_map(tmp_path / f"out/{split}annot/{name}.png")
    assert np.array_equal(np.unique(labels[mask > 0]), [5])
    assert np.array_equal(np.unique(labels[mask == 0]), [0])


def davis(root, picture, mask, **ignored):
    """A folder with a sequence of one frame, read: its regions, or what is wrong."""
    turned(root / "JPEGImages/24p/walk/00000.jpg", picture)
    turned(root / "Annotations/24p/walk/00000.png", 255 * mask)
    folder = DavisFolder(root, "24p", root / "none.json", {}, one_person=True, **ignored)
    problems = Problems()
    return read_sequence(folder, "walk", problems), problems


def test_frames_and_masks_of_davis_are_turned_alike(picture, mask, tmp_path):
    (frame,), problems = davis(tmp_path, picture, mask)
    problems.raise_any()
    assert (frame.height, frame.width) == picture.shape[:2]
    (region,) = frame.regions
    assert region["bbox"] == [20, 0, 20, 24]


def test_masks_where_do_not_care_that_were_jpegs_are_named(picture, mask, tmp_path):
    stream = io.BytesIO()
    Image.fromarray(np.roll(255 * mask, 3, 1)).save(stream, "JPEG", quality=60)
    lossy = np.asarray(Image.open(stream))
    turned(tmp_path / "ignore/walk/00000.png", lossy)
    _, problems = davis(tmp_path, picture, mask, ignore_masks=tmp_path / "ignore")
    with pytest.raises(InputError, match="saved as JPEG once"):
        problems.raise_any()


def test_prepared_annotations_never_replace_their_source(picture, mask, tmp_path):
    davis(tmp_path, picture, mask)
    (tmp_path / "davis_semantics.json").write_text("{}")
    with pytest.raises(InputError, match="would replace --semantics"):
        prepare.prepare_davis_person(
            tmp_path,
            "val",
            resolution="24p",
            sequences=["walk"],
            output=tmp_path / "davis_semantics.json",
        )
    assert (tmp_path / "davis_semantics.json").read_text() == "{}"


def _in_folder(path):
    folder = path.parent / "only"
    folder.mkdir()
    path.rename(folder / path.name)
    return folder
