"""Checks of maps of labels."""

from typing import Any

import numpy as np

from videogcrf_det.errors import InputError


def check_labels(labels: Any, num_classes: int, ignore_label: int, file_name: str) -> None:
    """Raise an InputError unless every value is a label or the one of pixels without any.

    Args:
        labels: (H, W), an array or a tensor on the CPU.
        num_classes: L; labels are 0 to L - 1.
        ignore_label: the value of pixels without a label.
        file_name: the frame's, for the message.
    """
    values = np.unique(np.asarray(labels))
    wrong = values[((values < 0) | (values >= num_classes)) & (values != ignore_label)]
    if len(wrong):
        found = ", ".join(map(str, wrong[:5].tolist())) + (", ..." if len(wrong) > 5 else "")
        raise InputError(
            f"the labels of {file_name} hold {found}, but there are 0 to {num_classes - 1}, and "
            f"{ignore_label} where there is none: convert them, or set "
            "MODEL.SEM_SEG_HEAD.NUM_CLASSES and IGNORE_VALUE"
        )
