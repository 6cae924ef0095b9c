# rayplay: `make quickstart` sets everything up and runs the main job; `make test` sets everything up and tests it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && [ -e /proc/driver/nvidia/version ] && echo gpu || echo cpu)
LIST := requirements/$(GPU).txt
STAMP := $(VENV)/.installed-$(GPU)
export RAY_USAGE_STATS_ENABLED := 0
export DO_NOT_TRACK := 1

.PHONY: setup quickstart test lint clean help

help:
	@echo "make quickstart   set up, then teach a small model to call tools (5 to 25 minutes on two cores)"
	@echo "make test         set up, then run all tests"
	@echo "make setup        the environment in .venv ($(GPU) list); quick when nothing changed"
	@echo "make lint         ruff"
	@echo "make clean        remove the environment and caches, keep runs/"

# torch comes first, with its dependencies; then the full pinned list without resolving anything, so that nobody pulls
# in torchvision, torchaudio or torchcodec, which do not fit the CPU build of torch.
$(STAMP): requirements/torch.txt $(LIST) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
	  || { echo "rayplay needs Python 3.11 or 3.12, $(PYTHON) is $$($(PYTHON) --version); try make PYTHON=python3.11"; exit 2; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "setup: installing torch and $(LIST), about 3 minutes and 5 GB"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements/torch.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r $(LIST)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.installed-*
	@touch $@

setup: $(STAMP)

quickstart: setup
	@$(BIN)/rayplay train configs/quickstart.json --output-dir runs/quickstart

test: setup
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder  # whole files side by side: many tests wait for processes

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
