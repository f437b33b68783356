# make demo       the whole job on synthetic data, in about two minutes
# make test       lint, types and tests
# make test-slow  the long tests
# make bench      time and memory as ratios against others, in about ten minutes on a quiet machine
# Each makes .venv and installs when setup.cfg or pyproject.toml has changed.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
JOBS   ?= auto

export NO_ALBUMENTATIONS_UPDATE = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo parts test test-slow bench lint types format clean help

help:
	@sed -n '1,5p' Makefile

# One process a core and one thread a process: many threads in many processes slow one another down.
RUN_TESTS = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --maxprocesses 8 --dist loadfile

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-test: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	$(BIN)/python -m pip install --quiet --no-deps 'tidecv==1.0.1'  # what it asks for brings a second OpenCV
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/toolkit demo

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

test: lint types
	$(RUN_TESTS)

test-slow: $(VENV)/.installed-test
	$(RUN_TESTS) -m slow

$(VENV)/.installed-bench: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m pip install --quiet --no-deps sahi shapely fire  # what sahi asks for brings a second OpenCV
	@touch $@ $(VENV)/.installed

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks

# Signatures and help of all parts, as check, list and editors read them; wanted after a changed signature or docstring.
parts: $(VENV)/.installed
	$(BIN)/python -m toolkit.config.describe_parts

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
