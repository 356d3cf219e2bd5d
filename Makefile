# Every target sets up what it needs in .venv on a machine that has only Python (>= 3.11) and make.
PYTHON ?= python3
# "torch" is the version that constraints.txt pins; another version or build:
# make demo TORCH='torch==2.11.0' PIP_ARGS='--extra-index-url ...'
TORCH ?= torch
PIP_ARGS ?=
SEED ?= 0
OUTPUT ?= demo-output$(if $(filter-out 0,$(SEED)),-seed$(SEED))
# Used by every pytest call; one computing thread per worker keeps two workers from fighting over two cores.
PYTEST_ARGS ?= -n auto
PYTEST = OMP_NUM_THREADS=1 .venv/bin/python -m pytest $(PYTEST_ARGS)
PIP = .venv/bin/python -m pip --disable-pip-version-check install --quiet --constraint .venv/constraints.txt $(PIP_ARGS)

.PHONY: demo test test-full lint format mutation clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       learn from a toy world, search it, write $(OUTPUT)/report.html"
	@echo "make test       the quick test suite      make test-full  the slow tests"
	@echo "make lint       style and types           make format     put the style right"
	@echo "make mutation   how many planted faults the tests find"

demo: .venv/installed
	.venv/bin/narravid demo --output $(OUTPUT) --seed $(SEED)

test: .venv/installed-dev
	$(PYTEST) -m "not slow"

test-full: .venv/installed-dev
	$(PYTEST) -m "slow"

lint: .venv/installed-dev
	.venv/bin/ruff check src tests benchmarks examples
	.venv/bin/ruff format --check src tests benchmarks examples
	.venv/bin/mypy

format: .venv/installed-dev
	.venv/bin/ruff check --fix src tests benchmarks examples
	.venv/bin/ruff format src tests benchmarks examples

mutation: .venv/installed-dev
	OMP_NUM_THREADS=1 .venv/bin/mutmut run
	.venv/bin/mutmut export-cicd-stats
	.venv/bin/python -c "import json; s = json.load(open('mutants/mutmut-cicd-stats.json')); \
	    share = s['killed'] / s['total']; print(f\"killed {s['killed']} of {s['total']} mutants: {share:.1%}\"); \
	    raise SystemExit(share < 0.85)"

clean:
	rm -rf .venv demo-output demo-output-seed* mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Half a .venv, as a system without ensurepip leaves it, would hide the cause from the next run.
.venv/bin/python:
	$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'Narravid needs Python 3.11 or newer')"
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# PyTorch comes first and by itself, so that the build chosen is the one that the rest then finds in place.
.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	@if [ "$(TORCH)" = torch ]; then cat constraints.txt; else grep -v '^torch==' constraints.txt; fi \
	    > .venv/constraints.txt
	$(PIP) "$(TORCH)"
	$(PIP) --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --editable ".[dev]"
	@touch $@
