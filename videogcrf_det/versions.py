"""The versions of what matters for results."""

import platform


def collect_versions() -> dict[str, str]:
    """Versions of the libraries in this process, by name, for people to read."""
    import detectron2
    import torch

    import videogcrf_det

    threads = torch.get_num_threads()
    device = f"CPU, {threads} thread{'s' if threads > 1 else ''}"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    return {
        "videogcrf-det": videogcrf_det.__version__,
        "detectron2": detectron2.__version__,
        "PyTorch": torch.__version__,
        "Python": platform.python_version(),
        "System": f"{platform.system()} {platform.machine()}",
        "Device": device,
    }
