# Development commands. `make help` lists them.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell sh -c 'command -v $(name)')))
VENV   ?= .venv
BIN     = $(VENV)/bin
RUNTIME = $(VENV)/.installed-runtime
DEV     = $(VENV)/.installed-dev
PIP     = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install run test check lint format lock generate bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(RUNTIME) ## Create the virtual environment with the pinned runtime dependencies

# The build backend is pinned in dev.txt; nothing else of that file is installed here.
$(RUNTIME): requirements/runtime.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Entrepot requires Python 3.11 or newer; set one with: make PYTHON=python3.12 …")'
	@echo "Installing into $(VENV); this takes about a minute, once"
	@$(PYTHON) -m venv $(VENV)
	@sed -n '/^setuptools==/,/[^\\]$$/p' requirements/dev.txt > $(VENV)/build.txt
	@$(PIP) --require-hashes -r requirements/runtime.txt -r $(VENV)/build.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements/dev.txt $(RUNTIME)
	@echo "Installing development dependencies into $(VENV); this takes about a minute, once"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

run: $(RUNTIME) ## Start the broker and all roles; Ctrl-C stops them
	@$(BIN)/entrepot up --with-example

PYTEST  = $(BIN)/pytest --numprocesses auto
# These cover `schemas` and `projections` completely. No other test is measured: it would take twice as long.
COVERED = tests/laws tests/unit/schemas tests/unit/projections

# Integration tests wait for a third of their time, in which unit tests run.
test: lint ## Run `check` with coverage, then the integration tests on a real broker
	$(PYTEST) --maxprocesses 8 $(COVERED) --cov --cov-report=term:skip-covered
	$(PYTEST) --maxprocesses 4 tests/integration tests/unit $(COVERED:%=--ignore=%) --dist loadfile --no-loadscope-reorder

check: lint ## Run lint, types, architecture, unit and property tests; no servers, few examples
	LAWS=quick $(PYTEST) --maxprocesses 8 tests/laws tests/unit -m "not slow"

lint: $(DEV) ## Check lint, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(DEV) ## Format the code and apply safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV) ## Run the benchmarks, each beside a reference of the same run
	$(BIN)/python -m bench

# Keep extras in the pins: pip 23.x resolves a bare name with an extra to its newest release.
# dev.txt is compiled first and constrains runtime.txt, so that production runs the tested versions.
LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --no-strip-extras pyproject.toml
lock: $(DEV) ## Update the pinned and hashed dependencies (needs uv)
	$(LOCK) --extra dev -o requirements/dev.txt
	$(LOCK) --constraint requirements/dev.txt -o requirements/runtime.txt

generate: $(DEV) ## Regenerate Avro schemas, ids, golden samples, diagrams and tables
	$(BIN)/python tests/regenerate.py

clean: ## Remove the virtual environment and caches (never data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
