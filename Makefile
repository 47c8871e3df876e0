# Two commands do everything: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test fuzz bench-test lint docs docs-serve docs-test sample-reports smoke dist lint-release

help: ## List the commands.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

install: $(INSTALL) ## Make the virtual environment with memo and its pinned dependencies.

$(INSTALL): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(INSTALL) ## Measure memorization of two models on MNIST digits; ends in a comparison.
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro
	@$(BIN)/memo compare
	@echo "Reports: $$(ls -d $(CURDIR)/reports/*/index.html | tr '\n' ' ')"

lint: $(INSTALL) ## Check style, types and which room imports which.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint ## Check style, types and imports, and run the tests and the examples in docstrings.
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

fuzz: $(INSTALL) ## Try thousands of specs and files that are drawn anew; before each release.
	PATH="$(CURDIR)/$(BIN):$$PATH" MEMO_FUZZ=20 $(BIN)/pytest -n 2 -m 'not timing' \
	  tests/test_fuzz.py tests/test_table.py tests/test_likelihood_tables.py \
	  tests/field/test_round_trips.py tests/field/test_terminal.py tests/field/test_remote.py

docs: $(INSTALL) ## Build the documentation into site/; a broken link ends the build.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The documentation: $(CURDIR)/site/index.html"

docs-serve: $(INSTALL) ## Serve the documentation on this machine, and build it anew when a page changes.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

docs-test: $(INSTALL) ## Try every command, spec, tutorial and notebook of the documentation, and build it.
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest -n 2 -m '' tests/test_docs.py
	$(MAKE) docs

smoke: $(INSTALL) ## Build the wheel, and walk through a first project on each other Python of this machine.
	.ci/smoke $(BIN)/python

dist: $(INSTALL) ## Build the wheel and the source of a release into dist/.
	rm -rf dist
	$(BIN)/python -c 'from setuptools import build_meta as b; b.build_sdist("dist"); b.build_wheel("dist")'

lint-release: $(INSTALL) ## Lint workflows, Dockerfile, YAML, citation and recipe; before each release.
	.ci/lint-release $(BIN)/python

sample-reports: $(INSTALL) ## Make the sample reports of the documentation anew, that of the demo among them.
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python docs/samples/make.py

bench-test: $(INSTALL) ## Run the tests that time something, one by one; best on a quiet machine.
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest -m timing
