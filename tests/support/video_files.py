"""Video files for tests, made with PyAV."""

from fractions import Fraction

import av
import numpy as np

CORNERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))  # top left, right, bottom ...


def picture(number, height=48, width=64):
    """A frame with four coloured corners, noise, and its number as the grey of its middle."""
    generator = np.random.default_rng(number)
    image = np.repeat(generator.integers(60, 200, (height, width, 1), np.uint8), 3, axis=2)
    for (y, x), colour in zip(((0, 0), (0, 1), (1, 0), (1, 1)), CORNERS, strict=True):
        image[y * (height - 16) :, x * (width - 16) :][:16, :16] = colour
    image[height // 2 - 8 :, width // 2 - 8 :][:16, :16] = 4 * number
    return image


def number_of(image):
    """The number of a frame."""
    y, x = image.shape[0] // 2, image.shape[1] // 2
    return round(image[y - 5 : y + 5, x - 5 : x + 5].mean() / 4)


def corners_of(image):
    """The mean colours of the four corners."""
    return [
        tuple(image[y, x].reshape(-1, 3).mean(0).round().astype(int).tolist())
        for y in (slice(4, 12), slice(-12, -4))
        for x in (slice(4, 12), slice(-12, -4))
    ]


def write_video(
    path,
    codec="h264",
    num_frames=30,
    rate=25,
    *,
    times=None,
    rotation=None,
    front=False,
    seconds_of_silence=0,
    metadata=None,
    options=None,
):
    """Write the pictures 0, 1, ... to a file.

    Args:
        times: in milliseconds, of each frame.
        rotation: counterclockwise, for players to turn the frames by.
        front: the index of an mp4 comes first.
        options: of the encoder.
    """
    movflags = {"movflags": "+faststart"} if front else {}
    with av.open(str(path), "w", options=movflags) as container:
        container.metadata.update(metadata or {})
        fast = {"deadline": "realtime", "cpu-used": "8"} if "vp" in codec else {}
        stream = container.add_stream(codec, rate=rate, options={**fast, **(options or {})})
        stream.height, stream.width = picture(0).shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 2_000_000
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if seconds_of_silence:
            sound = container.add_stream("aac", rate=8000)
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts = times[number] if times else number
            frame.time_base = Fraction(1, 1000) if times else 1 / Fraction(rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for number in range(8 * seconds_of_silence):
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 1000), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate, silence.pts = 8000, 1000 * number
            container.mux(sound.encode(silence))
        if seconds_of_silence:
            container.mux(sound.encode(None))
    return path


def cut(path, share=0.6):
    """A copy that breaks off after ``share`` of the file."""
    data = path.read_bytes()
    short = path.with_name(f"cut_{path.name}")
    short.write_bytes(data[: int(len(data) * share)])
    return short


def decode(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.average_rate, [
            (frame.to_ndarray(format="rgb24"), frame.pts * frame.time_base)
            for frame in container.decode(stream)
        ]
