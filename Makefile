# `make demo`, `make test` and `make test-servers` do everything, from a fresh clone on; a second run starts at once.
VENV ?= .venv
SERVERS ?= .servers
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
export HF_HUB_OFFLINE ?= 1
export NO_MKDOCS_2_WARNING = 1

.PHONY: demo test test-servers test-low lint docs clean

demo: $(VENV)/.demo  ## a RAG benchmark over Chroma with a real embedding model on real text
	$(BIN)/qwen-embed bench --data stdlib-code --dimensions 384,128 --output demo

test: lint  ## everything that must hold before a change lands
	$(BIN)/python -m pytest -n 2
	rm -rf dist && $(BIN)/python -m build --quiet && $(BIN)/twine check --strict dist/*

test-servers: $(VENV)/.dev $(SERVERS)/sglang/.installed $(SERVERS)/vllm/.installed  ## real SGLang and vLLM, on the CPU
	QWEN_EMBED_TEST_SGLANG_PYTHON=$(SERVERS)/sglang/bin/python QWEN_EMBED_TEST_VLLM_PYTHON=$(SERVERS)/vllm/bin/python \
		$(BIN)/python -m pytest tests/servers -p no:xdist -p no:randomly --timeout 300

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --quiet --strict

docs: $(VENV)/.dev  ## the documentation, at http://127.0.0.1:8000
	$(BIN)/mkdocs serve

test-low:  ## the unit tests with the oldest dependencies
	$(MAKE) VENV=.venv-low CONSTRAINTS=constraints-low.txt .venv-low/.dev
	.venv-low/bin/python -m pytest -n 2

clean:
	rm -rf .venv .venv-low .servers dist site demo bench-results

$(VENV)/.pip:
	python3 -m venv $(VENV)
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
