# make demo   the whole story on a few volumes      make test   all checks and tests
# make help   the rest

PYTHON ?= python3
# Another torch build: TORCH is what pip installs, TORCH_INDEX are more arguments for pip, for example
#   make venv TORCH_INDEX="--index-url URL"
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
# For the demo on real volumes: the folder of Task04_Hippocampus of the Medical Segmentation Decathlon
DATA ?=
# More arguments for `make bench`, for example BENCH="--runtime onnxruntime --threads 2"
BENCH ?=
VENV ?= .venv
STAMP := $(VENV)/.installed

.PHONY: help venv demo test lint bench release clean

help:
	@echo "make demo             teacher, plain and distilled student on synthetic ABUS volumes, with a report"
	@echo "make demo DATA=DIR    the same on real hippocampus volumes"
	@echo "make test             linters, types and all tests"
	@echo "make lint             linters and types alone"
	@echo "make bench            seconds and memory on whole ABUS volumes, in runs/bench: long, on an idle machine"
	@echo "make release          all bundles with weights, checked and packed into runs/release"
	@echo "make venv             $(VENV) with everything installed, which the others do by themselves"
	@echo "make clean            remove $(VENV), caches and runs/demo"

venv: $(STAMP)

# torch first and by itself, so that its build can be chosen; the other versions are pinned
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.version_info >= (3, 10) or sys.exit('Python 3.10 or newer is needed: PYTHON=...')"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install $(TORCH_INDEX) "$(TORCH)"
	grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt
	$(VENV)/bin/python -m pip install -c $(VENV)/constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP)
	@PATH="$(abspath $(VENV))/bin:$$PATH" $(if $(DATA),demo/hippocampus.sh $(DATA),demo/abus.sh)

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# one thread: small volumes gain nothing from more, and threads that fight over cores cost much
test: lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -m "not slow"
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -m slow

bench: $(STAMP)
	$(VENV)/bin/python -m tests.benchmarks.whole_volume --output runs/bench $(BENCH)

release: $(STAMP)
	$(VENV)/bin/dckd pack $(patsubst %/models/model.pt,%,$(wildcard bundles/*/models/model.pt)) --out runs/release

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info runs/demo
