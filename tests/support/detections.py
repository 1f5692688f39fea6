"""What a detector could have found on annotated frames."""

import numpy as np
import torch
from detectron2.structures import BitMasks, Instances
from pycocotools import mask as coco_mask


def detections(record, rng):
    """The frame's masks, do-not-care regions too, moved by a few pixels, with drawn scores."""
    masks = [coco_mask.decode(a["segmentation"]) for a in record["annotations"]]
    masks = [np.roll(mask, rng.integers(-2, 3, size=2), axis=(0, 1)) for mask in masks]
    masks.append(np.zeros((48, 64), dtype=np.uint8))  # and a false alarm
    masks[-1][:12, :12] = 1
    instances = Instances((48, 64))
    instances.pred_masks = torch.from_numpy(np.stack(masks)).bool()
    instances.pred_boxes = BitMasks(instances.pred_masks).get_bounding_boxes()
    instances.scores = torch.from_numpy(rng.uniform(0.1, 1, len(masks)))
    instances.pred_classes = torch.zeros(len(masks), dtype=torch.long)
    return {"instances": instances}


def predicted(record, identity):
    """The true masks with identities of our own."""
    found = Instances((record["height"], record["width"]))
    truth = record["annotations"]
    masks = np.array([coco_mask.decode(a["segmentation"]) for a in truth])
    masks = masks.reshape(-1, *found.image_size)
    found.pred_masks = torch.from_numpy(masks).bool()
    found.pred_boxes = BitMasks(found.pred_masks).get_bounding_boxes()
    found.scores = torch.full((len(truth),), 0.9)
    found.pred_classes = torch.tensor([a["category_id"] for a in truth])
    if identity is not None:
        found.track_ids = torch.tensor([identity(a) for a in truth])
    return {"instances": found}
