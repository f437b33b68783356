# make demo       the whole job on synthetic data, in about two minutes
# make test       lint, types and tests
# make test-slow  the long tests
#                 (make test-slow SHARD=2/4: the second quarter of them)
# make test-oldest  the tests with the oldest versions that setup.cfg allows
# make coverage   which lines the tests reach
# make docs       the documentation as a site, warnings as errors
# make wheel      the wheel in dist/; make sbom, make audit: what it brings along, and what is known against that
# make bench      time and memory as ratios against others, in about ten minutes on a quiet machine
# Each makes .venv and installs when setup.cfg or pyproject.toml has changed.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
JOBS   ?= auto

export NO_ALBUMENTATIONS_UPDATE = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Tests start many processes: what one has compiled, the others need not.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo parts test run-tests test-slow test-oldest coverage bench docs wheel sbom audit lint types format clean help

help:
	@sed -n '/^# make/p;/^# Each/p;/^#  /p' Makefile

# One process a core and one thread a process: many threads in many processes slow one another down.
RUN_TESTS = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --maxprocesses 8 --dist worksteal

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

# With every extra that a slow test can use, so that none is skipped for want of it.
$(VENV)/.installed-slow: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[test,docs,export,ray]'
	@touch $@ $(VENV)/.installed

test-slow: $(VENV)/.installed-slow
	$(RUN_TESTS) -m slow --shard $(or $(SHARD),1/1)

coverage: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet pytest-cov
	$(RUN_TESTS) --cov=toolkit --cov-report=term:skip-covered

# An environment of its own: the oldest versions are not those that one works with.
test-oldest:
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet uv
	.venv-oldest/bin/uv pip install --quiet --python .venv-oldest/bin/python --resolution lowest-direct --editable '.[test]'
	.venv-oldest/bin/python -m pip install --quiet --no-deps 'tidecv==1.0.1'
	$(MAKE) VENV=.venv-oldest BIN=.venv-oldest/bin run-tests

run-tests:
	$(RUN_TESTS)

$(VENV)/.installed-docs: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@ $(VENV)/.installed

# Links that lead nowhere, pages that the list lacks and names that are not found are errors (`strict` in mkdocs.yml).
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

wheel: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet build
	$(BIN)/python -m build --quiet --wheel --outdir dist .

# An environment that holds the package and what it asks for, and nothing of a developer's.
.venv-shipped/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv-shipped
	.venv-shipped/bin/python -m pip install --quiet .
	@touch $@

sbom: .venv-shipped/.installed $(VENV)/.installed
	$(BIN)/python -m pip install --quiet cyclonedx-bom
	@mkdir -p dist
	$(BIN)/cyclonedx-py environment .venv-shipped --output-file dist/sbom.json
	@echo dist/sbom.json

audit: .venv-shipped/.installed $(VENV)/.installed
	.venv-shipped/bin/python -m pip check
	.venv-shipped/bin/toolkit doctor --licences
	@$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/python .ci/audit.py $$(.venv-shipped/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

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
	rm -rf $(VENV) .venv-oldest .venv-shipped site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
