# Every target does all there is to do, from a fresh clone on; a second run starts at once.
PYTHON ?= python3
VENV ?= .venv
SERVERS ?= .servers
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
export HF_HUB_OFFLINE ?= 1
export NO_MKDOCS_2_WARNING = 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-low test-servers lint format tables docs site dist clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo  ## a RAG benchmark over Chroma with a real embedding model on real text
	$(BIN)/qwen-embed bench --data stdlib-code --dimensions 384,128 --output demo

test: lint  ## everything that must hold before a change lands
	$(BIN)/python -m pytest -n 2
	$(MAKE) dist

test-low:  ## the tests with the oldest dependencies
	$(MAKE) VENV=.venv-low CONSTRAINTS=constraints-low.txt .venv-low/.dev
	.venv-low/bin/python -m pytest -n 2

test-servers: $(VENV)/.dev $(SERVERS)/sglang/.installed $(SERVERS)/vllm/.installed  ## real SGLang and vLLM, on the CPU
	QWEN_EMBED_TEST_SGLANG_PYTHON=$(SERVERS)/sglang/bin/python QWEN_EMBED_TEST_VLLM_PYTHON=$(SERVERS)/vllm/bin/python \
		$(BIN)/python -m pytest tests/servers -p no:xdist -p no:randomly --timeout 300

lint: $(VENV)/.dev  ## style, types, import rules, and the documentation without a broken link
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --quiet --strict

format: $(VENV)/.dev  ## the code, laid out as lint wants it
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

tables: $(VENV)/.dev  ## the tables of models in README.md and docs/models.md, after a change of a profile
	$(BIN)/python docs/tables.py

docs: $(VENV)/.dev  ## the documentation, at http://127.0.0.1:8000
	$(BIN)/mkdocs serve

site: $(VENV)/.dev  ## the documentation as files, in site/
	$(BIN)/mkdocs build --quiet --strict

dist: $(VENV)/.dev  ## the package, built and checked, in dist/
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/twine check --strict dist/*

clean:  ## remove all that the other targets make
	rm -rf .venv .venv-low .servers dist site demo bench-results

$(VENV)/.pip:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

# What tests need holds all that the demo needs.
$(VENV)/.demo: $(VENV)/.pip pyproject.toml $(CONSTRAINTS)
	if test -e $(VENV)/.dev; then $(MAKE) $(VENV)/.dev; \
	else echo 'Installing; torch is the big one ...'; $(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[demo]'; fi
	touch $@

$(VENV)/.dev: $(VENV)/.pip pyproject.toml $(CONSTRAINTS)
	@echo 'Installing; torch is the big one ...'
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[all]' --group dev
	touch $@

$(SERVERS)/%/.installed: tests/servers/install.py $(wildcard tests/servers/stubs/*/*.py) | $(VENV)/.pip
	@echo 'Installing a server, $*; some minutes ...'
	$(BIN)/python tests/servers/install.py $* $(@D)
	touch $@
