# What there is to do: `make help`. Everything happens in .venv, made from requirements.lock and nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Written last: it is there only when the whole installation went well.
READY := $(VENV)/.installed
# What ruff and the type checker look at.
CODE := .
ARGS ?=
# Tests wait for others more than they compute; each worker has a stack of its own.
WORKERS ?= 2

.PHONY: help setup demo up test fuzz check lint format types bench bench-search mutate lock migrate clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## the virtual environment with the pinned packages, again only when the lock changed

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Dunlin needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.11" >&2; exit 1; }
	@# Debian's Python has no ensurepip without python3-venv; any pip at hand does as well.
	@if [ -x $(BIN)/python ]; then :; \
	elif $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv $(VENV); \
	elif $(PYTHON) -c 'import venv, pip' 2>/dev/null; then $(PYTHON) -m venv --without-pip $(VENV); \
	else echo "$(PYTHON) has neither venv nor pip. On Debian or Ubuntu, as root: apt-get install python3-venv" >&2; exit 1; fi
	@echo "Installing the pinned packages into $(VENV) …"
	@pip="$(BIN)/python -m pip"; \
	$$pip --version >/dev/null 2>&1 || pip="$(PYTHON) -m pip --python $(BIN)/python"; \
	$$pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

demo: $(READY) ## a subscriber's year in two minutes, then serve until Ctrl-C (DEMO_EXIT=1: end with a verdict)
	@$(BIN)/python cli.py demo $(ARGS)

up: $(READY) ## everything on this machine, without the story; data stay in .data
	@$(BIN)/python cli.py up

test: $(READY) ## every test (ARGS="tests/domain -k proration" for some, WORKERS=0 for one after the other)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

fuzz: $(READY) ## ask every operation of the API 200 times at random, elsewhere each time (ARGS="-k refunds" for some)
	@DUNLIN_TEST_DEPTH=deep $(BIN)/python -m pytest -n $(WORKERS) tests/api/test_fuzz.py $(ARGS)

check: lint types ## lint, types and the fast tests
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not stack"

lint: $(READY) ## the rules and the form
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)

format: $(READY) ## bring the code into form
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

types: $(READY) ## strict types
	@$(BIN)/basedpyright

bench: $(READY) ## renewals a second, beside bare workflows; writes bench/latest.json
	@$(BIN)/python cli.py bench $(ARGS)

bench-search: $(READY) ## the search box over a million customers; writes bench/search-latest.json
	@$(BIN)/python cli.py bench-search $(ARGS)

mutate: $(READY) ## break the domain one thing at a time: do the tests notice?
	@$(BIN)/mutmut run $(ARGS)
	@$(BIN)/mutmut results

lock: $(READY) ## pin the packages of pyproject.toml anew, by version and hash
	@$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
		--strip-extras --allow-unsafe --extra local --extra dev --output-file requirements.lock $(ARGS) pyproject.toml

migrate: $(READY) ## bring the tables of DATABASE_URL up to date
	@$(BIN)/python cli.py migrate

clean: ## remove the virtual environment and caches; data in .data stay
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis mutants .mutmut-cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
