"""Files of weights as they are found: each loads right, or is refused in one sentence."""

import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch

from tests.conftest import CONFIG
from videogcrf_det.checkpoint import ClipCheckpointer
from videogcrf_det.engine import VideoTrainer, build_cfg, load_model, run
from videogcrf_det.errors import InputError
from videogcrf_det.weights_file import read_checkpoint


class Command:
    """Runs a command where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.path}",)


WEIGHTS = OrderedDict(a=torch.ones(2, 3), b=torch.zeros(4))


@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".pt"])
@pytest.mark.parametrize("place", ["beside", "inside", "alone"])
def test_no_file_runs_code(suffix, place, tmp_path):
    ran = tmp_path / "ran"
    evil = Command(ran)
    arrays = {name: value.numpy() for name, value in WEIGHTS.items()}
    content = {
        "beside": {"model": arrays if suffix == ".pkl" else WEIGHTS, "hook": evil},
        "inside": {"model": {"a": evil}},
        "alone": evil,
    }[place]
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match=r"neither an array nor a plain container|no weights"):
        read_checkpoint(str(path))
    assert not ran.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_are_read(protocol, tmp_path):
    path = tmp_path / "weights.pkl"
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.int64(3)}
    content = {"model": arrays, "__author__": "me", "matching_heuristics": True}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_checkpoint(str(path))["model"]
    assert torch.equal(found["a"], torch.arange(6.0).view(2, 3))
    assert int(found["n"]) == 3


@pytest.mark.parametrize(
    "content",
    [
        {"model": WEIGHTS},
        {"state_dict": WEIGHTS, "epoch": 3},
        {"net": WEIGHTS, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        WEIGHTS,
        {"model": {f"module.{name}": value for name, value in WEIGHTS.items()}},
        {"model": {**WEIGHTS, "epoch": 3}},
    ],
    ids=["model", "state_dict", "net", "bare", "of several processes", "with a number"],
)
def test_weights_under_any_name_are_found(content, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    found = read_checkpoint(str(path))["model"]
    assert all(torch.equal(found[name], value) for name, value in WEIGHTS.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "no weights"),
        ([1, 2], "holds a list"),
        (3, "holds a int"),
        ("text", "holds a str"),
        (torch.ones(3), "holds a Tensor"),
        ({"a": 1, "b": "text"}, "no weights"),
        ({"model": {}}, "no weights"),
        ({"model": {"a": "text"}}, "no weights"),
        ({"ema": dict(WEIGHTS), "net": dict(WEIGHTS)}, "'ema', 'net'"),
        ({"model": {"a": torch.tensor([1.0, float("nan")])}}, "not finite"),
        ({"model": {"a": torch.tensor([float("inf")])}}, "not finite"),
    ],
    ids=str,
)
def test_files_without_usable_weights(content, message, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(InputError, match=message):
        read_checkpoint(str(path))


@pytest.mark.parametrize("suffix", [".pth", ".pkl"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04.", b"PK\x03\x04broken", b"\0" * 99])
def test_files_that_are_no_weights(suffix, content, tmp_path):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="weights"):
        read_checkpoint(str(path))


@pytest.mark.parametrize("cut", [10, 200, 2000])
def test_a_file_that_was_cut_off(cut, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"model": {"a": torch.randn(100, 100)}}, path)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError, match="weights"):
        read_checkpoint(str(path))


@pytest.fixture
def trained(small, tmp_path):
    """The options of a training of two iterations that is over, but for its evaluation."""
    opts = [*small, "DATASETS.TEST", "()"]
    run(build_cfg(CONFIG, opts))
    return opts


BASELINE = ["MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone"]


@pytest.mark.slow
def test_a_training_that_cannot_go_on_says_why(trained, tmp_path):
    """One training and what may be changed before ``--resume``."""
    more = [*trained, "SOLVER.MAX_ITER", "4"]
    for opts, message in [
        (["MODEL.ROI_HEADS.NUM_CLASSES", "4"], "NUM_CLASSES is 4"),
        (["SOLVER.OPTIMIZER", "AdamW"], r"SOLVER\.OPTIMIZER was SGD, and is AdamW"),
        (["MODEL.VIDEO_GCRF.FREEZE_DETECTOR", "True"], "FREEZE_DETECTOR"),
        (["MODEL.FPN.OUT_CHANNELS", "32"], "shape|another architecture"),
        (BASELINE, "which the model lacks"),
        (["MODEL.VIDEO_GCRF.IN_FEATURES", "['p3', 'p4']"], "another model"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            run(build_cfg(CONFIG, [*more, *opts]), resume=True)
        assert "\n" not in str(caught.value)
    weights = torch.load(tmp_path / "out/model_final.pth", weights_only=True)["model"]
    torch.save({"model": weights}, tmp_path / "out/model_final.pth")
    with pytest.raises(InputError, match="no training to go on with"):
        run(build_cfg(CONFIG, more), resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_random_weights_are_not_evaluated(resume, small):
    with pytest.raises(InputError, match="nothing to evaluate but random weights"):
        load_model(build_cfg(CONFIG, [*small, "MODEL.WEIGHTS", ""]), resume=resume)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.clear(), "no weights"),
        (lambda w: [w.pop(k) for k in list(w) if k.startswith("roi_heads.mask")], "lacks"),
        (lambda w: [w.pop(k) for k in list(w) if k.startswith("backbone")], "architecture"),
        (lambda w: w.update({"roi_heads.box_predictor.cls_score.bias": torch.ones(9)}), "shape"),
        (lambda w: [w.pop(k) for k in list(w) if k.endswith("gcrf.p3.output.bias")], "fields"),
    ],
    ids=["nothing", "no mask head", "no backbone", "other classes", "half of the fields"],
)
def test_weights_of_another_model_are_not_evaluated(change, message, small, tmp_path):
    cfg = build_cfg(CONFIG, small)
    weights = VideoTrainer.build_model(cfg).state_dict()
    change(weights)
    torch.save({"model": weights}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=message):
        load_model(build_cfg(CONFIG, [*small, "MODEL.WEIGHTS", str(tmp_path / "w.pth")]))


def test_fields_of_older_names_and_another_size_start_anew(small, tmp_path):
    """Their embeddings are new and all else is loaded, as under the names of today."""
    key = "MODEL.VIDEO_GCRF.TEMPORAL_DIM"
    weights = VideoTrainer.build_model(build_cfg(CONFIG, [*small, key, "4"])).state_dict()
    loaded = {}
    for name, part in (("today", "field."), ("older", "")):
        path = tmp_path / f"{name}.pth"
        torch.save({"model": {n.replace("field.", part): w for n, w in weights.items()}}, path)
        model = VideoTrainer.build_model(build_cfg(CONFIG, [*small, key, "6"]))
        checkpointer = ClipCheckpointer(model)
        checkpointer.load(str(path))
        state = {n: w for n, w in model.state_dict().items() if ".temporal.embed." not in n}
        assert all(torch.equal(w, weights[n]) for n, w in state.items())
        loaded[name] = checkpointer.missing, checkpointer.missing_fields, checkpointer.differing
    assert loaded["older"] == loaded["today"]
    assert all(".temporal.embed." in n for n in loaded["older"][1])
    assert len(loaded["older"][2]) > 0


@pytest.mark.parametrize("path", ["nowhere.pth", "detectron2://no/such.pkl", "."])
def test_weights_that_are_not_there(path, small, monkeypatch):
    with pytest.raises(InputError, match="weights"):
        load_model(build_cfg(CONFIG, [*small, "MODEL.WEIGHTS", path]))
