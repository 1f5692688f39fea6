from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from tests.support.video_files import picture
from videogcrf_det import InputError
from videogcrf_det.video import VideoWriter, frame_folder


def grey(value, height=64, width=96):
    return np.full((height, width, 3), value, np.uint8)


def boxes_of(path):
    """Names of an mp4's top-level boxes, in their order."""
    data, position, names = path.read_bytes(), 0, []
    while position < len(data):
        names.append(data[position + 4 : position + 8].decode())
        position += int.from_bytes(data[position : position + 4], "big")
    return names


@pytest.mark.parametrize(("height", "width"), [(64, 96), (63, 96), (64, 95), (33, 51)])
def test_what_browsers_play(tmp_path, height, width):
    path = tmp_path / "video.mp4"
    values = list(range(0, 250, 25))
    with VideoWriter(path, fps=12.5) as video:
        for value in values:
            video.write(grey(value, height, width))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert float(stream.average_rate) == 12.5
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert [frame.shape for frame in frames] == [
        (height + height % 2, width + width % 2, 3) for _ in values
    ]
    for frame, value in zip(frames, values, strict=True):
        assert abs(frame.mean() - value) < 5
    names = boxes_of(path)
    assert names.index("moov") < names.index("mdat")


def test_an_error_leaves_nothing_or_the_earlier_video(tmp_path):
    path = tmp_path / "video.mp4"

    def fail():
        with VideoWriter(path) as video:
            video.write(grey(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"earlier")
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"earlier"]


def test_frames_of_two_sizes_and_no_frames(tmp_path):
    def write(*frames):
        with VideoWriter(tmp_path / "a.mp4") as video:
            for frame in frames:
                video.write(frame)

    with pytest.raises(ValueError, match=r"frame 1 .*\(32, 96\), the first one \(64, 96\)"):
        write(grey(0), grey(0, 32))
    with pytest.raises(ValueError, match="no frame"):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_frame_rates(tmp_path, fps):
    with pytest.raises(InputError, match=f"got {fps}"):
        VideoWriter(tmp_path / "a.mp4", fps)


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), 60, 12.5, 1 / 3])
def test_rates_and_times_are_kept(tmp_path, rate):
    with VideoWriter(tmp_path / "a.mp4", rate) as video:
        for number in range(5):
            video.write(grey(number))
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(rate).limit_denominator(1001)
        times = [frame.pts * frame.time_base for frame in container.decode(stream)]
        end = stream.duration * stream.time_base
    np.testing.assert_allclose([float(t) for t in times], [i / float(rate) for i in range(5)])
    assert float(end) == pytest.approx(5 / rate)


def test_uneven_times(tmp_path):
    due = [0, 40, 80, 180, 200, 500, 540, 1040, 1041, 2000]  # milliseconds
    with VideoWriter(tmp_path / "a.mp4", Fraction(25)) as video:
        for number, time in enumerate(due):
            video.write(grey(number), Fraction(time, 1000))
        video.write(grey(9), 2.00001)  # too soon for a tick of its own
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        times = [frame.time for frame in container.decode(stream)]
        end = float(stream.duration * stream.time_base)
    np.testing.assert_allclose(times, [*(time / 1000 for time in due), 2.0001])
    assert end == pytest.approx(2.0401)  # the last one has its time, too


def test_colours_are_named(tmp_path):
    """Without a name, players take those of large videos to be other than those of small ones."""
    red = np.full((64, 96, 3), (230, 20, 30), np.uint8)
    with VideoWriter(tmp_path / "a.mp4") as video:
        video.write(red)
    with av.open(str(tmp_path / "a.mp4")) as container:
        (frame,) = container.decode(video=0)
    assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (1, 1, 1)
    luma = frame.to_ndarray()[:64].mean()
    expected = 16 + 219 / 255 * (0.2126 * 230 + 0.7152 * 20 + 0.0722 * 30)  # BT.709
    assert luma == pytest.approx(expected, abs=2)


def test_frames_as_pictures(tmp_path):
    path = tmp_path / "new" / "frames"
    with frame_folder(path) as write:
        for number in range(3):
            write(picture(number))
        assert not path.exists()
    assert sorted(p.name for p in path.iterdir()) == ["00000.png", "00001.png", "00002.png"]
    for number in range(3):
        np.testing.assert_array_equal(Image.open(path / f"0000{number}.png"), picture(number))
    assert path.stat().st_mode & 0o777 == path.parent.stat().st_mode & 0o777
    with pytest.raises(InputError, match="frames is there already"), frame_folder(path):
        pass
    assert len(list(path.iterdir())) == 3


def test_no_pictures_after_an_error(tmp_path):
    path = tmp_path / "frames"
    path.mkdir()  # an empty one will do

    def fail():
        with frame_folder(path) as write:
            write(picture(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.rglob("*")) == [path]
