# make demo   the whole story on a few volumes      make test   all checks and tests
# make help   the rest

PYTHON ?= python3
# Another torch build: TORCH is what pip installs, TORCH_INDEX are more arguments for pip, for example
#   make venv TORCH_INDEX="--index-url URL"
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
# For the demo on real volumes: the folder of Task04_Hippocampus of the Medical Segmentation Decathlon
DATA ?=
# More arguments for the whole volumes of `make bench`, for example BENCH="--runtime onnxruntime --threads 2"
BENCH ?=
# For `make label`: the folder of volumes (an empty one by default, to upload to), the bundles, the port, and more
# arguments of label/serve.py, for example SERVE="--allow_origin http://localhost:3000"
STUDIES ?=
BUNDLES ?= $(patsubst %/models/model.pt,%,$(wildcard bundles/*_student_segmentation/models/model.pt))
PORT ?= 8000
SERVE ?=
VENV ?= .venv
STAMP := $(VENV)/.installed
VENV_LABEL ?= .venv-label
STAMP_LABEL := $(VENV_LABEL)/.installed

PAGE := dckd_ext/export/page/index.html

.PHONY: help venv demo test test-label test-lowest test-newest lint bench bench-base bench-cuda bundles docs release zoo label web clean

help:
	@echo "make demo             teacher, plain and distilled student on synthetic ABUS volumes, with a report"
	@echo "make demo DATA=DIR    the same on real hippocampus volumes"
	@echo "make web              the page for \`dckd export BUNDLE --web\`; needs Node.js 20 or newer with npm"
	@echo "make label            the students in MONAI Label on http://127.0.0.1:8000, in an environment of its own"
	@echo "                      STUDIES=DIR: your volumes; PORT=8000; BUNDLES=...: others than bundles/*_student_*;"
	@echo "                      SERVE=...: more arguments of label/serve.py"
	@echo "make test             linters, types, documentation site and all tests"
	@echo "make docs             the documentation site, in runs/site; a warning is an error"
	@echo "make test-label       the tests against a real MONAI Label server alone"
	@echo "make test-lowest      the fast tests with the lowest promised versions of all dependencies, in .venv-lowest"
	@echo "make test-newest      the same with the newest ones, in .venv-newest; PYTHON=python3.13 for another Python"
	@echo "make lint             linters and types alone"
	@echo "make bench            losses, training steps, runtimes and whole ABUS volumes, in runs/bench: long, on an idle"
	@echo "                      machine; DATA=DIR adds Dice and int8"
	@echo "make bench-base       of these only: this build beside an older one and MONAI's sliding window, as ratios"
	@echo "make bench-cuda       on a GPU: trainings, steps, whole ABUS volumes, CUDA graphs, TensorRT, in runs/bench"
	@echo "make bundles          the bundles' configs, written anew from bundles/sources"
	@echo "make zoo              bundles with weights as MONAI's model zoo takes them, in runs/zoo"
	@echo "make release          all bundles with weights, checked and packed into runs/release"
	@echo "make venv             $(VENV) with everything installed, which the others do by themselves"
	@echo "make clean            remove $(VENV), caches and runs/demo"

venv: $(STAMP)

# torch first and by itself, so that its build can be chosen; the other versions are pinned
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.version_info >= (3, 11) or sys.exit('Python 3.11 or newer is needed: PYTHON=...')"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install $(TORCH_INDEX) "$(TORCH)"
	grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt
	$(VENV)/bin/python -m pip install -c $(VENV)/constraints.txt -e '.[dev]'
	touch $@

# with the page at its end where there is Node.js
demo: $(STAMP) $(if $(shell command -v npm),web)
	@PATH="$(abspath $(VENV))/bin:$$PATH" $(if $(DATA),demo/hippocampus.sh $(DATA),demo/abus.sh)

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# one thread: small volumes gain nothing from more, and threads that fight over cores cost much
test: lint docs web
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -m "not slow"
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -m slow --ignore tests/label
	$(MAKE) test-label

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 PYTHONWARNINGS=ignore $(VENV)/bin/mkdocs build --strict
	@echo "open runs/site/index.html"

test-label: $(STAMP) $(STAMP_LABEL)
	OMP_NUM_THREADS=1 DCKD_LABEL_PYTHON="$(abspath $(VENV_LABEL))/bin/python" \
		$(VENV)/bin/python -m pytest tests/label

# from the npm registry, by the lock file; no package runs a script of its own
web: $(PAGE)

web/node_modules/.installed: web/package.json web/package-lock.json
	cd web && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

$(PAGE): web/node_modules/.installed web/build.mjs web/tsconfig.json $(wildcard web/src/* web/public/* web/licences/*)
	cd web && npm run --silent check && npm run --silent build -- "$(abspath $(dir $@))"

# by hand, since each fetches a torch of its own
test-lowest test-newest: test-%:
	$(PYTHON) -m venv --clear .venv-$*
	$(if $(filter lowest,$*),$(PYTHON) tests/lowest_versions.py) > .venv-$*/constraints.txt
	.venv-$*/bin/python -m pip install $(TORCH_INDEX) -c .venv-$*/constraints.txt -e '.[report,export,dicom,bench,test]'
	OMP_NUM_THREADS=1 .venv-$*/bin/python -m pytest -m "not slow"

bench: $(STAMP)
	$(VENV)/bin/python -m benchmarks.training --output runs/bench
	$(VENV)/bin/python -m pytest benchmarks/bench_losses.py --benchmark-json runs/bench/losses.json
	$(VENV)/bin/python -m benchmarks.runtimes --output runs/bench $(if $(DATA),--data $(DATA))
	$(VENV)/bin/python -m benchmarks.whole_volume --output runs/bench $(BENCH)
	$(MAKE) bench-base

bench-base: $(STAMP)
	$(VENV)/bin/python -m benchmarks.against_base --output runs/bench

bench-cuda: $(STAMP)
	$(VENV)/bin/python -m benchmarks.cuda --output runs/bench

bundles: $(STAMP)
	$(VENV)/bin/python bundles/sources/build.py

# bundles with weights as MONAI's model zoo takes them: inference without this package, a test, large files
zoo: $(STAMP)
	$(VENV)/bin/python -m dckd_ext.distribution.contribution \
		$(patsubst %/models/model.pt,%,$(wildcard bundles/*/models/model.pt)) --out runs/zoo

release: $(STAMP)
	$(VENV)/bin/dckd pack $(patsubst %/models/model.pt,%,$(wildcard bundles/*/models/model.pt)) --out runs/release

# a second environment, since MONAI Label needs older packages than the tree is tested with
$(STAMP_LABEL): label/install.sh label/requirements.txt label/constraints.txt constraints.txt pyproject.toml
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" label/install.sh $(VENV_LABEL) $(TORCH_INDEX)
	touch $@

label: $(STAMP_LABEL)
	$(if $(STUDIES),,mkdir -p runs/label/studies)
	$(VENV_LABEL)/bin/python label/serve.py $(BUNDLES) --studies "$(or $(STUDIES),runs/label/studies)" --port $(PORT) $(SERVE)

clean:
	rm -rf $(VENV) $(VENV_LABEL) web/node_modules $(dir $(PAGE)) .venv-lowest .venv-newest .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info runs/demo
