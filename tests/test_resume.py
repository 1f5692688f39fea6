"""A training that is killed and resumed ends where an uninterrupted one ends, bit by bit: on one
machine, with as many threads."""

import json
import signal
from pathlib import Path

import pytest
import torch
from detectron2.utils.env import seed_all_rng

from tests.conftest import CONFIG, posix_only, train_net
from videogcrf_det import InputError
from videogcrf_det.checkpoint import PARTIAL, ClipCheckpointer
from videogcrf_det.engine import VideoTrainer, build_cfg

# everything that is random, so that going on with other random numbers would show
RANDOM = [
    *["SEED", "5", "INPUT.MIN_SIZE_TRAIN", "(48, 56, 64)", "SOLVER.CHECKPOINT_PERIOD", "2"],
    *["SOLVER.MAX_ITER", "6", "SOLVER.WARMUP_ITERS", "4", "MODEL.RESNETS.NORM", "BN"],
    *["SOLVER.BASE_LR", "0.001", "INPUT.CLIP.STRIDE", "2"],
]
# makes tools/train_net.py kill itself: what it patches first, and what follows is the tool
DIE = """
import os, runpy, signal, sys
import torch
from videogcrf_det import engine
def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
{patch}
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
IN_TRAINING = """
step = engine.VideoTrainer.run_step
engine.VideoTrainer.run_step = lambda self: die() if self.iter == 3 else step(self)
"""
IN_A_CHECKPOINT = """
def half(data, path):
    with open(path, "wb") as file:
        file.write(b"half a checkpoint")
        file.flush()
        die()
torch.save = half
"""
BEFORE_THE_LAST_CHECKPOINT = """
from videogcrf_det.checkpoint import ClipCheckpointer
save = ClipCheckpointer.save
ClipCheckpointer.save = lambda self, name, **kwargs: (
    die() if name == "model_final" else save(self, name, **kwargs)
)
"""
IN_EVALUATION = """
from videogcrf_det.evaluation import VideoCOCOEvaluator
VideoCOCOEvaluator.evaluate = die
"""


def weights(folder):
    return torch.load(Path(folder, "model_final.pth"), weights_only=False)["model"]


def equal(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def train(cfg, max_iter=None):
    seed_all_rng(cfg.SEED)
    trainer = VideoTrainer(cfg)
    trainer.resume_or_load(resume=True)
    trainer.max_iter = max_iter or trainer.max_iter
    trainer.train()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_stopped_and_resumed(small, tmp_path, workers):
    opts = [*small, *RANDOM, "DATASETS.TEST", "()", "DATALOADER.NUM_WORKERS", str(workers)]
    straight = build_cfg(CONFIG, [*opts, "OUTPUT_DIR", str(tmp_path / "straight")])
    stopped = build_cfg(CONFIG, [*opts, "OUTPUT_DIR", str(tmp_path / "stopped")])
    train(straight)
    train(stopped, max_iter=3)
    assert not equal(weights(straight.OUTPUT_DIR), weights(stopped.OUTPUT_DIR))
    torch.manual_seed(99)  # another process would not go on with this one's random numbers either
    train(stopped)
    assert equal(weights(straight.OUTPUT_DIR), weights(stopped.OUTPUT_DIR))


@posix_only
@pytest.mark.slow
def test_killed_in_training_in_a_checkpoint_and_in_evaluation(start, small, tmp_path):
    """One after another in one training; the uninterrupted one has the same weights and AP."""

    def run(folder, *flags, patch=None):
        words = train_net([*small, *RANDOM], "OUTPUT_DIR", tmp_path / folder, flags=flags)
        return start(*(words if patch is None else ["-c", DIE.format(patch=patch), *words]))

    code, _, err = run("straight")
    assert code == 0, err
    killed = tmp_path / "killed"
    for flags, patch, left in [
        ([], IN_TRAINING, "model_0000001.pth"),
        (["--resume"], IN_A_CHECKPOINT, "model_0000001.pth"),
        (["--resume"], BEFORE_THE_LAST_CHECKPOINT, "model_0000005.pth"),
        (["--resume"], IN_EVALUATION, "model_final.pth"),
    ]:
        assert run("killed", *flags, patch=patch)[0] == -signal.SIGKILL
        assert (killed / "last_checkpoint").read_text() == left
        assert (killed / PARTIAL).exists() == (patch == IN_A_CHECKPOINT)
    code, out, err = run("killed", "--resume")
    assert code == 0, err
    assert "Starting training from iteration 6" in out
    assert equal(weights(tmp_path / "straight"), weights(killed))
    results = "inference/mini_davis_person_val/coco_instances_results.json"
    detections = json.loads((killed / results).read_text())
    assert detections == json.loads((tmp_path / "straight" / results).read_text())


def checkpointer(folder, value=1.0):
    model = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(model.weight, value)
    return ClipCheckpointer(model, str(folder))


@pytest.mark.parametrize("moment", ["in the file", "before its renaming", "before the tag's"])
def test_an_interrupted_checkpoint_leaves_the_last_one(tmp_path, monkeypatch, moment):
    checkpointer(tmp_path, 1.0).save("first")
    replace = Path.replace

    def half(data, path):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    def stop(path, target):
        if moment == "before its renaming" or target.name == "last_checkpoint":
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patched:
        if moment == "in the file":
            patched.setattr(torch, "save", half)
        else:
            patched.setattr(Path, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            checkpointer(tmp_path, 2.0).save("second")
    assert (tmp_path / "second.pth").exists() == (moment == "before the tag's")
    resumed = checkpointer(tmp_path, 3.0)
    resumed.resume_or_load("", resume=True)
    assert resumed.model.weight.item() == 1
    resumed.save("second")
    assert {path.name for path in tmp_path.iterdir()} == {
        *["first.pth", "second.pth", "last_checkpoint"]
    }


@pytest.mark.parametrize("name", ["", "gone.pth"])
def test_the_last_checkpoint_is_not_there(tmp_path, name):
    checkpointer(tmp_path).save("model")
    (tmp_path / "last_checkpoint").write_text(name)
    with pytest.raises(InputError, match=rf"last_checkpoint names '{name}', which is not there"):
        checkpointer(tmp_path).resume_or_load("", resume=True)
