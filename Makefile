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
SOAK_SECONDS ?= 300
CRASH_ROUNDS ?= 300
INTERLEAVINGS ?= 400
FUZZ_SECONDS ?= 120
SEED ?= 1

export PYTHONPATH := $(CURDIR)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test test-slow test-all check coverage soak interleavings bench report docs notebooks wheel lock clean

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

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

test-slow: setup ## run the slow tests: faults, crashes, hostile clients (make docs runs the notebooks)
	@EWB_INTERLEAVINGS=50 $(BIN)/python -m pytest -q -m slow --ignore=tests/test_tutorials.py

test-all: setup ## run the tests on every CPython from 3.11 up that this machine has
	@$(BIN)/python .ci/pythons.py $(PYTHONS)

check: setup ## lint, format, types, order of imports
	@echo "ruff ..." && $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "mypy ..." && $(BIN)/mypy
	@echo "pyright ..." && $(BIN)/pyright --pythonpath $(BIN)/python
	@echo "import-linter ..." && $(BIN)/lint-imports --no-cache

coverage: setup ## run the tests of ewb, the slow ones too, and say which lines none of them reaches
	@$(BIN)/coverage run -m pytest -q -m "not tree" --ignore=tests/test_interleavings.py && \
		$(BIN)/coverage report

soak: setup ## the long forms: kill -9, interleavings, fuzzing, SOAK_SECONDS (300) of load; draws soak.png
	@EWB_CRASH_ROUNDS=$(CRASH_ROUNDS) EWB_INTERLEAVINGS=$(INTERLEAVINGS) \
		$(BIN)/python -m pytest -q -m slow tests/range_scan/test_crash.py tests/test_interleavings.py
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) --seed $(SEED)
	@$(BIN)/python -m tests.soak --seconds $(SOAK_SECONDS) --seed $(SEED) --record soak.jsonl --plot soak.png

interleavings: setup ## planted bugs of the handoff, and after how many orders of events each is found
	@$(BIN)/python -m tests.interleaving

bench: setup ## measure all that backs a claim: twenty minutes (QUICK=--quick for two; JSON=FILE keeps it)
	@$(BIN)/python -m benchmarks $(QUICK) $(if $(JSON),--json $(JSON))

report: setup ## make docs/benchmarks.md and the README's figures from the last full run
	@$(BIN)/python -m benchmarks.report

docs: setup ## build the documentation, and run every notebook in it
	@$(BIN)/python -m sphinx -q -b html -W --keep-going -n -D nb_execution_mode=force docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

NOTEBOOKS := $(patsubst docs/tutorial/%.md,docs/_build/notebooks/%.ipynb,$(wildcard docs/tutorial/[0-9]*.md))

notebooks: setup $(NOTEBOOKS) ## open the tutorial's notebooks in JupyterLab
	@cp docs/tutorial/pictures.py docs/_build/notebooks/
	@$(BIN)/jupyter lab --notebook-dir=docs/_build/notebooks

docs/_build/notebooks/%.ipynb: docs/tutorial/%.md
	@mkdir -p $(@D)
	@$(BIN)/mystnb-to-jupyter --overwrite $< $@

wheel: setup ## build wheel and sdist, and test the wheel apart from the source tree
	@$(BIN)/python .ci/wheel.py

lock: ## renew requirements.lock (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate \
		--group dev --output-file requirements.lock --upgrade pyproject.toml

clean: ## remove what the other commands made
	rm -rf $(VENV) .venvs dist soak.* docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
