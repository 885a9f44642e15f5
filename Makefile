# One verb per task, the same on a laptop and in CI. Each target installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help install demo test test-long hostile lint format docs dry-run clean

help:
	@echo "make demo       map a demo planet with the real workflow and print where the results are"
	@echo "make test       run all tests but the long ones"
	@echo "make test-long  run the long tests, and the property tests with 500 random examples each instead of 40"
	@echo "make hostile    try 1,300 hostile inputs and damaged files; HOSTILE='--seed 7' repeats what a seed drew"
	@echo "make lint       check style, types and the workflow"
	@echo "make format     format code and workflow"
	@echo "make docs       build the documentation site in build/site"
	@echo "make install    create the virtual environment in $(VENV)"
	@echo "make clean      remove the demo planets, their results and the environment"

install: $(STAMP)

# The stamp is written last: an interrupted installation is repeated.
$(STAMP): pyproject.toml setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Headwater needs Python 3.11 or newer; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	headwater demo run

# The workflow tests, which use all cores themselves, run in two groups; a third worker uses the time in which they wait.
test: $(STAMP)
	pytest -n 3 -m "not long"

# Tests that set their own max_examples keep it.
test-long: $(STAMP)
	HYPOTHESIS_PROFILE=long pytest -n 2 -m "hypothesis or long" --timeout 3600

# Prints the seed, and a table of what came of the inputs of each door.
hostile: $(STAMP)
	PYTHONPATH=tests python -m hostile.campaign $(HOSTILE)

lint: $(STAMP)
	ruff check
	ruff format --check
	mypy
	snakefmt --check Snakefile workflow
	codespell src tests docs workflow config README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md
	snakemake --lint

format: $(STAMP)
	ruff check --fix
	ruff format
	snakefmt Snakefile workflow

# Fails on broken links and anchors, and on pages that the navigation lacks.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

dry-run: $(STAMP)
	snakemake --dry-run --configfile config/demo.yaml

clean:
	rm -rf $(VENV) build/site demo results/999[0-9]* results/logs/999[0-9]* results/.headwater/999[0-9]*.lock
