"""The project's tools, one after the other, as processes."""

import pytest

from tests.support.drawn import CONFIGS, TINY

PROJECT = "projects/instance_tracking"
DATA = ["DATASETS.TRAIN", "('davis_2016_val_240p',)", "DATASETS.TEST", "('davis_2016_val_240p',)"]
SMALL = [
    *TINY,
    *DATA,
    *["INPUT.CROP.ENABLED", "False", "INPUT.MIN_SIZE_TRAIN", "(48, 48)"],
    *["PHASES.UNARY.MAX_ITER", "2", "PHASES.PAIRWISE.MAX_ITER", "2", "PHASES.JOINT.MAX_ITER", "2"],
]


@pytest.mark.slow
def test_from_frames_to_videos(root, start, tmp_path):
    def run(tool, *words):
        found = start(f"{PROJECT}/{tool}", *words, DETECTRON2_DATASETS=root.parent)
        assert found[0] == 0, found[2]
        return found

    parent, out, unaries = tmp_path / "parent", tmp_path / "out", tmp_path / "unaries"
    config = ["--config-file", f"{CONFIGS}/quick_parent_R_50.yaml"]
    run("train_net.py", *config, *SMALL, "OUTPUT_DIR", parent)
    weights = ["MODEL.WEIGHTS", parent / "unary" / "model_final.pth"]
    words = ["--dataset", "davis_2016_val_240p", "--output", unaries]
    run("make_unaries.py", *config, *words, "--opts", *SMALL, *weights, "UNARIES.ITERATIONS", 1)
    config = ["--config-file", f"{CONFIGS}/quick_R_50_3f.yaml"]
    given = [*SMALL, "INPUT.UNARIES", unaries, "OUTPUT_DIR", out]
    run("train_net.py", *config, "--phase", "unary", "--eval-only", *given)
    run("train_net.py", *config, *given)
    results = [
        f"{name}={out}/{phase}/inference/davis_2016_val_240p/masks"
        for name, phase in [("unaries", "unary"), ("3 frames", "joint")]
    ]
    words = ["--dataset", "davis_2016_val_240p", "--output", tmp_path / "videos"]
    found = run("compare_results.py", *words, "--results", *results)
    assert f"{tmp_path}/videos/spin.mp4" in found[1]
    assert (tmp_path / "videos" / "roll.mp4").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "words", "sentence"),
    [
        (
            "train_net.py",
            ["--config-file", f"{CONFIGS}/quick_R_50_3f.yaml", "INPUT.UNARIES", "nowhere", *DATA],
            "there are no unaries nowhere/roll/00000.npy or .png of the frame",
        ),
        (
            "make_unaries.py",
            *[["--config-file", f"{CONFIGS}/quick_parent_R_50.yaml", "--dataset", "davis_2017"]],
            "'davis_2017' is not registered",
        ),
        (
            "compare_results.py",
            ["--dataset", "davis_2016_val_240p", "--results", "folder"],
            "--results takes NAME=FOLDER, got 'folder'",
        ),
    ],
)
def test_bad_input_is_one_sentence(root, start, tmp_path, tool, words, sentence):
    output = ["--output", tmp_path / "out"]
    if tool == "train_net.py":
        output = ["OUTPUT_DIR", tmp_path / "out", "MODEL.WEIGHTS", "''"]
    code, _, err = start(f"{PROJECT}/{tool}", *words, *output, DETECTRON2_DATASETS=root.parent)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
