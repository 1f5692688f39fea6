"""VideoGCRF for detectron2. Importing this registers its backbone, architecture and data sets."""

import warnings

from videogcrf_det.errors import DETECTRON2_HINT, InputError, has_detectron2

__version__ = "0.1.0"
__all__ = ["InputError", "__version__"]

if not has_detectron2():
    warnings.warn(DETECTRON2_HINT, stacklevel=2)
