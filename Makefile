# Everything runs in .venv/, which `make setup` makes from requirements.lock.
#
#   make demo    a key-value server on ewb, real data, range scans by a stock Couchbase SDK
#   make test    the tests
#   make help    the rest

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-from-requirements.lock
# The other CPythons of this machine that ewb supports; `make test-all` tests on each.
PYTHONS ?= 3.11 3.12 3.13 3.14

export PYTHONPATH := $(CURDIR)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test test-slow test-all check coverage bench wheel lock clean

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## prepare .venv/ with all that tests, examples, benchmarks and checks need

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"ewb needs Python 3.11 or later; {sys.executable} is {v[0]}.{v[1]}. Try: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	@echo "Preparing $(VENV)/ from requirements.lock (once; takes a minute) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	@touch $@

demo: setup ## serve 234,908 cities, and scan them with a raw client and the stock Couchbase SDK
	@$(BIN)/python -m examples.range_scan demo

test: setup ## run the tests (under five minutes)
	@$(BIN)/python -m pytest -q -m "not slow"

test-slow: setup ## run the slow tests too
	@$(BIN)/python -m pytest -q

test-all: setup ## run the tests on every CPython from 3.11 up that this machine has
	@$(BIN)/python .ci/pythons.py $(PYTHONS)

check: setup ## lint, format, types, order of imports
	@echo "ruff ..." && $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "mypy ..." && $(BIN)/mypy
	@echo "pyright ..." && $(BIN)/pyright --pythonpath $(BIN)/python
	@echo "import-linter ..." && $(BIN)/lint-imports --no-cache

coverage: setup ## run the tests of ewb, the slow ones too, and say which lines none of them reaches
	@$(BIN)/coverage run -m pytest -q --ignore=tests/range_scan && $(BIN)/coverage report

bench: setup ## run the benchmarks (QUICK=--quick for a short run)
	@$(BIN)/python -m benchmarks.handoff $(QUICK)
	@$(BIN)/python -m benchmarks.front_end $(QUICK)
	@$(BIN)/python -m benchmarks.range_scan $(QUICK)

wheel: setup ## build wheel and sdist, and test the wheel apart from the source tree
	@$(BIN)/python .ci/wheel.py

lock: ## renew requirements.lock (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate \
		--group dev --output-file requirements.lock --upgrade pyproject.toml

clean: ## remove what the other commands made
	rm -rf $(VENV) .venvs dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
