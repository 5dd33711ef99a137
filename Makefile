# The commands of the house. `make help` lists them.
PYTHON ?= $(firstword $(foreach each,python3.11 python3.12 python3.13 python3,$(shell sh -c 'command -v $(each)')))
VENV   ?= .venv
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install run test check lint format lock words bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(STAMP) ## Make the virtual environment and install everything, hashes checked

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Entrepot needs Python 3.11 or newer; name one with: make PYTHON=python3.12 …")'
	@echo "Installing into $(VENV): a minute or two, once"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: $(STAMP) ## Start the broker and every role; Ctrl-C stops them all
	@$(BIN)/entrepot up --with-example

test: lint ## Lint, types, architecture, then every test, on the real broker
	$(BIN)/pytest tests --cov --cov-report=term:skip-covered

check: lint ## The fast part of it: no broker, under two minutes; every branch of schemas and projections covered
	$(BIN)/pytest tests/unit tests/laws --cov --cov-report=term:skip-covered

lint: $(STAMP) ## Lint, types and architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(STAMP) ## Format the code and apply the safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Measure, each figure beside a reference of the same run
	$(BIN)/python -m bench

# Extras stay in the pins: older pips (23.x) look for the newest release of a bare name that is asked for with an extra.
lock: $(STAMP) ## Pin and hash the dependencies again (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --no-strip-extras pyproject.toml -o requirements/runtime.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --no-strip-extras --extra dev pyproject.toml -o requirements/dev.txt

words: $(STAMP) ## Write what is made from the code: Avro versions, ids, golden samples, pictures
	$(BIN)/python tests/regenerate.py

clean: ## Remove the virtual environment and caches (never data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
