# make demo [DATASET=argoverse2] | test | check | docs | bench | train: each sets up what it needs in .venv (docs: .venv-docs).
PYTHON ?= python3
BIN := .venv/bin
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test core-test floor-test python-test check docs train bench clean

# The generated world, in the layout of any dataset of `driv3r world make --layout`.
DATASET := nuscenes
DEMO = out/demo$(if $(filter-out nuscenes,$(DATASET)),-$(DATASET))
DEMO_SPLIT = $(if $(filter nuscenes,$(DATASET)),val,all)
demo: .venv/ready
	$(BIN)/driv3r world make --layout $(DATASET) --root data/$(DATASET) --replace
	$(BIN)/driv3r process --dataset $(DATASET) --root data/$(DATASET) --split $(DEMO_SPLIT) --out $(DEMO)

test: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

# What opens logs and scores, in an environment of its own: numpy 2, and neither torch nor OpenCV.
CORE_TESTS := tests/store tests/evaluation/test_scoring_projection.py tests/geometry/test_alignment.py
core-test: .venv-core/ready
	.venv-core/bin/python -c "import numpy, sys; assert numpy.__version__ >= '2'"
	.venv-core/bin/python -m pytest -q $(CORE_TESTS)

.venv-core/ready: pyproject.toml
	$(PYTHON) -m venv .venv-core
	.venv-core/bin/pip install --quiet --editable '.[core-test]'
	touch $@

# The oldest versions that pyproject.toml allows. About 3 GB of downloads (a CUDA build of torch).
FLOOR_TESTS := tests/models tests/parity tests/tracking tests/alignment tests/fusion tests/geometry tests/store \
	tests/evaluation tests/test_settings.py tests/pipelines/test_front_door.py
floor-test: .venv-floor/ready
	.venv-floor/bin/python -c "import torch, sys; assert torch.__version__.startswith('2.4.'), torch.__version__"
	OMP_NUM_THREADS=1 .venv-floor/bin/python -m pytest -q $(FLOOR_TESTS)

.venv-floor/ready: pyproject.toml constraints-floor.txt
	$(PYTHON) -m venv .venv-floor
	.venv-floor/bin/pip install --quiet --constraint constraints-floor.txt --editable '.[sim,core-test]' pyquaternion
	touch $@

# The core under Python 3.13, in a Debian trixie of its own; needs root and debootstrap.
python-test:
	tools/test_trixie.sh .venv-trixie $(CORE_TESTS)

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# The documentation site, site/index.html; a broken link or name fails it.
docs: .venv-docs/ready
	.venv-docs/bin/zensical build --clean --strict

.venv-docs/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

train: .venv/ready
	$(BIN)/driv3r train driv3r-s

bench: demo
	$(BIN)/python benchmarks/store.py $(firstword $(wildcard out/demo/*.zarr))

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-core .venv-docs .venv-floor .venv-trixie .cache site out
