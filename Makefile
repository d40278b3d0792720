# The commands of this project; `make help` lists them. Nothing here needs Node but `make lint` and the browser's unit tests.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON := .venv/bin/python
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check
JOBS ?= 3
CHECKS := mypy ruff imports orm tsc js

.PHONY: help run test lint soak bench cluster lock clean $(addprefix lint-,$(CHECKS))

help: ## List the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: .venv/.installed ## Start Rillbook; prints one URL that signs you in (HOST=, PORT= to choose)
	@exec $(PYTHON) manage.py serve $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))

# Each file's tests stay together, in the order of tests/conftest.py; a few that fail are run once more, alone, and told.
PYTEST := $(PYTHON) scripts/run_tests.py -n $(JOBS) --dist loadfile --no-loadscope-reorder

test: .venv/.installed-dev ## Run the tests: on SQLite, then those of the database on PostgreSQL
	$(PYTEST) -m "not browser and not soak"
	$(PYTEST) -n 2 -m "browser and not soak"
	$(PYTHON) scripts/with_postgres.py $(PYTEST) -m "database and not soak"

# Side by side: none of them waits for another.
lint: .venv/.installed-dev .node/.installed ## Check style, types and imports, Python and JavaScript
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target $(addprefix lint-,$(CHECKS))

lint-mypy: ; .venv/bin/mypy
lint-ruff: ; .venv/bin/ruff check
lint-imports: ; .venv/bin/lint-imports
lint-orm: ; $(PYTHON) scripts/lint_orm.py
lint-tsc: ; .node/node_modules/.bin/tsc --project tsconfig.json
lint-js: ; node --test tests/js/*.test.mjs

soak: .venv/.installed-dev ## Run the long tests
	$(PYTHON) -m pytest -m soak -n 0
	HYPOTHESIS_PROFILE=new $(PYTHON) -m pytest -n 0 $$(git grep -l "from hypothesis" -- tests)

bench: .venv/.installed-dev ## Measure, side by side with plain ipykernel
	$(PYTHON) -m benchmarks.run

cluster: .venv/.installed-dev ## Try a cluster on this machine: Ray, Redis, PostgreSQL, two web processes, nginx (LOCAL=1, PORT=)
	@exec $(PYTHON) -m scripts.try_cluster $(if $(LOCAL),--local) $(if $(PORT),--port $(PORT))

lock: .venv/.installed-dev ## Pin the newest versions that requirements*.in allow
	$(PYTHON) scripts/lock.py

clean: ## Remove what make made (never your data in .data)
	rm -rf .venv .node .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Anew as a whole: an environment of a Python that is gone holds packages for that one.
.venv/bin/python:
	@echo "Making the environment …"
	@python=$$(scripts/find_python.sh) && rm -rf .venv && "$$python" -m venv .venv

.venv/.installed: requirements.txt | .venv/bin/python
	@echo "Installing what Rillbook needs (a minute, the first time) …"
	@$(PIP) -r requirements.txt
	@touch $@

.venv/.installed-dev: requirements-dev.txt requirements-ray.txt requirements.txt | .venv/bin/python
	@echo "Installing what the tests need …"
	@$(PIP) -r requirements-dev.txt
	@touch $@ .venv/.installed

# npm keeps its cache here too, so that a user without a home folder can check.
.node/.installed: scripts/typecheck/package-lock.json
	@echo "Installing the JavaScript type checker …"
	@mkdir -p .node && cp scripts/typecheck/package*.json .node/
	@cd .node && npm ci --cache .cache --ignore-scripts --loglevel=error --no-audit --no-fund --no-update-notifier
	@touch $@
