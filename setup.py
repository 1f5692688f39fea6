"""Packaging. detectron2 is not on PyPI: tools/install_detectron2.py or docs/install.md."""

from setuptools import find_packages, setup

setup(
    name="videogcrf-det",
    version="0.1.0",
    description="Deep spatio-temporal random fields (VideoGCRF) for detectron2",
    license="Apache-2.0",
    packages=find_packages(include=["videogcrf_det*"]),
    package_data={"videogcrf_det": ["py.typed", "data/*.txt", "steady/*.pth"]},
    python_requires=">=3.10",
    # torch and detectron2 stay out: installing this must never replace a machine's own builds
    install_requires=[
        "numpy>=1.23",
        "opencv-python>=4.6",
        "pycocotools>=2.0.4",
        "fvcore>=0.1.5",
        "iopath>=0.1.9",
        "portalocker>=2.3",
        "tqdm>=4.60",
        "matplotlib>=3.5",
        "jinja2>=3",
        "scipy>=1.9",
    ],
    extras_require={
        # what detectron2 itself imports, for one that was installed without its dependencies
        "detectron2": [
            "setuptools<81",
            "Pillow>=9",
            "termcolor",
            "yacs",
            "tabulate",
            "cloudpickle",
            "tensorboard",
            "omegaconf",
            "hydra-core",
            "black",
            "packaging",
        ],
        "video": ["av>=14.1,<19"],
        # HOTA, IDF1 and MOTA; it needs newer versions of NumPy and SciPy than all else here
        "tracking": ["trackeval>=1.3"],
        # ONNX files of tools/export.py, and running them
        "export": ["onnx>=1.16", "onnxruntime>=1.17"],
        # what the benchmark compares with
        "benchmark": ["linear_operator>=0.5", "pydensecrf2>=1.0"],
        "dev": [
            "pytest>=7",
            "ruff>=0.6",
            "mypy>=1.8",
            "trackeval>=1.3; python_version >= '3.11'",
            "onnx>=1.16",
            "onnxruntime>=1.17",
        ],
    },
)
