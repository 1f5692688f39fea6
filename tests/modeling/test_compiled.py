"""Whole detectors in torch.compile."""

from pathlib import Path

import pytest
import torch

import videogcrf_det
from tests.modeling.conftest import STOCK
from videogcrf_det.steady.attach import attach

OURS = str(Path(videogcrf_det.__file__).parent)
SMALL = [
    *["MODEL.FPN.OUT_CHANNELS", "16", "MODEL.ROI_BOX_HEAD.FC_DIM", "16", "MODEL.MASK_ON", "False"],
    *["MODEL.VIDEO_GCRF.IN_FEATURES", "['p2','p3']", "MODEL.VIDEO_GCRF.FUSION", "replace"],
    *["INPUT.CLIP.NUM_FRAMES", "2", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"],
    *["MODEL.RPN.POST_NMS_TOPK_TEST", "8"],
]


@pytest.fixture(autouse=True)
def _nothing_stays_compiled():
    yield
    torch._dynamo.reset()


def windows(model, compiled, frames):
    return compiled([{"frames": frames}])[0]


@torch.no_grad()
def frame_by_frame(model, compiled, frames):
    model.backbone.reset()
    return [compiled([frame])[0] for frame in frames]


@pytest.mark.parametrize("detect", [windows, frame_by_frame])
def test_whole_detectors(detect, make_detector, make_clip):
    model = make_detector(*SMALL, *(STOCK if detect is frame_by_frame else []))
    if detect is frame_by_frame:
        attach(model)
    clip = make_clip(5, height=64, width=96)["frames"]
    breaks, convolutions = [], []

    def backend(graph, _):
        convolutions.extend(node for node in graph.graph.nodes if "conv2d" in str(node.target))
        reason = graph.compile_subgraph_reason
        breaks.extend([reason.user_stack[-1].filename] if reason.graph_break else [])
        return graph.forward

    compiled = torch.compile(model, backend=backend)
    for number in (3, 5, 4):
        found = detect(model, compiled, clip[:number])
        for a, b in zip(found, detect(model, model, clip[:number]), strict=True):
            assert len(b["instances"])
            for name, values in b["instances"].get_fields().items():
                ours = a["instances"].get(name)
                torch.testing.assert_close(*(getattr(x, "tensor", x) for x in (ours, values)))
        # neither the backbone nor the fields again for another length
        assert bool(convolutions) == (number == 3)
        convolutions.clear()
    assert breaks
    assert not [place for place in breaks if place.startswith(OURS)]
