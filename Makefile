# Two commands for a newcomer: `make run` (the main job) and `make test`. Each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# Extra words for pip, e.g. PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_ARGS ?=
PIP := python -m pip install -q --disable-pip-version-check $(PIP_ARGS)
# Nothing is built from source: that would run what a stranger wrote, with tools that have no hash.
HASHED := $(PIP) --require-hashes --only-binary :all: -r
CONFIG ?= experiment_configs/ga_joint.yml
PYTEST_ARGS ?=
# More than cores: a quarter of the time of two workers is waiting for NNI.
WORKERS ?= 3
SYSTEM_PACKAGES := chromium chromium-driver gcc-arm-none-eabi libnewlib-arm-none-eabi \
	qemu-system-arm gcc libc6-dev openssh-server openssh-client dataset-fashion-mnist \
	clang cppcheck gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf

# nnictl, the tuner and the trials all find this interpreter first, without activation.
export PATH := $(BIN):$(PATH)

# What has no NNI server, browser, emulator or long training: under two minutes on two cores.
FAST := not (nightly or nni or browser or emulator or slow)

# What takes too long for CI, each a target of its own; add yours to the list.
NIGHTLY := nightly-tests nightly-long-run nightly-kills nightly-resume nightly-fuzz nightly-coverage nightly-versions
FAULTS := benchmarks/faults/results

.PHONY: help run test test-fast nightly $(NIGHTLY) check prose docs hashes system clean coverage-env

help:
	@echo "make run        set up, then run $(CONFIG) in NNI and print its web UI's address"
	@echo "make test       set up, then run all tests"
	@echo "make test-fast  the tests without NNI, browser, emulator and long trainings: two minutes"
	@echo "make nightly    hours of kills, failing trials, wrong input and public networks"
	@echo "make check      ruff, ruff format, mypy --strict, and how the pages read"
	@echo "make hashes     renew requirements/ after a change of constraints.txt"
	@echo "make docs       build the documentation into site/"
	@echo "make coverage-env      the environment of benchmarks/coverage, in .venv-coverage"
	@echo "make nightly-coverage  public networks from trace to ONNX; hours"
	@echo "make system     apt-get what some tests need (browser, Arm compiler, QEMU, sshd); needs root"

run: $(VENV)/.run
	@joint-ga run $(CONFIG)

test: $(VENV)/.dev
	pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

test-fast: $(VENV)/.dev
	pytest -n 2 --dist worksteal -m "$(FAST)" --cpu-limit 15 $(PYTEST_ARGS)

# One that fails does not keep the others from running.
nightly: $(VENV)/.dev
	@$(MAKE) --keep-going $(NIGHTLY)

nightly-tests: $(VENV)/.dev
	pytest -n $(WORKERS) --dist worksteal -m nightly

nightly-long-run: $(VENV)/.dev
	python -m benchmarks.faults.long_run --output $(FAULTS)/long_run.json

nightly-kills: $(VENV)/.dev
	python -m benchmarks.faults.kills --output $(FAULTS)/kills.json

nightly-resume: $(VENV)/.dev
	python -m benchmarks.faults.resume --output $(FAULTS)/resume.json

nightly-fuzz: $(VENV)/.dev
	for seed in 0 1 2; do python -m benchmarks.faults.fuzz --cases 100000 --seed $$seed || exit 1; done

# Other Pythons, and the lowest and highest versions of what is needed; without torch and NNI.
nightly-versions: build/hashes/bin/uv
	status=0; for resolution in lowest highest; do \
		python .ci/versions.py --uv build/hashes/bin/uv --resolution $$resolution || status=1; \
	done; exit $$status

check: $(VENV)/.dev prose
	python .ci/hashes.py
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
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v else f"Python {v[0]}.{v[1]} found; 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ...")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python3 -m venv failed: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }

# The pinned versions are the ones the tests ran with; pip takes no file whose hash isn't in requirements/.
# torch alone has none (its builds come from several places), and finds all that it needs there already.
# setuptools is among the hashed ones: the project is built with that one, not with what pip would fetch.
# In the mode `compat` the packages are found by a path: a folder `evaluators/` of a user's, without an
# `__init__.py`, does not hide ours.
$(VENV)/.run: $(VENV)/bin/python pyproject.toml constraints.txt requirements/run.txt
	$(HASHED) requirements/run.txt
	$(PIP) -c constraints.txt torch
	$(PIP) --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	$(HASHED) requirements/dev.txt
	@touch $@

$(VENV)/.docs: $(VENV)/.run requirements/docs.txt
	$(HASHED) requirements/docs.txt
	@touch $@

# After a change of constraints.txt or of the dependencies in pyproject.toml.
hashes: $(VENV)/.dev $(VENV)/.docs build/hashes/bin/uv
	python .ci/hashes.py --uv build/hashes/bin/uv

build/hashes/bin/uv:
	$(PYTHON) -m venv build/hashes
	build/hashes/bin/python -m pip install -q --disable-pip-version-check uv

# Public networks and the rival. With --no-deps, so that no package brings another torch.
coverage-env: .venv-coverage/.done

.venv-coverage/.done: pyproject.toml constraints.txt benchmarks/coverage/requirements.txt
	$(MAKE) VENV=.venv-coverage .venv-coverage/.run
	.venv-coverage/bin/python -m pip install -q --disable-pip-version-check $(PIP_ARGS) --no-deps \
		-r benchmarks/coverage/requirements.txt
	@touch $@

nightly-coverage: coverage-env
	nice -n 10 .venv-coverage/bin/python -m benchmarks.coverage.sweep $(COVERAGE_ARGS)

clean:
	rm -rf $(VENV) .venv-coverage site build .pytest_cache .mypy_cache .ruff_cache .hypothesis
