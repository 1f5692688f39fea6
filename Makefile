# `make demo` and `make test` do their own set-up; PYTHON= picks the interpreter (3.10 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed

.PHONY: demo test benchmark docs lint setup clean help
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: setup  ## draw a small data set, train, evaluate, and write a page to output/demo/
	$(BIN)/python tools/quickstart.py --output output/demo

test: setup  ## every test, those that train included
	$(BIN)/python -m pytest

benchmark: setup  ## time the solver against others, half an hour; the report goes to docs/benchmarks/
	$(PIP) install -c constraints.txt -e '.[benchmark]'
	$(BIN)/python -m benchmarks

docs: setup  ## build the documentation; then open output/site/index.html
	$(BIN)/mkdocs build --strict

lint: setup  ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy projects/instance_tracking # apart: its scripts are named like those of the others
	$(BIN)/mypy projects/depth_estimation

setup: $(STAMP)  ## make .venv and install everything into it

# The fallback is for Pythons that ship without ensurepip (such as Debian's).
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or newer is needed; name one with PYTHON=/path/to/python3" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(VENV)/bin/python install pip; }

$(STAMP): setup.py constraints.txt tools/install_detectron2.py | $(VENV)/bin/python
	$(PIP) install -c constraints.txt setuptools wheel torch torchvision
	$(BIN)/python tools/install_detectron2.py
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[detectron2,video,dev,docs,notebook]'
	@touch $@

clean:  ## remove what the commands above made
	rm -rf $(VENV) output build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
