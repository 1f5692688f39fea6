"""VideoGCRF for detectron2. Importing this registers its backbone, architecture and data sets."""

import warnings

from videogcrf_det.errors import DETECTRON2_HINT, InputError, has_detectron2

__version__ = "0.2.0"
__all__ = ["InputError", "__version__"]

if has_detectron2():
    with warnings.catch_warnings():
        # detectron2 calls what newer torch releases deprecate; users can do nothing about it
        warnings.simplefilter("ignore", FutureWarning)
        from videogcrf_det import data, modeling  # noqa: F401
        from videogcrf_det.config import add_videogcrf_config

    __all__ += ["add_videogcrf_config"]
else:
    # the method itself, videogcrf_det.gcrf, needs torch alone
    warnings.warn(DETECTRON2_HINT, stacklevel=2)
