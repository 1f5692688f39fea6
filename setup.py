"""Packaging. detectron2 is not on PyPI: tools/install_detectron2.py or docs/install.md."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
INIT = (HERE / "videogcrf_det/__init__.py").read_text(encoding="utf-8")

setup(
    name="videogcrf-det",
    version=re.findall(r'^__version__ = "(.+)"', INIT, re.MULTILINE)[0],
    description="Deep spatio-temporal random fields (VideoGCRF) for detectron2",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "THIRD_PARTY.md"],
    keywords="detectron2 video instance-segmentation conditional-random-field temporal-consistency",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    # inside the wheel: configs that are found by name, and the scripts behind the commands
    packages=[
        *find_packages(include=["videogcrf_det*"]),
        "videogcrf_det.configs",
        "videogcrf_det.tools",
    ],
    package_dir={"videogcrf_det.configs": "configs", "videogcrf_det.tools": "tools"},
    package_data={
        "videogcrf_det": ["py.typed", "data/davis/*.txt", "report/templates/*", "steady/*.pth"],
        "videogcrf_det.configs": ["*/*.yaml", "*/*.py"],
    },
    entry_points={"console_scripts": ["videogcrf = videogcrf_det.commands:main"]},
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
        # what detectron2 itself imports, for installations without its dependencies
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
        "docs": [
            "mkdocs>=1.6,<2",
            "mkdocs-material>=9.5,<10",
            "mkdocstrings[python]>=0.26",
            "latex2mathml>=3.77",
        ],
        "notebook": ["nbclient>=0.8", "nbformat>=5", "ipykernel>=6"],
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
