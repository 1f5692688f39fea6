"""The pairwise objective on instances against background."""

import math

import pytest
import torch
from detectron2.structures import BitMasks, Instances
from detectron2.utils.events import EventStorage

from videogcrf_det import InputError
from videogcrf_det.modeling.pairs import cells_of_instances, instance_pairs_loss
from videogcrf_det.structures import AnnotatedInstances


def test_cells_are_those_at_their_centres():
    mask, region = torch.zeros(1, 12, 20, dtype=torch.bool), torch.zeros(1, 12, 20) > 0
    mask[:, 2:6, 2:10] = True
    region[:, 8:, 8:] = True
    instances = AnnotatedInstances((12, 20), BitMasks(region), gt_masks=BitMasks(mask))
    cells = cells_of_instances(instances, (4, 6), 4).view(4, 6).tolist()
    assert cells == [[1, 1, 0, 0, 0, -1], [0] * 5 + [-1], [0, 0, -1, -1, -1, -1], [-1] * 6]
    assert cells_of_instances(Instances((8, 8)), (2, 2), 4).tolist() == [0, 0, 0, 0]


def test_the_loss_of_what_says_nothing_and_of_what_says_all():
    cells = [torch.tensor([0] * 9 + [1] * 3)] * 2
    coupling = torch.ones(2, 2)
    for of_frames in (None, coupling):
        nothing = instance_pairs_loss(torch.zeros(2, 4, 12), cells, of_frames)
        assert nothing.item() == pytest.approx(math.log(2), rel=1e-5)
        told = torch.where(torch.stack(cells)[:, None] > 0, 5.0, -5.0)
        assert instance_pairs_loss(told, cells, of_frames).item() < 1e-6
        assert instance_pairs_loss(told * torch.tensor([1.0, 0])[:, None, None], cells, None) > 0.1
    none = instance_pairs_loss(told, [torch.full((12,), -1)] * 2, None)
    assert none.item() == 0


def test_embeddings_learn_it_while_the_detector_stays(make_detector, make_clip):
    keys = [*["MODEL.VIDEO_GCRF.PAIRWISE_LOSS", "1.0"], "MODEL.VIDEO_GCRF.FREEZE_DETECTOR", "True"]
    model = make_detector(*keys, "INPUT.MASK_FORMAT", "bitmask").train()
    clip = make_clip(3)
    for frame in clip["frames"]:  # something to tell an instance by
        frame["image"][:, frame["instances"].gt_masks.tensor[0]] //= 8
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, 3e-3)
    losses = []
    for step in range(8):
        with EventStorage():
            torch.manual_seed(step)
            loss = model([clip])["loss_pairwise"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(2), rel=0.2)
    assert losses[-1] < 0.8 * losses[0], losses
    with pytest.raises(InputError, match=r"PAIRWISE_LOSS 1\.0 is for random fields of products"):
        make_detector(*keys[:2], "MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone")
