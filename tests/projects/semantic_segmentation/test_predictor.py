import itertools
import weakref

import numpy as np
import pytest
import torch
from detectron2.data.detection_utils import read_image

from videogcrf_det import InputError
from videogcrf_det.data import VideoDatasetMapper, load_videos
from videogcrf_det.segmentation.predictor import SemanticPredictor


@pytest.mark.parametrize(
    "opts", [[], ["INPUT.FORMAT", "RGB", "INPUT.MIN_SIZE_TEST", 40], ["MODEL.PHASE", "unary"]]
)
def test_labels_are_those_of_the_evaluation(make_cfg, room, opts):
    cfg = make_cfg(*opts)
    predictor = SemanticPredictor(cfg)
    (video,) = load_videos(room)
    (expected,) = predictor.model([VideoDatasetMapper(cfg, is_train=False)(video)])
    frames = [read_image(record["file_name"], "BGR") for record in video["frames"]]
    found = list(predictor(iter(frames)))
    assert all(each.frame is frame for each, frame in zip(found, frames, strict=True))
    for each, output in zip(found, expected, strict=True):
        torch.testing.assert_close(each.probabilities, output["sem_seg"])
        assert each.probabilities.shape == (3, 48, 64)
    # frames are seen together, unless the random field is left out
    alone = [next(predictor([frame])).probabilities for frame in frames]
    together = [each.probabilities for each in found]
    same = [torch.allclose(a, b, rtol=1e-5) for a, b in zip(alone, together, strict=True)]
    assert all(same) if "unary" in opts else not any(same)


def test_an_endless_video_with_little_latency_and_memory(make_cfg):
    predictor = SemanticPredictor(make_cfg())
    read, alive = 0, set()

    def frames():
        nonlocal read
        for number in itertools.count():
            frame = np.full((48, 64, 3), number, np.uint8)
            alive.add(number)
            weakref.finalize(frame, alive.discard, number)
            read += 1
            yield frame

    segmented = predictor(frames())
    assert read == 0
    for number, (frame, _) in enumerate(itertools.islice(segmented, 12)):
        assert (frame == number).all()
        assert read <= number + 3
        assert len(alive) <= 4


def test_another_architecture(make_cfg):
    with pytest.raises(InputError, match=r"SemanticSegmentor does not .* to VideoSegmentor"):
        SemanticPredictor(
            make_cfg(
                *["MODEL.META_ARCHITECTURE", "SemanticSegmentor"],
                *["MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res4', 'res5']"],
            )
        )
