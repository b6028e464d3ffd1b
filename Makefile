# Two commands do nearly everything: `make book` and `make test`. Both set up what they need.

PROFILE ?= demo
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup book test test-thorough test-slurm bench record lint format reference lock clean browser

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

setup: .venv/.stamp  ## make .venv with the locked versions

.venv/.stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

book: .venv/.stamp  ## run the notebooks of PROFILE (demo) and build the site in book/_build/html
	snakemake --cores all --config profile=$(PROFILE)
	@echo "open book/_build/html/index.html"

test: book browser  ## run the tests: unit, notebooks, site
	OMP_NUM_THREADS=1 pytest -n logical --dist loadfile --no-loadscope-reorder --doctest-modules --nbval-lax \
	  --ignore tests/slurm tests dgam_core notebooks/*.ipynb

test-thorough: .venv/.stamp  ## kill whole batches at random, KILLS (10) times
	KILLS=$(or $(KILLS),10) pytest -m thorough tests

test-slurm: .venv/.stamp  ## run a batch on a SLURM cluster of one node, which root starts and stops
	@command -v sbatch >/dev/null || { $(call install,slurm-wlm munge); } || echo "SLURM cannot be installed"
	pytest -rs tests/slurm

# Debian's packages, where there are such.
install = test "$$(id -u)" = 0 || as_root="sudo -n"; command -v apt-get >/dev/null && $$as_root apt-get update -qq \
  && $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null

browser:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	{ $(call install,chromium); } \
	  || echo "no Chromium found: the tests of the site in a browser will be skipped"

bench: .venv/.stamp  ## time the package against the plain implementations of the tests
	python -m tests.benchmarks

ifeq ($(RECORD),speed)
record: bench
else
record: .venv/.stamp  ## run the batch RECORD of params/records.yaml, and keep its results in params/records/RECORD
	snakemake --cores all --config record=$(RECORD)
	dgam batch record $(RECORD)
endif

lint: .venv/.stamp  ## check style, types, and which module imports which
	ruff check
	ruff format --check
	mypy
	lint-imports --no-logo

format: .venv/.stamp  ## rewrite the code in the project's style, and pair the notebooks with their twins
	ruff check --fix
	ruff format
	jupytext --sync notebooks/*.ipynb

reference: .venv/.stamp  ## run the notebooks as they stand; keep their numbers and output for --nbval-lax to compare
	DGAM_REFERENCE=write jupyter nbconvert --log-level WARN --to notebook --execute --inplace notebooks/*.ipynb
	nbstripout --keep-id --keep-count notebooks/*.ipynb

lock: pyproject.toml  ## write requirements.lock anew from pyproject.toml
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[notebooks,book,test]'
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+.*//' > requirements.lock
	touch .venv/.stamp

clean:  ## remove the site and the executed notebooks; runs are kept
	rm -rf book/_build book/notebooks results/*/notebooks
