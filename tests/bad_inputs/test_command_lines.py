"""Data sets of one's own on the command line and in a YAML file, without writing Python."""

import json
from argparse import ArgumentParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from detectron2.data import DatasetCatalog

from tests.conftest import CONFIG, SMALL, unregister
from tests.support.annotations import BOTH, DOGS, SIZE, coco, top
from tests.support.tools import check_nothing_half_written, check_sentence
from videogcrf_det import InputError
from videogcrf_det.data.classes import check_classes
from videogcrf_det.data.own_data import add_data_arguments, data_options
from videogcrf_det.engine import build_cfg

NUMBER = "MODEL.ROI_HEADS.NUM_CLASSES"


@pytest.fixture(autouse=True)
def _registered_names_end_with_the_test():
    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        unregister(name)


@pytest.fixture
def own(tmp_path):
    """Write frames and annotations; return NAME=JSON:IMAGES."""

    def own(name, content=None, images="images"):
        content = coco() if content is None else content
        rng = np.random.default_rng(0)
        for image in content["images"]:
            path = tmp_path / images / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), rng.integers(0, 255, (*SIZE, 3), np.uint8))
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        return f"{name}={tmp_path / name}.json:{tmp_path / images}"

    return own


@pytest.fixture
def file_of(tmp_path):
    def file_of(content):
        path = tmp_path / "data.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return file_of


def options(*words):
    parser = ArgumentParser()
    add_data_arguments(parser)
    return data_options(parser.parse_args(words))


def test_no_data_changes_nothing():
    assert options() == []
    cfg = build_cfg(CONFIG)
    assert cfg.DATASETS.TRAIN == ("mini_davis_person_train",)
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 1


def test_data_is_registered_and_the_number_of_classes_follows(own):
    train, test = own("a", top(categories=BOTH)), own("b", top(categories=BOTH))
    cfg = build_cfg(CONFIG, options("--train-data", train, "--test-data", test))
    assert (cfg.DATASETS.TRAIN, cfg.DATASETS.TEST) == (("a",), ("b",))
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 2
    assert len(DatasetCatalog.get("a")) == 4


def test_a_number_on_the_command_line_stays(own):
    cfg = build_cfg(CONFIG, [*options("--train-data", own("a", top(categories=BOTH))), NUMBER, 5])
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 5


def test_training_data_alone_is_not_evaluated_on_anothers(own):
    cfg = build_cfg(CONFIG, options("--train-data", own("a")))
    assert cfg.DATASETS.TEST == ()


def test_test_data_alone_leaves_the_classes_of_the_model(own):
    """Those of the training data: more of them would make it another model."""
    cfg = build_cfg(CONFIG, options("--test-data", own("b", top(categories=BOTH))))
    assert cfg.DATASETS.TRAIN == ("mini_davis_person_train",)
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 1


def test_several_data_sets_and_names_with_equals_signs(own, tmp_path):
    own("c")
    odd = tmp_path / "x=y:z"
    odd.mkdir()
    (tmp_path / "c.json").rename(odd / "c.json")
    words = ["--train-data", own("a"), "--train-data", f"c={odd}/c.json:{tmp_path}/images"]
    cfg = build_cfg(CONFIG, options(*words))
    assert cfg.DATASETS.TRAIN == ("a", "c")
    assert len(DatasetCatalog.get("c")) == 4


def test_a_config_that_was_written_down_brings_its_data(own, tmp_path):
    """As the config of a training's OUTPUT_DIR, in a process that knows nothing else."""
    cfg = build_cfg(CONFIG, options("--train-data", own("a", top(categories=BOTH))))
    (tmp_path / "config.yaml").write_text(cfg.dump())
    unregister("a")
    again = build_cfg(str(tmp_path / "config.yaml"))
    assert again.DATASETS == cfg.DATASETS
    assert again.MODEL.ROI_HEADS == cfg.MODEL.ROI_HEADS
    assert len(DatasetCatalog.get("a")) == 4


@pytest.mark.parametrize("where", ["opts", "config"])
def test_a_file_of_data_sets(own, file_of, tmp_path, where):
    """Its paths begin in its folder, and a config that is written down has no need of it."""
    own("a", top(categories=BOTH))
    own("b", top(categories=BOTH))
    path = file_of(
        {
            "train": {"street": {"annotations": "a.json", "images": "images"}},
            "test": {"street_val": {"annotations": "b.json", "images": "images"}},
        }
    )
    if where == "opts":
        cfg = build_cfg(CONFIG, ["DATASETS.FILE", str(path)])
    else:
        config = tmp_path / "config.yaml"
        base = str(Path(CONFIG).resolve())
        config.write_text(yaml.safe_dump({"_BASE_": base, "DATASETS": {"FILE": str(path)}}))
        cfg = build_cfg(str(config))
    assert (cfg.DATASETS.TRAIN, cfg.DATASETS.TEST) == (("street",), ("street_val",))
    assert cfg.DATASETS.FILE == ""
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 2
    assert len(DatasetCatalog.get("street_val")) == 4


def test_further_test_data_is_compared_with_what_a_model_was_trained_on(own, tmp_path):
    """The command line adds to the data of a config; it does not make it forgotten."""
    cfg = build_cfg(CONFIG, options("--train-data", own("a")))
    (tmp_path / "config.yaml").write_text(cfg.dump())
    words = options("--test-data", own("b", top(categories=DOGS)))
    again = build_cfg(str(tmp_path / "config.yaml"), words)
    assert (again.DATASETS.TRAIN, again.DATASETS.TEST) == (("a",), ("b",))
    with pytest.raises(InputError, match=r"'b' has the classes \(dog\), and 'a' has \(person\)"):
        check_classes(again)


FORM = "NAME=JSON:IMAGES"
REFUSED = {
    "no equals sign": ("{json}:{images}", f"cannot be read: give {FORM}"),
    "no colon": ("a={json}", f"cannot be read: give {FORM}"),
    "no name": ("={json}:{images}", f"cannot be read: give {FORM}"),
    "no file": ("a=:{images}", f"cannot be read: give {FORM}"),
    "no folder": ("a={json}:", f"cannot be read: give {FORM}"),
    "empty": ("", f"cannot be read: give {FORM}"),
    "a path as its name": ("../a={json}:{images}", f"cannot be read: give {FORM}"),
    "a folder that is not there": ("a={json}:{images}/gone", "folder of images .* does not exist"),
    "a file in place of the folder": ("a={json}:{json}", "folder of images .* does not exist"),
    "a name of another": ("davis_person_val={json}:{images}", "registered already"),
}


@pytest.mark.parametrize("flag", ["--train-data", "--test-data"])
@pytest.mark.parametrize("case", REFUSED)
def test_words_that_name_no_data(call, own, tmp_path, flag, case):
    own("a")
    word, sentence = REFUSED[case]
    word = word.format(json=tmp_path / "a.json", images=tmp_path / "images")
    output = ["OUTPUT_DIR", tmp_path / "out"]
    done = call("train_net.py", "--config-file", CONFIG, f"{flag}={word}", *SMALL, *output)
    check_sentence(done, sentence)
    check_nothing_half_written(tmp_path / "out")


def test_a_name_for_two_data_sets(own):
    words = ["--train-data", own("a"), "--test-data", own("b").replace("b=", "a=")]
    with pytest.raises(InputError, match="'a' is given twice"):
        build_cfg(CONFIG, options(*words))


FILES = {
    "not there": (None, "cannot read the file of data sets"),
    "no YAML": ("train: [", "cannot read the file of data sets"),
    "empty": ("", "holds None"),
    "a list": ([1], r"holds \[1\]"),
    "another key": ({"validation": {}}, "holds {'validation'"),
    "names alone": ({"train": ["a"]}, "'train' in the file .* names nothing"),
    "null": ({"train": None}, "'train' in the file .* names nothing"),
    "a path alone": ({"train": {"a": "a.json"}}, "the data set 'a' in .* is 'a.json'"),
    "no images": ({"train": {"a": {"annotations": "a.json"}}}, "the data set 'a' in"),
    "a number": ({"train": {"a": {"annotations": 3, "images": "x"}}}, "the data set 'a' in"),
    "one key more": (
        {"train": {"a": {"annotations": "a.json", "images": "x", "mask": "y"}}},
        "the data set 'a' in",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_files_of_data_sets_that_are_none(file_of, tmp_path, case):
    content, sentence = FILES[case]
    path = tmp_path / "gone.yaml" if content is None else file_of(content)
    with pytest.raises(InputError, match=sentence) as error:
        build_cfg(CONFIG, ["DATASETS.FILE", str(path)])
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("train", "test", "opts", "sentence"),
    [
        (BOTH, DOGS, [], r"'b' has the classes \(dog\), and 'a' has \(person, dog\)"),
        (BOTH, BOTH, [NUMBER, 1], "NUM_CLASSES is 1, and the data set 'a' has 2"),
        (DOGS, None, [NUMBER, 80], "NUM_CLASSES is 80, and the data set 'a' has 1"),
        (
            None,
            DOGS,
            [],
            r"'b' has the classes \(dog\), and 'mini_davis_person_train' has \(person\)",
        ),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--eval-only"]])
def test_classes_that_do_not_fit(call, own, tmp_path, train, test, opts, sentence, flags):
    """Before a model is made, whether it is to be trained or evaluated."""
    words = [] if train is None else ["--train-data", own("a", top(categories=train))]
    words += [] if test is None else ["--test-data", own("b", top(categories=test))]
    opts = [*SMALL, *opts, "OUTPUT_DIR", tmp_path / "out"]
    done = call("train_net.py", "--config-file", CONFIG, *flags, *words, *opts)
    check_sentence(done, sentence)
    check_nothing_half_written(tmp_path / "out")


def test_damaged_test_data_is_told_before_training(call, own, tmp_path):
    content = coco()
    content["annotations"][3]["category_id"] = 7
    words = ["--train-data", own("a"), "--test-data", own("b", content)]
    opts = [*SMALL, "OUTPUT_DIR", tmp_path / "out"]
    done = call("train_net.py", "--config-file", CONFIG, *words, *opts)
    check_sentence(done, r"the annotation 4 in \S+b\.json has the category_id 7")
    assert "Starting training" not in done[1]
    check_nothing_half_written(tmp_path / "out")


def test_all_tools_on_own_data(call, own, tmp_path):
    """Train, evaluate, draw, report, demo: two classes, and no line of Python."""
    categories = [{"id": 3, "name": "dog"}, {"id": 7, "name": "person"}]
    content = top(categories=categories)
    for number, annotation in enumerate(content["annotations"]):
        annotation["category_id"] = (3, 7)[number % 2]
    data = ["--train-data", own("a", content), "--test-data", own("b", content)]
    out = tmp_path / "out"
    small = [*SMALL, "SOLVER.MAX_ITER", 1, "OUTPUT_DIR", out]
    model = [*small, "MODEL.WEIGHTS", out / "model_final.pth"]
    config = ["--config-file", CONFIG]

    def check(tool, *words):
        code, _, err = call(tool, *words)
        assert code == 0, err

    check("visualize_data.py", *config, *data, "--output", tmp_path / "data", "--opts", *small)
    check("train_net.py", *config, *data, *small)
    check("train_net.py", *config, *data, "--eval-only", *model)
    drawn = ["--output", tmp_path / "drawn"]
    check("visualize_predictions.py", *config, *data, *drawn, "--opts", *model)
    affinity = ["--output", tmp_path / "affinity.png"]
    check("visualize_affinity.py", *config, *data, *affinity, "--opts", *model)
    found = tmp_path / "found.json"
    demo = ["--input", tmp_path / "images" / "video1", "--output", tmp_path / "demo.mp4"]
    few = ["--json", found, "--confidence-threshold", 0]
    check("demo.py", *config, *data, *demo, *few, "--opts", *model)
    names = {(each["category_id"], each["category"]) for each in json.loads(found.read_text())}
    assert names
    assert names <= {(3, "dog"), (7, "person")}

    unregister("b")  # the report is written later, by another process
    check("report.py", "--run", out, "--output", tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "one" in page
    assert "two" in page


@pytest.mark.slow
def test_spawned_processes_know_the_data(start, own, tmp_path):
    opts = [*SMALL, "SOLVER.MAX_ITER", 1, "SOLVER.IMS_PER_BATCH", 2, "OUTPUT_DIR", tmp_path / "out"]
    words = ["--num-gpus", "2", "--train-data", own("a"), "--test-data", own("b")]
    code, _, err = start("tools/train_net.py", "--config-file", CONFIG, *words, *opts)
    assert code == 0, err
    assert (tmp_path / "out/inference/b/evaluation.json").is_file()
