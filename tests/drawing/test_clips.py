import numpy as np
import pytest
import torch
from detectron2.structures import PolygonMasks
from PIL import Image

from tests.conftest import CONFIG
from tests.support.regions import annotated
from videogcrf_det import InputError
from videogcrf_det.drawing import visualize_predictions, write_clips
from videogcrf_det.drawing.clips import draw_clip
from videogcrf_det.drawing.overlay import display_size
from videogcrf_det.engine import VideoTrainer, build_cfg


def test_clips_as_training_sees_them(small, tmp_path):
    paths = write_clips(build_cfg(CONFIG, small), tmp_path / "clips", 3)
    assert len(paths) == 3
    pictures = [np.asarray(Image.open(path)) for path in paths]
    assert all(picture.std() > 10 for picture in pictures)
    assert any((picture != pictures[0]).any() for picture in pictures[1:] if picture.shape)


def test_number_of_clips(small, tmp_path):
    with pytest.raises(InputError, match="0"):
        write_clips(build_cfg(CONFIG, small), tmp_path / "clips", 0)


SIZE = (60, 100)
COLOUR = (200, 40, 40)  # of a frame that shows nothing


def drawn(instances):
    """A clip of one frame, drawn, and the positions in the picture at which frames have pixels."""
    image = torch.tensor(COLOUR, dtype=torch.uint8)[:, None, None].expand(3, *SIZE)
    picture = draw_clip({"frames": [{"image": image, "instances": instances}]}, "RGB")
    height, width = display_size(*SIZE)
    left, top = 8, 28  # the gap and the caption
    return picture[top : top + height, left : left + width], height // SIZE[0]


def test_regions_are_hatched_and_nothing_else_is():
    person, region = (10, 10, 30, 50), (60, 10, 90, 50)
    picture, scale = drawn(annotated([person], [region], SIZE))
    without, _ = drawn(annotated([person], [], SIZE))
    changed = (picture != without).any(2)
    x0, y0, x1, y1 = (corner * scale for corner in region)
    assert changed[y0:y1, x0:x1].mean() > 0.95
    changed[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1] = False
    assert not changed.any()
    inside = picture[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].astype(int)
    assert inside[..., 1].std() > 10  # stripes
    assert np.ptp(inside, axis=2).mean() < np.ptp(COLOUR)  # greyer than what is below


def test_a_frame_of_regions_alone_and_one_of_nothing():
    nothing, scale = drawn(annotated([], [], SIZE))
    assert (nothing == COLOUR).all()
    overlapping, _ = drawn(annotated([], [(10, 10, 30, 50), (20, 10, 60, 50)], SIZE))
    changed = (overlapping != COLOUR).any(2)
    assert changed[10 * scale : 50 * scale, 10 * scale : 60 * scale].mean() > 0.95
    assert not changed[:, 61 * scale :].any()


def test_boxes_alone_are_drawn_without_masks(small, tmp_path):
    """What MODEL.MASK_ON False leaves of the instances."""
    cfg = build_cfg(CONFIG, [*small, "MODEL.MASK_ON", "False"])
    assert len(write_clips(cfg, tmp_path, num_clips=1)) == 1


def test_polygons_are_drawn_as_the_masks_that_they_fill():
    person = annotated([(10, 10, 30, 50)], [(60, 10, 90, 50)], SIZE)
    expected, _ = drawn(person)
    person.gt_masks = PolygonMasks([[[10, 10, 30, 10, 30, 50, 10, 50.0]]])
    assert np.array_equal(drawn(person)[0], expected)


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
