# Two commands do nearly everything: `make book` and `make test`. Both set up what they need.

PROFILE ?= demo
PYTHON ?= python3
BIN := .venv/bin
RESULTS := results/$(PROFILE)/notebooks
# The notebooks that have parameters in this profile, executed.
EXECUTED := $(patsubst params/$(PROFILE)/%.yaml,$(RESULTS)/%.ipynb,$(wildcard params/$(PROFILE)/*.yaml))
OTHERS := $(filter-out $(patsubst $(RESULTS)/%.ipynb,%,$(EXECUTED)),$(patsubst notebooks/%.py,%,$(wildcard notebooks/*.py)))
# Where the terminal is not watched, papermill's bar would only fill a log.
BAR := $(shell test -t 1 || echo --no-progress-bar)

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup book test bench lint format reference lock clean browser

help:  ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 20

setup: .venv/.stamp  ## make .venv with the locked versions

.venv/.stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

book: .venv/.stamp  ## run the notebooks of PROFILE (demo) and build the site in book/_build/html
	@$(MAKE) --no-print-directory --keep-going executed
	@test -n "$(EXECUTED)" || { echo "params/$(PROFILE) has no parameters; profiles: $(notdir $(patsubst %/,%,$(wildcard params/*/)))"; exit 1; }
	@mkdir -p book/notebooks
	@for file in $(EXECUTED); do cmp -s $$file book/notebooks/$${file##*/} || cp $$file book/notebooks/; done
	@# What the profile has no parameters for is a page that says so, and none of another profile.
	@for name in $(OTHERS); do \
	  { grep -m 1 '^# # ' notebooks/$$name.py | cut -c 3-; \
	    echo; echo 'Not part of this build: `params/$(PROFILE)` has no parameters for this notebook.'; } \
	  | jupytext --quiet --from md --to ipynb --output book/notebooks/$$name.ipynb -; done
	@rm -rf book/_build  # it would keep pages that are no more
	jupyter-book build . --path-output book --all --quiet -W -n --keep-going
	@echo "open book/_build/html/index.html"

.PHONY: executed
executed: $(EXECUTED)

# Most notebooks use runs of Table 4's, which is therefore first.
FIRST := $(RESULTS)/table4_ablation.ipynb
$(filter-out $(FIRST),$(EXECUTED)): | $(filter $(FIRST),$(EXECUTED))

# A run that fails leaves what it got to as NAME.failed.ipynb.
$(RESULTS)/%.ipynb: notebooks/%.ipynb params/$(PROFILE)/%.yaml params/published.yaml $(wildcard dgam_core/*.py) | .venv/.stamp
	@mkdir -p $(@D)
	papermill $(BAR) $< $(@D)/$*.failed.ipynb -f params/$(PROFILE)/$*.yaml
	jupytext --quiet --update-metadata '{"jupytext": null}' $(@D)/$*.failed.ipynb
	mv $(@D)/$*.failed.ipynb $@

test: book browser  ## run all tests: unit, notebooks, site
	pytest -n auto --dist loadfile --doctest-modules tests dgam_core
	pytest --nbval-lax notebooks

browser:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	test "$$(id -u)" = 0 || as_root="sudo -n"; \
	command -v apt-get >/dev/null && $$as_root apt-get update -qq \
	  && $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null \
	  || echo "no Chromium found: the tests of the site in a browser will be skipped"

bench: .venv/.stamp  ## time the package against the plain implementations of the tests
	python -m tests.benchmarks

lint: .venv/.stamp  ## check style and types
	ruff check
	ruff format --check
	mypy

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
