import av
import numpy as np
import pytest

from videogcrf_det import InputError
from videogcrf_det.video import VideoWriter


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
