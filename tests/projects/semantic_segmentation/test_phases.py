"""The three phases, one after the other, by the project's train_net.py."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from PIL import Image
from video_semseg.engine import SemanticTrainer

from tests.support.tiny import CONFIG, TINY, frame_of, label_map
from videogcrf_det.engine import build_cfg
from videogcrf_det.errors import InputError
from videogcrf_det.segmentation import PHASES, add_segmentation_config, phase_cfg, run_phases

TOOL = "projects/semantic_segmentation/train_net.py"
# the labels of drawn frames are three of CamVid's
SMALL = [
    *TINY,
    *["MODEL.SEM_SEG_HEAD.NUM_CLASSES", "11", "MODEL.SEM_SEG_HEAD.IGNORE_VALUE", "11"],
    *["MODEL.SEM_SEG_HEAD.NORM", "GN", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "32"],
    *["MODEL.RESNETS.NORM", "BN", "MODEL.BACKBONE.FREEZE_AT", "0", "MODEL.WEIGHTS", "''"],
    *["MODEL.RESNETS.STEM_OUT_CHANNELS", "16", "MODEL.RESNETS.RES2_OUT_CHANNELS", "32"],
    *["MODEL.VIDEO_GCRF.CONV_DIM", "32", "MODEL.VIDEO_GCRF.SPATIAL_DIM", "16"],
    *["MODEL.VIDEO_GCRF.TEMPORAL_DIM", "16", "SOLVER.WEIGHT_DECAY", "0.0"],
    *["INPUT.MIN_SIZE_TRAIN", "(96,)", "INPUT.MIN_SIZE_TRAIN_SAMPLING", "choice"],
    *["INPUT.MIN_SIZE_TEST", "96", "INPUT.CROP.ENABLED", "False"],
    *["DATASETS.TRAIN", "('camvid_train',)", "DATASETS.TEST", "('camvid_val',)"],
    *["PHASES.UNARY.BASE_LR", "0.05", "PHASES.PAIRWISE.BASE_LR", "0.01"],
    *["PHASES.JOINT.BASE_LR", "0.005", "SOLVER.CHECKPOINT_PERIOD", "10"],
]


def iterations(unary, pairwise, joint):
    return [
        *["PHASES.UNARY.MAX_ITER", str(unary), "PHASES.PAIRWISE.MAX_ITER", str(pairwise)],
        *["PHASES.JOINT.MAX_ITER", str(joint)],
    ]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Drawn frames in CamVid's layout: two sequences to train on, one to validate on."""
    root = tmp_path_factory.mktemp("datasets")
    folder = root / "CamVid"
    splits = {"train": {"one": range(8), "two": range(7, -1, -1)}, "val": {"three": range(1, 8, 2)}}
    for split, sequences in splits.items():
        lines = []
        for sequence, numbers in sequences.items():
            for position, number in enumerate(numbers):
                labels = label_map(number)
                labels[labels == 255] = 11
                frame = frame_of(number, noise_seed=0 if split == "train" else 1000)
                for kind, picture in [(split, frame), (f"{split}annot", labels)]:
                    (folder / kind).mkdir(parents=True, exist_ok=True)
                    path = folder / kind / f"{sequence}_{position:03d}.png"
                    image = Image.fromarray(picture)
                    image.resize((128, 96), Image.Resampling.NEAREST).save(path)
                lines.append(" ".join(f"CamVid/{k}/{path.name}" for k in (split, f"{split}annot")))
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def trained(datasets, tmp_path_factory):
    """A folder with all three phases, and the words and variables with which they were trained."""
    folder = tmp_path_factory.mktemp("trained")
    words = [TOOL, "--config-file", CONFIG, *SMALL, *iterations(200, 60, 40), "OUTPUT_DIR", folder]
    words += ["PHASES.UNARY.OUTPUT_DIR", folder / "unary"]
    variables = {"DETECTRON2_DATASETS": datasets, "OMP_NUM_THREADS": "1"}
    code, out, err = run(words, variables)
    assert code == 0, err
    return folder, words, variables, out


def run(words, variables):
    words = [sys.executable, *map(str, words)]
    env = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=500)
    return done.returncode, done.stdout, done.stderr


def evaluation(folder, phase):
    path = folder / phase / "inference" / "camvid_val" / "evaluation.json"
    return json.loads(path.read_text())["results"]


@pytest.mark.slow
def test_drawn_frames_are_segmented(trained):
    metrics = {phase: evaluation(trained[0], phase) for phase in PHASES}
    assert all(found["sem_seg"]["mIoU"] > 90 for found in metrics.values())
    assert "pairwise" not in metrics["unary"]
    learned = metrics["pairwise"]["pairwise"]
    assert learned["chance"] == pytest.approx(100 / 121)
    assert min(learned["spatial_accuracy"], learned["temporal_accuracy"]) > 50


@pytest.mark.slow
def test_phases_start_with_the_weights_of_the_one_before(trained):
    folder = trained[0]
    unary, pairwise, joint = (
        torch.load(folder / phase / "model_final.pth")["model"] for phase in PHASES
    )
    assert all(torch.equal(weight, pairwise[name]) for name, weight in unary.items())
    assert not torch.equal(unary["head.conv.weight"], joint["head.conv.weight"])
    assert any(name.startswith("crf") for name in pairwise)


@pytest.mark.slow
def test_every_phase_logs_once_and_to_its_own_folder(trained):
    folder, *_, out = trained
    for phase, last in zip(PHASES, (199, 59, 39), strict=True):
        log = (folder / phase / "log.txt").read_text()
        assert log.count("Starting training from iteration 0") == 1
        assert f"iter: {last} " in log
    assert out.count("Starting training from iteration 0") == 3


@pytest.mark.slow
def test_finished_phases_are_left_out_and_missing_metrics_made_up_for(trained):
    folder, words, variables, _ = trained
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    results = folder / "pairwise/inference/camvid_val/evaluation.json"
    metrics = json.loads(results.read_text())
    results.unlink()
    code, out, err = run(words, variables)
    assert code == 0, err
    assert "Starting training" not in out
    for phase in ("unary", "joint"):
        assert f"phase {phase} is done: its results are in {folder / phase}" in out
    assert json.loads(results.read_text())["results"] == metrics["results"]
    for phase in ("unary", "joint"):
        model = folder / phase / "inference/camvid_val/evaluation.json"
        assert model.stat().st_mtime_ns == before[model]


def small_cfg(folder, *opts):
    return build_cfg(CONFIG, [*SMALL, "OUTPUT_DIR", str(folder), *opts], add_segmentation_config)


def touch(folder, phase):
    path = folder / phase / "model_final.pth"
    path.parent.mkdir()
    path.touch()
    return str(path)


def test_averages_of_scores_are_trained_on_the_same_unaries(trained, tmp_path):
    _, words, variables, _ = trained
    averages = ["MODEL.VIDEO_GCRF.PAIRWISE", "average", "MODEL.VIDEO_GCRF.SPATIAL_DIM", "0"]
    words = [*words, "OUTPUT_DIR", tmp_path, *averages, *iterations(200, 0, 10)]
    code, _, err = run(words, variables)
    assert code == 2
    assert "set PHASES.NAMES to ['unary', 'joint']" in err
    assert not list(tmp_path.iterdir())
    code, _, err = run([*words, "PHASES.NAMES", "['unary', 'joint']"], variables)
    assert code == 0, err
    results = json.loads((tmp_path / "joint/inference/camvid_val/evaluation.json").read_text())
    assert results["results"].keys() == {"sem_seg"}
    assert results["results"]["sem_seg"]["mIoU"] > 20


def test_settings_of_phases(tmp_path):
    cfg = small_cfg(tmp_path, "PHASES.UNARY.OUTPUT_DIR", "")
    unary = phase_cfg(cfg, "unary")
    assert unary.MODEL.PHASE == "unary"
    assert unary.INPUT.CLIP.NUM_FRAMES == unary.TEST.WINDOW_STEP == 1
    assert unary.SOLVER.BASE_LR == cfg.PHASES.UNARY.BASE_LR
    assert unary.SOLVER.IMS_PER_BATCH == cfg.PHASES.UNARY.IMS_PER_BATCH
    assert str(tmp_path / "unary") == unary.OUTPUT_DIR
    weights = touch(tmp_path, "unary")
    pairwise = phase_cfg(cfg, "pairwise")
    assert weights == pairwise.MODEL.WEIGHTS
    assert pairwise.INPUT.CLIP.NUM_FRAMES == 3
    assert pairwise.SOLVER.MAX_ITER == cfg.PHASES.PAIRWISE.MAX_ITER


def test_a_phase_sets_any_key_of_the_solver(tmp_path):
    clip = "{ENABLED: True, CLIP_TYPE: norm, CLIP_VALUE: 0.5}"
    path = tmp_path / "config.yaml"
    path.write_text(
        f"_BASE_: {Path(CONFIG).absolute()}\n"
        f"PHASES: {{PAIRWISE: {{MOMENTUM: 0.5, CLIP_GRADIENTS: {clip}}}}}\n"
    )
    opts = ["OUTPUT_DIR", str(tmp_path), "PHASES.UNARY.OUTPUT_DIR", ""]
    cfg = build_cfg(str(path), opts, add_segmentation_config)
    touch(tmp_path, "unary")
    solver = phase_cfg(cfg, "pairwise").SOLVER
    assert (solver.MOMENTUM, solver.CLIP_GRADIENTS.CLIP_VALUE) == (0.5, 0.5)
    assert solver.CLIP_GRADIENTS.ENABLED
    other = phase_cfg(cfg, "unary").SOLVER
    assert (other.MOMENTUM, other.CLIP_GRADIENTS.ENABLED) == (0.9, False)


def test_a_phase_sets_what_the_solver_has_not(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"_BASE_: {Path(CONFIG).absolute()}\nPHASES: {{UNARY: {{MOMENTOM: 0.5}}}}\n")
    cfg = build_cfg(str(path), [], add_segmentation_config)
    with pytest.raises(InputError, match=r"PHASES.UNARY has what SOLVER has not: .*MOMENTOM"):
        phase_cfg(cfg, "unary")


def test_unaries_can_be_shared(tmp_path):
    cfg = small_cfg(tmp_path / "row", "PHASES.UNARY.OUTPUT_DIR", str(tmp_path / "unary"))
    weights = touch(tmp_path, "unary")
    assert weights == phase_cfg(cfg, "pairwise").MODEL.WEIGHTS
    assert str(tmp_path / "unary") == phase_cfg(cfg, "unary").OUTPUT_DIR


@pytest.mark.slow
def test_weights_that_are_named_are_evaluated(trained):
    _, (tool, *words), variables, _ = trained
    words += ["MODEL.WEIGHTS", "gone.pth"]
    code, _, err = run([tool, "--eval-only", *words], variables)
    assert code == 2
    assert "--eval-only evaluates unary, pairwise, joint: say which with --phase" in err
    code, _, err = run([tool, "--eval-only", "--phase", "joint", *words], variables)
    assert code == 2
    assert "cannot load the weights gone.pth" in err


@pytest.mark.parametrize(
    ("opts", "sentence"),
    [
        (["PHASES.NAMES", "['unary', 'foo']"], r"PHASES.NAMES \['unary', 'foo'\] are not some of"),
        (["PHASES.NAMES", "[]"], r"PHASES.NAMES \[\] are not some of unary, pairwise, joint"),
        (["DATASETS.TEST", "('camvid_tset',)"], r"data set 'camvid_tset' is not registered"),
        (["MODEL.VIDEO_GCRF.NEIGHBOURHOOD", "[0]"], r"NEIGHBOURHOOD takes distances.*\[0\]"),
        (["MODEL.VIDEO_GCRF.FREEZE_DETECTOR", "True"], r"FREEZE_DETECTOR is for detectors"),
    ],
)
def test_what_later_phases_need_is_looked_at_first(tmp_path, opts, sentence):
    cfg = small_cfg(tmp_path / "out", "DATASETS.TEST", "()", *opts)
    args = Namespace(phase="all", eval_only=False, resume=False, config_file=CONFIG, opts=opts)
    with pytest.raises(InputError, match=sentence):
        run_phases(SemanticTrainer, cfg, args)
    assert not (tmp_path / "out").exists()


def test_evaluation_takes_the_weights_of_the_phase_or_those_of_the_config(tmp_path):
    cfg = small_cfg(tmp_path, "MODEL.WEIGHTS", "mine.pth")
    assert phase_cfg(cfg, "joint", eval_only=True).MODEL.WEIGHTS == "mine.pth"
    weights = touch(tmp_path, "joint")
    assert weights == phase_cfg(cfg, "joint", eval_only=True).MODEL.WEIGHTS


def test_a_phase_before_its_time(tmp_path):
    with pytest.raises(InputError, match=r"starts with the weights of phase pairwise.*--phase all"):
        phase_cfg(small_cfg(tmp_path), "joint")
