# `make demo` and `make test` do everything, `make check` what a commit needs. Each sets up .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# A test that hangs is named after ten minutes; no other lasts two.
PYTEST_FLAGS ?= -n auto --dist worksteal --timeout 600

ENGINES := flower nvflare
PEERS := openmined-psi spu phe heu xgboost flower

.PHONY: demo test check hooks lint format types imports declared changed coverage deep busy \
	pythons wheel beside dresses readme walkthrough bench-peers clean

demo: $(READY)  ## the dress benchmark on the embedded data; leaves demo/report.html
	$(BIN)/privfed benchmark --split overlapping,disjoint,deduplicated --seeds 1 --rounds 200 \
		--out demo

test: lint wheel beside coverage  ## everything that must hold

check: $(READY)  ## before each commit, in under a minute
	$(MAKE) --no-print-directory -j2 --output-sync lint
	$(MAKE) --no-print-directory changed

hooks: $(READY)  ## git runs `make check` at each commit
	$(BIN)/pre-commit install

lint: format types imports declared

format: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

declared: $(READY)  ## what is imported is declared, and the reverse
	$(BIN)/deptry .

changed: $(READY)  ## tests of the rooms that differ from main
	$(BIN)/pytest $(PYTEST_FLAGS) -m "not slow and not deep" $$($(BIN)/python .ci/changed.py)

coverage: $(READY)  ## all tests, and 95 % of branches: [tool.coverage.report] in pyproject.toml
	rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/coverage run -m pytest $(PYTEST_FLAGS) --durations 60 --durations-min 4
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

deep: $(READY)  ## the large counts as stated, in parts; goes on where it was interrupted
	$(BIN)/python .ci/deep.py

busy: $(READY)  ## tests of network and threads beside eight busy processes
	.ci/busy.sh

pythons:  ## the base install and its tests on other Pythons
	.ci/other_pythons.sh

wheel: $(READY)  ## the built wheel works in an environment that has nothing else
	rm -rf build/wheel build/empty
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(PYTHON) -m venv build/empty
	build/empty/bin/pip install --quiet --constraint constraints.txt build/wheel/*.whl
	build/empty/bin/python -I .ci/installed_wheel.py base
	build/empty/bin/pip install --quiet --constraint constraints.txt \
		"$$(echo build/wheel/*.whl)[aggregate]"
	build/empty/bin/python -I .ci/installed_wheel.py aggregate

beside: wheel  ## the wheel installs beside each engine that people run it on
	for engine in $(ENGINES); do \
		rm -rf build/beside && $(PYTHON) -m venv build/beside && \
		build/beside/bin/pip install --quiet --constraint constraints.txt \
			"$$(echo build/wheel/*.whl)[$$engine]" && \
		build/beside/bin/pip check && \
		build/beside/bin/python -c "import privfed.integrations.$$engine, psi" && \
		build/beside/bin/privfed --help >/dev/null && build/beside/bin/psi --help >/dev/null \
		|| exit 1; \
	done

dresses: $(READY)  ## five seeds on UCI's file: make dresses DATA="Attribute DataSet.csv"
	$(BIN)/privfed benchmark --data "$(DATA)" --split overlapping,disjoint,deduplicated --out dresses
	$(BIN)/python -m benchmarks.readme dresses dresses

readme: $(READY)  ## remakes the README's demo table from demo/results.json
	$(BIN)/python -m benchmarks.readme demo demo

walkthrough: $(READY)  ## remakes docs/vertical-walkthrough.md's pictures and figures from a new run
	rm -rf build/walkthrough
	$(BIN)/privfed vertical --out build/walkthrough
	$(BIN)/python -m benchmarks.walkthrough build/walkthrough

bench-peers: $(PEERS:%=build/peers/%/ready)  ## for benchmarks.psi, benchmarks.vertical and benchmarks.embedding

build/peers/openmined-psi/ready: REQUIREMENT := openmined-psi==2.0.6
build/peers/spu/ready: REQUIREMENT := spu==0.9.5
build/peers/phe/ready: REQUIREMENT := phe==1.5.0 gmpy2==2.3.2
build/peers/heu/ready: REQUIREMENT := sf-heu==0.5.2b0
build/peers/xgboost/ready: REQUIREMENT := xgboost-cpu==3.2.0
# Flower, NVFlare and privfed together; Ray is what Flower simulates with.
build/peers/flower/ready: REQUIREMENT := --constraint constraints.txt \
	--editable '.[flower,nvflare]' 'flwr[simulation]'
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
