# Two commands do everything: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PYTEST_FLAGS ?= -n auto

.PHONY: demo test lint wheel readme clean

demo: $(READY)  ## the dress benchmark on the embedded data; leaves demo/report.html
	$(BIN)/privfed benchmark --split overlapping,disjoint,deduplicated --seeds 1 --rounds 200 \
		--out demo

test: lint wheel  ## everything that must hold
	$(BIN)/pytest $(PYTEST_FLAGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

wheel: $(READY)  ## the built wheel works in an environment that has nothing else
	rm -rf build/wheel build/empty
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(PYTHON) -m venv build/empty
	build/empty/bin/pip install --quiet --constraint constraints.txt build/wheel/*.whl
	build/empty/bin/python -I .ci/installed_wheel.py

readme: $(READY)  ## remakes the README's picture and table from demo/results.json
	$(BIN)/python -m benchmarks.readme demo

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build demo
