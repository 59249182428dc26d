# `make demo` and `make test` need nothing but Python 3.10+ and make: the first call sets up .venv, later calls reuse it.
# On Linux the default package index has a CUDA build of torch; to choose another build, say which:
#   make test TORCH="torch==2.13.0 --index-url <the CPU index that pytorch.org names>"

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
PYTEST_FLAGS ?= -n auto
FUZZ_SECONDS ?= 300
ATTACK_SECONDS ?= 1800

BIN := $(VENV)/bin
FX2PY := $(abspath $(BIN))/fx2py
INSTALLED := $(VENV)/.installed

export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test conformance check format-check lint types clean fuzz attack mutants survey-indices bench bench-reading bench-sizes
.PHONY: golden released operators gpu versions versions-of kills

help:
	@echo "make demo    export a small BERT, generate its Python, run it, check it"
	@echo "make test    run the test suite"
	@echo "make conformance    replay all of torch's own test data, transformers models, compiled too, random graphs"
	@echo "make check   formatting, lint, types and the test suite"
	@echo "make golden  write the expected outputs in tests/golden anew"
	@echo "make released   record the files that all folders have alike today as those of this release"
	@echo "make operators   measure what torch's operators do, and write the table of fx2py/operators"
	@echo "make fuzz    damage saved graphs and read them, for FUZZ_SECONDS (300)"
	@echo "make kills   kill processes that write a folder, 50 times at random moments, and look for what they leave"
	@echo "make mutants damage generated code in fifteen ways, and say what diff finds and names, some minutes"
	@echo "make attack  compose graphs that try to get hold of code, for ATTACK_SECONDS (1800)"
	@echo "make survey-indices   every admitted operator with indices that index nothing, half an hour"
	@echo "make bench-sizes   memory and time for models of gigabytes, some minutes; needs 10 GB of disk and of memory"
	@echo "make bench-reading   time to read each saved graph, beside torch's own loader"
	@echo "make bench   measure speed, memory and generation, and write the table of tests/README.md"
	@echo "make gpu     run on a CUDA device what needs one, and print a table; GPU_PYTHON=python3 takes its torch as it is"
	@echo "make versions   run a sample of the suite under each release of torch in VERSIONS, and with the lowest versions of what fx2py needs"
	@echo "make clean   remove .venv and everything that was generated"

# torch comes first and alone: once it is there, nothing that follows asks for another build of it.
$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

demo: $(INSTALLED)
	@mkdir -p demo
	$(BIN)/python examples/export_model.py demo
	cd demo && $(FX2PY) gen tiny_bert.pt2
	cd demo && $(FX2PY) run
	cd demo && $(FX2PY) diff
	@echo
	@echo "The files are in demo/tiny_bert_fx2py:"
	@ls -l demo/tiny_bert_fx2py

test: $(INSTALLED)
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

# Under an hour on one core; CONFORMANCE="aten --limit 50" runs 50 operators of one row.
conformance: $(INSTALLED)
	$(BIN)/python -m tests.conformance $(CONFORMANCE)

bench: $(INSTALLED)
	$(BIN)/python -m tests.bench tests/README.md

check: format-check lint types test

golden: $(INSTALLED)
	$(BIN)/python -m pytest tests/emit/test_golden.py tests/program/passes/test_cases.py --update-golden

released: $(INSTALLED)
	$(BIN)/python -m tests.artifact.released

operators: $(INSTALLED)
	$(BIN)/python -m tests.operators.survey

format-check: $(INSTALLED)
	$(BIN)/black --check --quiet fx2py tests examples

lint: $(INSTALLED)
	$(BIN)/ruff check fx2py tests examples

types: $(INSTALLED)
	$(BIN)/mypy

fuzz: $(INSTALLED)
	$(BIN)/python -W ignore -m tests.fuzz --seconds $(FUZZ_SECONDS)

kills: $(INSTALLED)
	$(BIN)/python -W ignore -m tests.artifact.kills

# MUTANTS="--graph loops --verbose" damages one of the graphs and lists what was missed.
mutants: $(INSTALLED)
	$(BIN)/python -W ignore -m tests.mutants $(MUTANTS)

attack: $(INSTALLED)
	$(BIN)/python -W ignore -m tests.attack --seconds $(ATTACK_SECONDS)

survey-indices: $(INSTALLED)
	$(BIN)/python -W ignore -m tests.security.index_survey

bench-reading: $(INSTALLED)
	$(BIN)/python -W ignore -m tests.bench.reading

# SIZES="llama vit" measures two of the models.
bench-sizes: $(INSTALLED)
	$(BIN)/python -m tests.bench.sizes tests/README.md $(SIZES)

# Nothing is installed: the Python may be any with torch, black, typer and rich, and is that of .venv if there is one.
GPU_PYTHON ?= $(or $(wildcard $(BIN)/python),$(PYTHON))

gpu:
	@PYTHONPATH="$(CURDIR):$$PYTHONPATH" $(GPU_PYTHON) -m tests.gpu $(GPU)

# Each release in an environment of its own, which is made once; on Linux a release from the default index brings CUDA.
VERSIONS ?= 2.10.0 2.11.0 2.12.1 2.13.0 2.14.1 2.15.0
VERSIONS_SAMPLE ?= tests/versions tests/read tests/operators tests/program tests/emit tests/cli tests/artifact
LOWEST := $(shell sed -n '/^dependencies = /{s/.*\[//;s/\].*//;s/[",]//g;s/>=/==/g;p}' pyproject.toml)
LOWEST_SAMPLE ?= tests/cli tests/emit tests/show
versions:
	@for version in $(VERSIONS); do \
	  echo "torch $$version" && \
	  $(MAKE) --no-print-directory versions-of VENV=.venv-$$version TORCH=torch==$$version || exit 1; \
	done
	@echo "$(LOWEST)"
	@$(MAKE) --no-print-directory versions-of VENV=.venv-lowest TORCH="$(LOWEST)" VERSIONS_SAMPLE="$(LOWEST_SAMPLE)"

versions-of: $(INSTALLED)
	$(BIN)/python -m pytest $(PYTEST_FLAGS) $(VERSIONS_SAMPLE)

clean:
	rm -rf $(VENV) $(VERSIONS:%=.venv-%) .venv-lowest demo build .pytest_cache .mypy_cache .ruff_cache .hypothesis
