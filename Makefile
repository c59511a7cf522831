# make demo | test | check | bench | train: each sets up what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test core-test check train bench clean

demo: .venv/ready
	$(BIN)/driv3r world make --root data/nuscenes --replace
	$(BIN)/driv3r process --dataset nuscenes --split val --out out/demo

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

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

train: .venv/ready
	$(BIN)/driv3r train driv3r-s

bench: demo
	$(BIN)/python benchmarks/store.py $(firstword $(wildcard out/demo/*.zarr))

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-core out
