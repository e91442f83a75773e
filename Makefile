# `make demo` and `make test` set up all that they need in .venv; the other targets use the same.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# One thread: numpy's matrices here are small, and sums then do not depend on the machine.
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1

.PHONY: help demo test slow check format bench soak lock tools clean

help:  ## Say what there is.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: $(VENV)/.ready  ## Replay a small synthetic stream of January 2009.
	@$(BIN)/askagain demo

test: $(VENV)/.ready-dev tools  ## Run the tests.
	$(BIN)/python -m pytest -m "not slow"

slow: $(VENV)/.ready-dev  ## Run the statistical calibrations (minutes).
	$(BIN)/python -m pytest -m slow

check: $(VENV)/.ready-dev  ## Format, lint, types.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.ready-dev  ## Let the formatter decide.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.ready-dev tools  ## Measure speed and memory beside bare loops.
	$(BIN)/python tests/bench/bench_replay.py
	PYTHONPATH=tests $(BIN)/python tests/bench/bench_live.py

soak: $(VENV)/.ready-dev tools  ## Ten minutes on a real broker at half the top speed.
	PYTHONPATH=tests $(BIN)/python tests/bench/bench_live.py soak 600

lock: $(VENV)/.ready-dev  ## Pin what pyproject.toml asks for; names no host.
	$(BIN)/pip install -q uv
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links --extra dev pyproject.toml -o requirements-dev.lock

tools:  ## Fetch the programs that the tests start (as root, on Debian).
	@sh tests/tools.sh

clean:  ## Remove what these targets made.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "askagain needs Python 3.11 or later; name one with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || sh tests/tools.sh python3-venv
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.ready: $(VENV)/.made requirements.lock pyproject.toml
	$(BIN)/pip install -q --require-hashes -r requirements.lock
	$(BIN)/pip install -q --no-deps -e .
	@$(BIN)/askagain demo >/dev/null 2>&1  # compiles the inner loops, which are then kept
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.made requirements-dev.lock pyproject.toml
	$(BIN)/pip install -q --require-hashes -r requirements-dev.lock
	$(BIN)/pip install -q --no-deps -e .
	@touch $@ $(VENV)/.ready
