# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# torch first and by itself: a range would pull gigabytes of CUDA packages.
TORCH ?= $(shell grep '^torch==' constraints.txt)
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet

.PHONY: demo test lint clean

demo: $(VENV)/.demo
	$(BIN)/python -m spacy bel demo

test: $(VENV)/.test
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

clean:
	rm -rf $(VENV) build dist *.egg-info demo.html demo.jsonl

$(VENV)/.torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH)
	touch $@

$(VENV)/.demo: $(VENV)/.torch setup.cfg
	$(PIP) --constraint constraints.txt --editable '.[hpo]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) --constraint constraints.txt --editable '.[hpo,dev]'
	touch $@
