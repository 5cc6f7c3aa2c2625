# Every command of the house. CI calls these same targets; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup check test test-slow demo bench format

# The uv on the path where it runs, a private one otherwise.
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo .uv/bin/uv)
RUN := $(UV) run --no-sync
BUILDIFIER := npm exec --yes --prefer-offline --loglevel=error --cache=.npm --package=@bazel/buildifier@8.2.1 -- buildifier

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 17

setup: .venv/.synced ## install the locked packages into .venv (about 3 GB)

check: setup ## format, lint, types, import rules, spelling
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	@command -v npm >/dev/null || { echo "make check needs npm, which carries buildifier (Debian: apt-get install npm)" >&2; exit 1; }
	$(BUILDIFIER) -mode=check -lint=warn BUILD
	$(RUN) pytest tests/build_test.py
	$(RUN) codespell

test: setup ## the tests, the fast rooms first, and what they cover
	$(RUN) pytest -m "not slow" --cov

test-slow: setup ## the tests that take minutes each
	$(RUN) pytest -m slow

demo: setup ## the whole way on a drawn catalogue, into ./demo
	$(RUN) lookalike demo --root ./demo

bench: setup ## the benchmarks, a table on standard output
	$(RUN) python -m tests.bench.run

format: setup ## rewrite what `make check` would complain about
	$(RUN) ruff format .
	$(RUN) ruff check --fix .
	$(BUILDIFIER) -mode=fix -lint=fix BUILD

.venv/.synced: pyproject.toml uv.lock .python-version | $(filter .uv/bin/uv,$(UV))
	$(UV) sync --frozen
	@touch $@

# --target, unlike --user and a virtual environment, works for any user, where pip is externally managed (PEP 668) and
# where Python lacks ensurepip.
.uv/bin/uv:
	python3 -m pip install --quiet --disable-pip-version-check --upgrade --target .uv 'uv>=0.5'
