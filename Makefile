# The commands of the house. `make help` lists them.
PYTHON ?= $(firstword $(foreach each,python3.11 python3.12 python3.13 python3,$(shell sh -c 'command -v $(each)')))
VENV   ?= .venv
BIN     = $(VENV)/bin
RUNTIME = $(VENV)/.installed-runtime
DEV     = $(VENV)/.installed-dev
PIP     = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install run test check lint format lock words bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(RUNTIME) ## Make the virtual environment and install what runs, hashes checked

# What builds the package is pinned in dev.txt; nothing else of that file is wanted here.
$(RUNTIME): requirements/runtime.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Entrepot needs Python 3.11 or newer; name one with: make PYTHON=python3.12 …")'
	@echo "Installing into $(VENV): a minute, once"
	@$(PYTHON) -m venv $(VENV)
	@sed -n '/^setuptools==/,/[^\\]$$/p' requirements/dev.txt > $(VENV)/build.txt
	@$(PIP) --require-hashes -r requirements/runtime.txt -r $(VENV)/build.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements/dev.txt $(RUNTIME)
	@echo "Installing what development needs into $(VENV): a minute, once"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

run: $(RUNTIME) ## Start the broker and every role; Ctrl-C stops them all
	@$(BIN)/entrepot up --with-example

test: check ## Lint, types, architecture, then every test, on the real broker
	$(BIN)/pytest tests/integration

check: lint ## The fast part of it: no broker, about two minutes; every branch of schemas and projections covered
	$(BIN)/pytest tests/unit tests/laws --numprocesses logical --maxprocesses 8 --cov --cov-report=term:skip-covered

lint: $(DEV) ## Lint, types and architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(DEV) ## Format the code and apply the safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV) ## Measure, each figure beside a reference of the same run
	$(BIN)/python -m bench

# Extras stay in the pins: older pips (23.x) look for the newest release of a bare name that is asked for with an extra.
# What runs is pinned as it is tested: dev.txt comes first and binds runtime.txt.
LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --no-strip-extras pyproject.toml
lock: $(DEV) ## Pin and hash the dependencies again (needs uv)
	$(LOCK) --extra dev -o requirements/dev.txt
	$(LOCK) --constraint requirements/dev.txt -o requirements/runtime.txt

words: $(DEV) ## Write what is made from the code: Avro versions, ids, golden samples, pictures
	$(BIN)/python tests/regenerate.py

clean: ## Remove the virtual environment and caches (never data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
