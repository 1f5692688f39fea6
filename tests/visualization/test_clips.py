import numpy as np
import pytest
from PIL import Image

from tests.conftest import CONFIG
from videogcrf_det import InputError
from videogcrf_det.engine import VideoTrainer, build_cfg
from videogcrf_det.visualization import visualize_predictions, write_clips


def test_clips_as_training_sees_them(small, tmp_path):
    paths = write_clips(build_cfg(CONFIG, small), tmp_path / "clips", 3)
    assert len(paths) == 3
    pictures = [np.asarray(Image.open(path)) for path in paths]
    assert all(picture.std() > 10 for picture in pictures)
    assert any((picture != pictures[0]).any() for picture in pictures[1:] if picture.shape)


def test_number_of_clips(small, tmp_path):
    with pytest.raises(InputError, match="0"):
        write_clips(build_cfg(CONFIG, small), tmp_path / "clips", 0)


@pytest.mark.slow
def test_predictions_of_a_checkpoint_equal_those_of_its_evaluation(small, tmp_path):
    trainer = VideoTrainer(build_cfg(CONFIG, small))
    trainer.checkpointer.save("model")
    weights = str(tmp_path / "out/model.pth")
    cfg = build_cfg(CONFIG, [*small, "MODEL.WEIGHTS", weights])
    (dataset,) = cfg.DATASETS.TEST
    VideoTrainer.test(cfg, trainer.model)
    shown = {"confidence_threshold": 0.0}
    from_model = visualize_predictions(cfg, tmp_path / "model", **shown)
    results = tmp_path / "out/inference" / dataset / "coco_instances_results.json"
    from_file = visualize_predictions(cfg, tmp_path / "file", predictions=results, **shown)
    assert len(from_model) == len(from_file) == 2
    for a, b in zip(from_model, from_file, strict=True):
        assert a.name == b.name
        for first, second in zip(a.frames, b.frames, strict=True):
            assert first.read_bytes() == second.read_bytes()
