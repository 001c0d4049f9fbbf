# Everything a developer needs, and the demo. Sets up .venv by itself: only Python 3.11+ is needed.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test golden lint format benchmark soak clean

demo: $(READY)  ## the main job on simulated systems
	@$(BIN)/kisi demo

test: $(READY)  ## all tests, with branch coverage
	$(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term $(ARGS)

golden: $(READY)  ## writes the screens in tests/unit/render/golden anew; then review the diff
	KISI_GOLDEN=write $(BIN)/python -m pytest -q tests/unit/render/test_golden.py

lint: $(READY)  ## style, types, the one arrow direction, what README says of --help, known holes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/check_readme.py
	$(BIN)/python .ci/audit.py

format: $(READY)  ## let ruff do it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(READY)  ## speed, as ratios within one run
	$(BIN)/python -m benchmarks

soak: $(READY)  ## the random fault test, for ten minutes
	KISI_SOAK=600 $(BIN)/python -m pytest tests/faults -k stateful $(ARGS)

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("kisi needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.*
