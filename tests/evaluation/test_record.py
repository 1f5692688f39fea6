"""The file of metrics that every evaluation leaves."""

import json
import math

import pytest

from videogcrf_det import InputError
from videogcrf_det.evaluation.record import Evaluation, evaluation_file, read_evaluation


def test_what_is_written_is_read(tmp_path):
    results = {"segm": {"AP": 41.5, "APs": math.nan}, "tracking": {"switches": 3, "HOTA": None}}
    sequences = {"walk": {"frames": 4, "segm": {"AP": math.inf}}}
    written = Evaluation("own", results, sequences)
    written.write(tmp_path / "inference/own")
    path = evaluation_file(tmp_path, "own")
    content = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert content["results"]["segm"] == {"AP": 41.5, "APs": None}
    assert content["sequences"] == {"walk": {"frames": 4, "segm": {"AP": None}}}
    assert read_evaluation(path) == written
    assert written.versions["PyTorch"]


def test_nan_of_older_files_is_undefined(tmp_path):
    (tmp_path / "file.json").write_text('{"results": {"sem_seg": {"IoU-car": NaN}}}')
    assert read_evaluation(tmp_path / "file.json").results == {"sem_seg": {"IoU-car": None}}


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"results": {"segm": {"AP": "x"}}}', '{"results": {"segm": 3}}'),
        *('{"results": {}, "sequences": {"walk": 3}}', '{"results": {}, "sequences": []}'),
    ],
)
def test_files_that_no_evaluation_wrote(tmp_path, text):
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"file\.json is not what an evaluation writes .*: do it"):
        read_evaluation(path, "do it")
