"""Depth maps of every kind, and what is wrong with files."""

import struct

import numpy as np
import pytest
from PIL import Image

from videogcrf_det import InputError
from videogcrf_det.data.depth import read_depth, write_depth_png


@pytest.fixture
def depth():
    depth = np.random.default_rng(0).uniform(0.5, 60, (7, 9)).astype(np.float32)
    depth[2, 3], depth[0, 0], depth[6, 8] = 0, np.nan, -1
    return depth


def missing(depth):
    return ~(depth > 0)


def test_png_of_16_bits(depth, tmp_path):
    for unit in (0.001, 1 / 256):
        write_depth_png(tmp_path / "d.png", depth, unit)
        found = read_depth(tmp_path / "d.png", unit)
        assert found.dtype == np.float32
        assert (missing(found) == missing(depth)).all()
        assert np.abs(found - depth)[~missing(depth)].max() <= unit / 2 + 1e-5
    assert np.asarray(Image.open(tmp_path / "d.png")).dtype == np.uint16


def test_what_is_too_far_or_too_near_for_the_unit_does_not_go_missing(tmp_path):
    write_depth_png(tmp_path / "d.png", np.float32([[1e-6, 100, 1]]), 0.001)
    assert read_depth(tmp_path / "d.png", 0.001)[0] == pytest.approx([0.001, 65.535, 1.0])


def test_numpy_and_sintel(depth, tmp_path):
    np.save(tmp_path / "d.npy", depth.astype(np.float64))
    header = struct.pack("<fii", 202021.25, depth.shape[1], depth.shape[0])
    (tmp_path / "d.dpt").write_bytes(header + depth.astype("<f4").tobytes())
    for suffix in (".npy", ".dpt"):
        found = read_depth(tmp_path / f"d{suffix}")
        assert (missing(found) == missing(depth)).all()
        assert (found == np.where(missing(depth), 0, depth)).all()


def png(path, mode="L"):
    Image.new(mode, (4, 3)).save(path)


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("a.png", lambda p: png(p), "16 bits"),
        ("a.png", lambda p: p.write_bytes(b"no"), "not an image"),
        ("a.png", lambda p: None, "No such file"),
        ("a.npy", lambda p: np.save(p, np.zeros((2, 3, 4))), r"\(2, 3, 4\)"),
        ("a.npy", lambda p: p.write_bytes(b"no"), "a.npy"),
        ("a.npy", lambda p: np.save(p, np.array(["x"])), "no array of numbers"),
        ("a.dpt", lambda p: p.write_bytes(b"no"), "begin"),
        ("a.dpt", lambda p: p.write_bytes(struct.pack("<fiif", 202021.25, 2, 2, 1)), "2x2"),
        ("a.exr", lambda p: p.write_bytes(b"no"), "OpenEXR"),
        ("a.exr", lambda p: None, "No such file"),
        ("a.jpg", lambda p: png(p), "none of"),
    ],
)
def test_files_that_hold_no_depth(tmp_path, name, make, said):
    make(tmp_path / name)
    with pytest.raises(InputError, match=said) as error:
        read_depth(tmp_path / name, 0.001)
    assert name in str(error.value)


def test_a_png_needs_a_unit(depth, tmp_path):
    write_depth_png(tmp_path / "d.png", depth, 0.001)
    for unit in (None, 0, float("nan")):
        with pytest.raises(InputError, match="unit"):
            read_depth(tmp_path / "d.png", unit)
