# Two commands do everything: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PYTEST_FLAGS ?= -n auto --dist worksteal

ENGINES := flwr nvflare

.PHONY: demo test lint wheel beside dresses readme bench-peers clean

demo: $(READY)  ## the dress benchmark on the embedded data; leaves demo/report.html
	$(BIN)/privfed benchmark --split overlapping,disjoint,deduplicated --seeds 1 --rounds 200 \
		--out demo

test: lint wheel beside  ## everything that must hold
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
	build/empty/bin/python -I .ci/installed_wheel.py base
	build/empty/bin/pip install --quiet --constraint constraints.txt \
		"$$(echo build/wheel/*.whl)[aggregate]"
	build/empty/bin/python -I .ci/installed_wheel.py aggregate

beside: wheel  ## the wheel installs beside the engines that people run it on
	for engine in $(ENGINES); do \
		rm -rf build/beside && $(PYTHON) -m venv build/beside && \
		build/beside/bin/pip install --quiet --constraint constraints.txt \
			--constraint .ci/engines.txt "$$(echo build/wheel/*.whl)[aggregate]" $$engine && \
		build/beside/bin/pip check && \
		build/beside/bin/python -c "import $$engine, privfed.secagg, psi" && \
		build/beside/bin/privfed --help >/dev/null && build/beside/bin/psi --help >/dev/null \
		|| exit 1; \
	done

dresses: $(READY)  ## five seeds on UCI's file: make dresses DATA="Attribute DataSet.csv"
	$(BIN)/privfed benchmark --data "$(DATA)" --split overlapping,disjoint,deduplicated --out dresses
	$(BIN)/python -m benchmarks.readme dresses dresses

readme: $(READY)  ## remakes the README's demo table from demo/results.json
	$(BIN)/python -m benchmarks.readme demo demo

bench-peers: build/peers/openmined-psi/ready build/peers/spu/ready  ## for benchmarks.psi

build/peers/openmined-psi/ready: REQUIREMENT := openmined-psi==2.0.6
build/peers/spu/ready: REQUIREMENT := spu==0.9.5
build/peers/%/ready:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet $(REQUIREMENT)
	touch $@

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build demo dresses
