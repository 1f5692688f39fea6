"""Foreground scores as files."""

import cv2
import numpy as np
import pytest
from video_tracking.unaries import (
    WHITE,
    check_unaries,
    read_unary,
    write_unary,
)

from tests.support.drawn import read_probability
from videogcrf_det.errors import InputError

RECORD = {
    "video_name": "pair/2",
    "file_name": "JPEGImages/480p/pair/00007.jpg",
    "height": 4,
    "width": 6,
}


@pytest.fixture
def stem(tmp_path):
    (tmp_path / "pair/2").mkdir(parents=True)
    return tmp_path / "pair/2/00007"


def test_probabilities_as_a_picture(tmp_path, stem):
    probability = np.linspace(0.01, 0.99, 24).reshape(4, 6)
    write_unary(f"{stem}.png", probability)
    stored = cv2.imread(f"{stem}.png", cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    log_odds = read_unary(tmp_path, RECORD)
    assert log_odds.dtype == np.float32
    assert np.allclose(log_odds, np.log(probability / (1 - probability)), atol=2e-3)
    assert np.allclose(read_probability(tmp_path, RECORD), probability, atol=1e-5)
    assert not list(stem.parent.glob(".*"))


def test_certain_pixels_have_finite_scores(tmp_path, stem):
    write_unary(f"{stem}.png", np.repeat([0.0, 1.0], 12).reshape(4, 6))
    log_odds = read_unary(tmp_path, RECORD)
    assert np.allclose(log_odds[:2], -np.log(2 * WHITE - 1))
    assert np.allclose(log_odds[2:], np.log(2 * WHITE - 1))
    half_a_step = np.log((1 - 1.5 / WHITE) / (1.5 / WHITE))
    assert log_odds.max() > half_a_step, "more certain than the next grey"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_as_an_array(tmp_path, stem, dtype):
    scores = np.random.default_rng(0).normal(0, 30, (4, 6)).astype(dtype)
    np.save(f"{stem}.npy", scores)
    assert np.allclose(read_unary(tmp_path, RECORD), scores)


def spoil(stem, what):
    if what == "both":
        write_unary(f"{stem}.png", np.zeros((4, 6)))
    if what == "bytes":
        cv2.imwrite(f"{stem}.png", np.zeros((4, 6), np.uint8))
        return
    if what == "no picture":
        stem.with_suffix(".png").write_bytes(b"no picture")
        return
    if what == "picture's size":
        write_unary(f"{stem}.png", np.zeros((6, 4)))
        return
    if what == "no array":
        stem.with_suffix(".npy").write_bytes(b"no array")
        return
    if what == "several arrays":
        with stem.with_suffix(".npy").open("wb") as file:
            np.savez(file, scores=np.zeros((4, 6)))
        return
    scores = {
        "size": np.zeros((6, 4)),
        "labels": np.zeros((2, 4, 6)),
        "integers": np.zeros((4, 6), int),
        "nan": np.full((4, 6), np.nan),
        "both": np.zeros((4, 6)),
    }
    if what in scores:
        np.save(f"{stem}.npy", scores[what])


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("missing", r"no unaries .*pair/2/00007.npy or .png of the frame JPEGImages.*00007.jpg: "),
        ("both", "both .*00007.npy and .*00007.png: remove one"),
        ("size", r"00007.npy holds scores of the shape \[6, 4\], and its frame has \[4, 6\]"),
        ("picture's size", r"00007.png holds scores of the shape \[6, 4\]"),
        ("labels", r"shape \[2, 4, 6\]"),
        ("integers", "00007.npy holds int64, not log-odds"),
        ("nan", r"00007.npy has scores that are not finite \(0.0% are\)"),
        ("bytes", "00007.png has 8 bits a pixel, not 16"),
        ("no picture", "cannot read the scores .*00007.png"),
        ("no array", "cannot read the scores .*00007.npy"),
        ("several arrays", "cannot read the scores .*00007.npy"),
    ],
)
def test_bad_files(tmp_path, stem, what, words):
    spoil(stem, what)
    with pytest.raises(InputError, match=words) as error:
        read_unary(tmp_path, RECORD)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "what",
    [
        *["missing", "both", "size", "picture's size"],
        *["integers", "no array", "several arrays", "no picture"],
    ],
)
def test_what_is_seen_beforehand(tmp_path, stem, what):
    spoil(stem, what)
    with pytest.raises(InputError):
        check_unaries(tmp_path, [RECORD])


def test_good_files_pass(tmp_path, stem):
    np.save(f"{stem}.npy", np.zeros((4, 6)))
    check_unaries(tmp_path, [RECORD])
    stem.with_suffix(".npy").unlink()
    write_unary(f"{stem}.png", np.zeros((4, 6)))
    check_unaries(tmp_path, [RECORD])
