"""Pictures through a real video encoder, in memory, and what a decoder makes of what arrives."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (H, W, 3), RGB

START = b"\x00\x00\x01"  # of a unit in a stream of H.264 (Annex B)
H264 = "libx264"


def recode(
    frames: Sequence[Image],
    codec: str,
    options: Mapping[str, str],
    damage: Callable[[bytes], bytes] | None = None,
) -> list[Image]:
    """Encode frames of one size and decode them again.

    Args:
        frames: (H, W, 3) RGB, at least one.
        codec: an encoder of FFmpeg, such as "libx264", of whose codec there is a decoder as well.
        options: of the encoder.
        damage: what becomes of each packet on its way; a packet of which nothing is left is lost.

    Returns:
        as many frames; where the decoder gives none, the one before is shown for longer.

    Raises:
        ValueError, av.FFmpegError: this FFmpeg lacks the encoder, or it cannot take the options.
    """
    height, width = frames[0].shape[:2]
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.height, encoder.width = height + height % 2, width + width % 2  # colours are halved
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
    settings = {"threads": "1", **options}
    if codec == H264:  # its assembly does not give the same bytes every time
        settings["x264-params"] = ":".join(["asm=0", *filter(None, [options.get("x264-params")])])
    encoder.options = settings
    packets: list[av.Packet] = []
    for number, frame in enumerate(frames):
        even = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even, np.uint8), format="rgb24")
        picture.pts = number
        packets += encoder.encode(picture)
    packets += encoder.encode()
    decoder = av.CodecContext.create(encoder.codec.canonical_name, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.extradata = encoder.extradata
    decoder.thread_count = 1
    shown: dict[int, Image] = {}
    for packet in [*(_arrived(packet, damage) for packet in packets), None]:
        try:
            decoded = decoder.decode(packet)
        except av.FFmpegError:
            if damage is None:
                raise
            continue  # nothing of this packet could be made use of
        for picture in decoded:
            assert isinstance(picture, av.VideoFrame)
            image = picture.to_ndarray(format="rgb24")[:height, :width]
            shown[int(picture.pts or 0)] = np.asarray(image, np.uint8)
    result: list[Image] = []
    for number, frame in enumerate(frames):
        before = result[-1] if result else np.zeros_like(frame)
        result.append(shown.get(number, before))
    return result


def _arrived(packet: av.Packet, damage: Callable[[bytes], bytes] | None) -> av.Packet:
    if damage is None:
        return packet
    arrived = av.Packet(damage(bytes(packet)))
    arrived.pts, arrived.dts, arrived.time_base = packet.pts, packet.dts, packet.time_base
    return arrived


def units(packet: bytes) -> list[bytes]:
    """The units (NAL) of a packet of H.264, each with what marks its start.

    A slice of a picture is one of them, and is sent by itself where slices are made as small as
    what a network takes.
    """
    return [START + part for part in packet.split(START) if part.strip(b"\x00")]


def unit_type(unit: bytes) -> int:
    """1: a slice of a picture that is told by others; 5: of one that stands by itself; 7, 8: what
    is needed to decode any."""
    return unit[len(START)] & 31
