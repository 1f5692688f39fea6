"""Models that a test can tell apart, and what they give."""

import torch


def couple_for_real(model, seed=0):
    """Give the random fields weights with which they change the features."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.backbone.gcrf.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return model


def tensors(output):
    """All numbers of a model's output for a frame, by name."""
    found = {}
    for key, value in output.items():
        if key == "instances":
            fields = value.get_fields()
            found |= {n: getattr(v, "tensor", v) for n, v in fields.items()}
        elif key == "panoptic_seg":
            found[key] = value[0]
        else:
            found[key] = value
    return found


def same(first, second):
    a, b = tensors(first), tensors(second)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
