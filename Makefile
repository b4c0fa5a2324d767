# Two commands for a newcomer: `make run` (the main job) and `make test`. Each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# Extra words for pip, e.g. PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_ARGS ?=
CONFIG ?= experiment_configs/ga_joint.yml
PYTEST_ARGS ?=
SYSTEM_PACKAGES := chromium chromium-driver gcc-arm-none-eabi libnewlib-arm-none-eabi \
	qemu-system-arm gcc libc6-dev openssh-server openssh-client dataset-fashion-mnist

# nnictl, the tuner and the trials all find this interpreter first, without activation.
export PATH := $(BIN):$(PATH)

# What has no NNI server, browser, emulator or long training: under two minutes on two cores.
FAST := not (nni or browser or emulator or slow)

.PHONY: help run test test-fast check prose docs system clean

help:
	@echo "make run        set up, then run $(CONFIG) in NNI and print its web UI's address"
	@echo "make test       set up, then run all tests"
	@echo "make test-fast  the tests without NNI, browser, emulator and long trainings: two minutes"
	@echo "make check      ruff, ruff format, mypy --strict, and how the pages read"
	@echo "make docs       build the documentation into site/"
	@echo "make system     apt-get what some tests need (browser, Arm compiler, QEMU, sshd); needs root"

run: $(VENV)/.run
	@joint-ga run $(CONFIG)

test: $(VENV)/.dev
	pytest -n 2 --dist worksteal $(PYTEST_ARGS)

test-fast: $(VENV)/.dev
	pytest -n 2 --dist worksteal -m "$(FAST)" --cpu-limit 15 $(PYTEST_ARGS)

check: $(VENV)/.dev prose
	ruff check .
	ruff format --check .
	mypy

# How the pages read: length of sentences, figures in tables, spelling.
prose: $(VENV)/.dev
	python .ci/prose.py --mean 16 --lines 150 README.md
	python .ci/prose.py --mean 18 docs CONTRIBUTING.md
	codespell README.md CONTRIBUTING.md CHANGELOG.md docs

docs: $(VENV)/.docs
	mkdocs build --strict

system:
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $(SYSTEM_PACKAGES)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python {v[0]}.{v[1]} found; 3.11 to 3.13 is needed: make PYTHON=/path/to/python3.11 ...")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python3 -m venv failed: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }

# The pinned versions are the ones the tests ran with; setuptools first, as NNI needs it below 81.
$(VENV)/.run: $(VENV)/bin/python pyproject.toml constraints.txt
	python -m pip install -q --disable-pip-version-check -c constraints.txt $(PIP_ARGS) "setuptools<81" torch
	python -m pip install -q --disable-pip-version-check -c constraints.txt $(PIP_ARGS) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	python -m pip install -q --disable-pip-version-check -c constraints.txt $(PIP_ARGS) -e ".[dev,litert,tflm,vela]"
	@touch $@

$(VENV)/.docs: $(VENV)/.run
	python -m pip install -q --disable-pip-version-check -c constraints.txt $(PIP_ARGS) -e ".[docs]"
	@touch $@

clean:
	rm -rf $(VENV) site build .pytest_cache .mypy_cache .ruff_cache .hypothesis
