import itertools
import re
import weakref
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from tests.support.video_files import CORNERS, corners_of, cut, number_of, picture, write_video
from videogcrf_det import InputError
from videogcrf_det.video import InputVideo, open_video, reader

KINDS = [
    ("a.mp4", "h264"),
    ("a.webm", "libvpx"),
    ("a.webm", "libvpx-vp9"),
    ("a.avi", "mjpeg"),
    ("a.mkv", "h264"),
    ("a.ts", "h264"),
    ("a.mpg", "mpeg2video"),
]
UNEVEN = [0, 40, 80, 180, 200, 500, 540, 1040, 1041, 2000]  # milliseconds


def numbers(video):
    return [number_of(frame.image) for frame in video]


def check_corners(image, expected):
    np.testing.assert_allclose(corners_of(image), expected, atol=25)


# ---- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "codec"), KINDS)
def test_files(tmp_path, name, codec):
    video = open_video(write_video(tmp_path / name, codec))
    assert video.name == name
    assert video.rate == 25
    frames = list(video)
    assert [number_of(frame.image) for frame in frames] == list(range(30))
    for frame in frames:
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.dtype == np.uint8
        check_corners(frame.image, CORNERS)
    np.testing.assert_allclose([float(f.time) for f in frames], np.arange(30) / 25, atol=1e-3)
    assert video.damage == ""
    if name != "a.mpg":  # whose durations are a guess
        assert video.num_frames == 30


def test_frame_rates_are_exact(tmp_path):
    rate = Fraction(30000, 1001)
    video = open_video(write_video(tmp_path / "a.mp4", rate=rate))
    assert video.rate == rate
    assert [frame.time for frame in video] == [i / rate for i in range(30)]


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "h264"), ("a.webm", "libvpx")])
def test_uneven_times(tmp_path, name, codec):
    path = write_video(tmp_path / name, codec, num_frames=len(UNEVEN), times=UNEVEN)
    video = open_video(path)
    assert [round(1000 * frame.time) for frame in video] == UNEVEN
    assert video.damage == ""


@pytest.mark.parametrize(
    ("rotation", "shape", "order"),
    # counterclockwise: by 90 degrees, what was top right comes to the top left
    [(90, (64, 48), [1, 3, 0, 2]), (-90, (64, 48), [2, 0, 3, 1]), (180, (48, 64), [3, 2, 1, 0])],
)
def test_videos_of_phones_are_upright(tmp_path, rotation, shape, order):
    video = open_video(write_video(tmp_path / "a.mp4", num_frames=2, rotation=rotation))
    for frame in video:
        assert frame.image.shape[:2] == shape
        check_corners(frame.image, [CORNERS[i] for i in order])


@pytest.mark.parametrize(("height", "matrix"), [(480, "ITU601"), (720, "ITU709")])
def test_colours_that_a_file_does_not_name_are_those_of_its_resolution(tmp_path, height, matrix):
    image = np.full((height, 64, 3), (200, 60, 30), np.uint8)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("h264", rate=25)
        stream.height, stream.width = height, 64
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=matrix)))
        container.mux(stream.encode(None))
    (frame,) = open_video(tmp_path / "a.mp4")
    np.testing.assert_allclose(frame.image.mean((0, 1)), (200, 60, 30), atol=4)


def test_sound_may_be_longer_than_the_picture(tmp_path):
    for name in ("a.mp4", "a.mkv"):
        video = open_video(write_video(tmp_path / name, seconds_of_silence=4))
        assert numbers(video) == list(range(30))
        assert video.damage == ""


def test_recordings_that_begin_in_the_middle(tmp_path):
    """What comes before the first key frame cannot be decoded, and that is no damage."""
    options = {"g": "50", "sc_threshold": "0"}
    path = write_video(tmp_path / "a.ts", num_frames=60, rate=2, options=options)
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 10 // 188 * 188 :])  # 188 bytes are a packet
    video = open_video(path)
    assert numbers(video) == list(range(50, 60))
    assert video.damage == ""


def test_odd_names_and_metadata(tmp_path):
    path = write_video(tmp_path / "12:30 %03d.avi", "mjpeg", metadata={"title": "XXXX"})
    path.write_bytes(path.read_bytes().replace(b"XXXX", b"caf\xe9"))  # Latin-1
    assert numbers(open_video(path)) == list(range(30))


def test_memory_does_not_grow_with_the_video(tmp_path):
    alive, most = set(), 0
    for number, frame in enumerate(open_video(write_video(tmp_path / "a.mp4", num_frames=60))):
        pixels = frame.image if frame.image.base is None else frame.image.base
        alive.add(number)
        weakref.finalize(pixels, alive.discard, number)
        most = max(most, len(alive))
    assert most <= 3


# ---- damaged files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "h264"), ("a.avi", "mjpeg"), ("a.webm", "libvpx"), ("a.mkv", "h264")],
)
@pytest.mark.parametrize("share", [0.308, 0.6])
def test_files_that_were_cut_off(tmp_path, name, codec, share):
    whole = write_video(tmp_path / name, codec, num_frames=50, front=name == "a.mp4")
    video = open_video(cut(whole, share))
    frames = list(video)
    read = [number_of(frame.image) for frame in frames]
    check_corners(frames[-1].image, CORNERS)  # it is not half a frame
    assert 50 * share - 15 <= len(read) <= 50 * share + 5
    # decoders may lack one near the end
    assert read[: len(read) - 2] == list(range(len(read) - 2))
    assert read == sorted(set(read))
    assert re.fullmatch(
        rf"only {len(read)} of (about )?50 frames of cut_{name} could be read, because it ends "
        r"after \d\.\d of 2\.0 seconds: copy it again",
        video.damage,
    )


def test_a_cut_file_without_a_header(tmp_path):
    """Its last frame alone gives it away."""
    video = open_video(cut(write_video(tmp_path / "a.mpg", "mpeg2video", num_frames=50)))
    frames = list(video)
    assert 20 < len(frames) < 40
    for frame in frames:
        check_corners(frame.image, CORNERS)
    assert "because the others are damaged: copy it again" in video.damage


def test_a_file_with_a_hole(tmp_path):
    path = write_video(tmp_path / "a.mkv", "ffv1", num_frames=30)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    path.write_bytes(data)
    video = open_video(path)
    read = numbers(video)
    assert set(read) < set(range(30))
    assert {0, 29} <= set(read)
    assert re.fullmatch(
        rf"only {len(read)} of about 30 frames of a.mkv could be read, because the others are "
        "damaged: copy it again",
        video.damage,
    )


@pytest.mark.parametrize("content", ["", "no video\n" * 100, "cut"])
def test_files_that_are_no_videos(tmp_path, content):
    path = tmp_path / "a.mp4"
    path.write_text(content)
    if content == "cut":  # and with it its index, at the end
        path = cut(write_video(path))
    with pytest.raises(InputError, match=rf"cannot read {path} as a video \(.+\): .* copy it"):
        open_video(path)


def test_a_file_with_sound_alone(tmp_path):
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1000), "f4"), "fltp", "mono")
        silence.sample_rate = 8000
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    with pytest.raises(InputError, match=r"a\.m4a has no video"):
        open_video(tmp_path / "a.m4a")


def test_what_is_not_there_and_rates_that_are_not_asked_for(tmp_path):
    with pytest.raises(InputError, match=r"gone\.mp4 is no file, no folder and no number"):
        open_video(tmp_path / "gone.mp4")
    path = write_video(tmp_path / "a.mp4")
    for source in (path, "0"):
        with pytest.raises(InputError, match=rf"--fps is for folders of images, and {source} has"):
            open_video(source, fps=5)


# ---- folders -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A function that makes a folder of images, from arrays or PIL's images by file name."""

    def make(**images):
        path = tmp_path / "frames"
        path.mkdir()
        for name, image in images.items():
            image = image if isinstance(image, Image.Image) else Image.fromarray(image)
            image.save(path / name.replace("__", "."))
        return path

    return make


def test_folders_are_in_the_order_of_their_numbers(folder):
    path = folder(f10__png=picture(2), f9__png=picture(1), f1__PNG=picture(0))
    (path / "notes.txt").write_text("no image")
    (path / "._f1.png").write_text("what macOS leaves behind")
    video = open_video(path, fps=12.5)
    assert (video.name, video.rate, video.num_frames) == ("frames", 12.5, 3)
    frames = list(video)
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, picture(number))
        assert frame.time == number * Fraction(2, 25)
    assert open_video(path).rate == 10


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_is_8_bits_on_one_scale(folder, suffix):
    grey = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    dim, bright = 2 * grey, 21 * grey
    path = folder(**{f"0__{suffix}": dim, f"1__{suffix}": bright})
    for frame, expected in zip(open_video(path), (dim, bright), strict=True):
        assert frame.image.dtype == np.uint8
        np.testing.assert_array_equal(frame.image, np.stack([expected // 256] * 3, axis=2))
    assert frame.image.max() == 251


def test_other_images(folder):
    image = picture(3)
    grey = image[..., 0]
    alpha = np.dstack([image, grey])
    upside_down = Image.fromarray(image[::-1, ::-1].copy())
    exif = upside_down.getexif()
    exif[0x0112] = 3  # turn it by 180 degrees
    upside_down.info["exif"] = exif.tobytes()
    path = folder(a__png=grey, b__png=alpha, c__webp=image, d__bmp=image, e__jpg=image)
    upside_down.save(path / "f.png", exif=exif)
    shown = [frame.image for frame in open_video(path)]
    np.testing.assert_array_equal(shown[0], np.dstack([grey] * 3))
    np.testing.assert_array_equal(shown[1], image)
    np.testing.assert_array_equal(shown[3], image)
    np.testing.assert_array_equal(shown[5], image)
    for number in (2, 4):
        check_corners(shown[number], CORNERS)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ({}, r"frames holds no images \(\.bmp, "),
        (
            {"a__png": picture(0), "b__png": picture(1, 48, 80)},
            r"b\.png has the size 80x48, a\.png 64x48: give",
        ),
    ],
)
def test_folders_that_are_no_videos(folder, images, sentence):
    with pytest.raises(InputError, match=sentence):
        open_video(folder(**images))


def test_damaged_images(folder):
    path = folder(**{f"{i}__jpg": picture(i) for i in range(4)})
    (path / "2.jpg").write_bytes((path / "2.jpg").read_bytes()[:1000])
    video = open_video(path)
    assert numbers(video) == [0, 1]
    assert re.fullmatch(
        r"only 2 of 4 frames of frames could be read, because 2\.jpg is damaged \(.+\): replace it",
        video.damage,
    )
    (path / "2.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"cannot read the image .*/2\.jpg \(.+\): replace it"):
        open_video(path)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_rates_of_folders(folder, fps):
    with pytest.raises(InputError, match=f"--fps must be .* got {fps}"):
        open_video(folder(a__png=picture(0)), fps)


# ---- cameras, and what is common to all ----------------------------------------------------------


class Camera:
    """A stand-in for OpenCV's: BGR pictures, as many as there are numbers."""

    def __init__(self, numbers):
        self.numbers = iter(numbers)
        self.released = False

    def isOpened(self):
        return True

    def get(self, _):
        return 0.0  # as drivers do that do not know their rate

    def read(self):
        number = next(self.numbers, None)
        return (False, None) if number is None else (True, picture(number)[:, :, ::-1])

    def release(self):
        self.released = True


def test_cameras(monkeypatch):
    opened = []

    def open_camera(index):
        opened.append(index)
        return cameras[index]

    cameras = {0: Camera(itertools.count()), 2: Camera(range(3))}
    clock = itertools.count(100, 0.4)
    monkeypatch.setattr(reader.cv2, "VideoCapture", open_camera)
    monkeypatch.setattr(reader.time, "monotonic", lambda: next(clock))
    video = open_video("0")
    assert (video.name, video.rate, video.num_frames) == ("camera 0", 30, None)
    frames = list(itertools.islice(video, 4))
    assert [number_of(frame.image) for frame in frames] == [0, 1, 2, 3]
    check_corners(frames[0].image, CORNERS)
    np.testing.assert_allclose([float(f.time) for f in frames], [0, 0.4, 0.8, 1.2])

    video = open_video("2")
    assert numbers(video) == [0, 1, 2]
    assert video.damage.startswith("only 3 frames of camera 2 could be read, because it gave no")
    assert opened == [0, 2]
    assert cameras[2].released


def test_a_camera_that_is_not_there(capfd):
    with pytest.raises(InputError, match="camera 99 cannot be opened"):
        open_video("99")
    assert capfd.readouterr() == ("", "")


def test_times_always_grow():
    image = np.zeros((4, 4, 3), np.uint8)

    def times(*stamps):
        video = InputVideo("a", Fraction(10), None, ((image, stamp) for stamp in stamps))
        return [frame.time * 10 for frame in video]

    assert times(None, None, None) == [0, 1, 2]
    assert times(Fraction(5), Fraction(6), None, Fraction(7)) == [0, 10, 11, 20]
    assert times(Fraction(5), Fraction(5), Fraction(3), Fraction(6)) == [0, 1, 2, 10]


def test_frames_of_another_size_end_a_video():
    images = [np.zeros((4, width, 3), np.uint8) for width in (4, 4, 6, 4)]
    video = InputVideo("a.ts", Fraction(10), 4, ((image, None) for image in images))
    assert len(list(video)) == 2
    assert video.damage == (
        "only 2 of 4 frames of a.ts could be read, because the next one has another size, 6x4: "
        "split it"
    )
