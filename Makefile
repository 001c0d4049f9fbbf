# Everything a developer needs, and the demo. Sets up .venv by itself: only Python 3.11+ is needed.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   := $(VENV)/.demo

# Tests start kisi a hundred times: it is compiled once, also where this is set (in containers).
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-fast test-windows golden lint format mutants lock dist benchmark soak clean

help:  ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

demo: $(DEMO)  ## the main job on simulated systems
	@$(BIN)/kisi demo

# All of them must cover 95 % (pyproject.toml; measured as tests/conftest.py says); some, chosen with
# ARGS, need not.
test: $(READY)  ## all tests, with branch coverage and its floor; ARGS="-k name" runs some
	$(BIN)/python -m pytest -n auto --dist worksteal $(if $(ARGS),$(ARGS),--cov --cov-report=term)

test-fast: $(READY)  ## the tests that need no second process and no waiting: under a minute
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m 'not slow' $(ARGS)

# KISI_WINPY names the Windows Python; CONTRIBUTING.md says what it needs.
test-windows:  ## unit, contract and the main e2e tests on a Windows Python (Wine); ARGS="faults" runs others
	$(PYTHON) .ci/windows_tests.py $(ARGS)

golden: $(READY)  ## writes the golden screens and lists of tests/unit anew; then review the diff
	KISI_GOLDEN=write $(BIN)/python -m pytest -q tests/unit/render/test_golden.py tests/unit/render/test_formats.py tests/unit/mapping/test_golden_lists.py

lint: $(READY)  ## style, types, the one arrow direction, what README says of --help, known holes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32
	$(BIN)/lint-imports
	$(BIN)/python .ci/check_readme.py
	$(BIN)/python .ci/audit.py

format: $(READY)  ## let ruff do it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

mutants: $(READY)  ## would a unit test notice a wrong line of the core? MODULE='kisi.planning.ids.*' asks for one
	$(BIN)/mutmut run $(if $(MODULE),'$(MODULE)')
	$(BIN)/mutmut results | sed '/not checked/d'

LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock' $(ARGS) pyproject.toml requirements/build.in
lock: $(READY)  ## the lock files, after a change of dependencies; ARGS=--upgrade: the newest versions
	$(LOCK) --output-file requirements/install.txt
	$(LOCK) --extra keyring --constraints requirements/install.txt --output-file requirements/keyring.txt
	$(LOCK) --extra notify --constraints requirements/install.txt --output-file requirements/notify.txt
	$(LOCK) --extra dev --constraints requirements/keyring.txt --output-file requirements/dev.txt

dist: $(READY)  ## the sdist and the wheel of a release
	rm -rf dist
	$(BIN)/python -m build --no-isolation

benchmark: $(READY)  ## speed, as ratios within one run
	$(BIN)/python -m benchmarks

soak: $(READY)  ## the random fault test, for ten minutes
	KISI_SOAK=600 $(BIN)/python -m pytest tests/faults -k stateful $(ARGS)

# The demo takes what an installation takes; who develops has that already.
$(DEMO): requirements/install.txt
$(READY): requirements/dev.txt
$(DEMO) $(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("kisi needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(filter requirements/%,$^)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@ $(if $(filter $(READY),$@),$(DEMO))

clean:  ## remove whatever was made
	rm -rf $(VENV) build dist mutants *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.*
