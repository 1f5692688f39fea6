"""Video files as recorders and editors leave them."""

import av
import numpy as np
import pytest

from videogcrf_det.errors import InputError
from videogcrf_det.video import open_video

FRAMES = 12


def encode(path, codec="mpeg4", frames=FRAMES, size=(64, 96), first=0, texture=0):
    """A video in which each frame is a little brighter than the one before.

    Args:
        texture: grey levels of noise, so that a frame takes many packets.
    """
    noise = np.random.default_rng(0).uniform(0, 1, (*size, 3))
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=10)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            pixels = np.uint8(20 + 8 * (first + index) + texture * np.roll(noise, index, 1))
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode())
    return path


def test_joined_transport_streams_keep_their_frames(tmp_path):
    parts = [encode(tmp_path / f"{n}.ts", "mpeg2video", first=n * FRAMES) for n in range(2)]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    video = open_video(joined)
    means = [frame.image.mean() for frame in video]
    assert len(means) == 2 * FRAMES
    assert np.all(np.diff(means) > 0)


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264"])
def test_transport_streams_that_lost_something_are_named(codec, tmp_path):
    path = encode(tmp_path / "a.ts", codec, texture=60)
    assert len(list(open_video(path))) == FRAMES
    content, packet = path.read_bytes(), 188
    middle = len(content) // packet // 2 * packet
    path.write_bytes(content[:middle] + content[middle + 3 * packet :])
    video = open_video(path)
    assert 0 < len(list(video)) <= FRAMES
    assert "damaged" in video.damage


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "ts"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_what_can_be_read_of_a_cut_file_is_right_and_the_rest_is_named(suffix, share, tmp_path):
    path = encode(tmp_path / f"a.{suffix}", "mpeg2video" if suffix == "ts" else "mpeg4")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    if suffix in ("mp4", "avi"):  # the index is at the end
        with pytest.raises(InputError, match=rf"a\.{suffix}"):
            open_video(path)
        return
    video = open_video(path)
    means = [frame.image.mean() for frame in video]
    assert len(means) < FRAMES
    assert np.allclose(np.diff(means), 8, atol=4)
    assert suffix == "ts" or video.damage


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv", "a.webm", "a.mov"])
@pytest.mark.parametrize("content", [b"", b"\0" * 999, b"<html></html>"])
def test_files_that_are_no_videos(name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.\w+"):
        list(open_video(path))


def test_sound_alone(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    with pytest.raises(InputError, match="has no video"):
        open_video(path)


@pytest.mark.parametrize("source", ["nowhere.mp4", "nowhere/", "-1", "999999.5"])
def test_sources_that_are_not_there(source):
    with pytest.raises(InputError, match="no file, no folder and no number of a camera"):
        open_video(source)


@pytest.mark.parametrize("fps", [0.0, -5.0, float("nan"), float("inf")])
def test_rates_that_are_none(fps, tmp_path):
    from PIL import Image

    Image.new("RGB", (20, 20)).save(tmp_path / "0.png")
    with pytest.raises(InputError, match="--fps"):
        open_video(tmp_path, fps)


def test_folders_without_frames(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match="holds no images"):
        open_video(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
