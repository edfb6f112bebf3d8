# Two commands do all the set-up: `make serve` and `make test`. Both start from nothing but Python 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8080
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps
# vLLM is another process and has its own environment, which the service finds by its name beside its own.
VLLM := $(VENV)-vllm
VLLM_BUILD ?= $(if $(shell command -v nvidia-smi),gpu,cpu)

.PHONY: help serve test lint types tests engines test-engines bench lock clean

help:  ## Show these targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(VENV)/.installed  ## Set up and serve on 127.0.0.1:8080 (HOST=, PORT= to change it).
	$(BIN)/rsagent serve --host $(HOST) --port $(PORT)

test: lint types tests  ## Set up and run the linter, the type checker and every test that needs no GPU.

lint: $(VENV)/.developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.developed
	$(BIN)/mypy

tests: $(VENV)/.developed
	$(BIN)/pytest -m "not gpu"

engines: $(VLLM)/.installed $(VENV)/.with-engines  ## Set up vLLM and Ray Serve for `rsagent serve --profile engines` (VLLM_BUILD=cpu or gpu).

test-engines: engines $(VENV)/.developed  ## Set up both and run the tests that need them: whole requests through real engines.
	$(BIN)/pytest -m engines $(TESTS)

bench: $(VENV)/.developed  ## Measure the service against today's loops and its engines' own limit (BENCH=--short), into build/bench.
	$(BIN)/python -m loadtests bench --profile $(if $(wildcard $(VLLM)/.installed),all,embedded) --out build/bench $(BENCH)

lock: $(VENV)/.developed  ## Write the locks anew from pyproject.toml.
	$(BIN)/python deploy/lock.py

clean:  ## Remove the environment.
	rm -rf $(VENV) $(VLLM)

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/pip
	@echo "installing the locked packages into $(VENV) (a few minutes the first time)"
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) -e .
	@touch $@

$(VENV)/.developed: requirements-dev.lock $(VENV)/.installed
	$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.with-engines: requirements-engines.lock $(VENV)/.installed
	$(INSTALL) --require-hashes -r requirements-engines.lock
	@touch $@

$(VLLM)/bin/pip:
	$(PYTHON) -m venv $(VLLM)

$(VLLM)/.installed: deploy/vllm/$(VLLM_BUILD).lock | $(VLLM)/bin/pip
	@echo "installing vLLM for a $(VLLM_BUILD) into $(VLLM) (about 2.5 GB for a cpu, 10 GB for a gpu)"
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@
