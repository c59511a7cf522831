# make demo | test | check | bench | train: each sets up what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test check train bench clean

demo: .venv/ready
	$(BIN)/driv3r world make --root data/nuscenes --replace
	$(BIN)/driv3r process --dataset nuscenes --split val --out out/demo

test: .venv/ready
	$(BIN)/python -m pytest

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
	rm -rf .venv out
