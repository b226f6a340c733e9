# `make live` and `make test` set up all they need in .venv, can be run again at any time, and say what they do.
#   make live [SOURCE=webcam|PATH] [ARGS="--max-faces 2"]
#   make serve [ARGS="--port 8080"]
PYTHON ?= $(shell command -v python3.12 >/dev/null 2>&1 && python3.12 -c '' 2>/dev/null && echo python3.12 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
WEB := stream/remote/web
SOURCE ?= sample
ARGS ?=

.PHONY: live serve test check bench nightly web clean
.DELETE_ON_ERROR:

live: $(VENV)/.live
	@$(BIN)/prosopon live --source "$(SOURCE)" $(ARGS)

serve: $(VENV)/.live
	@$(BIN)/prosopon serve $(ARGS)

test: $(VENV)/.test
	@$(BIN)/python tools/run_tests.py $(ARGS)

check: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(VENV)/.test
	@$(BIN)/prosopon bench --json out/bench.json $(ARGS)

# What is too long for every change: a hundred times as many hostile inputs to what reads from the network.
nightly: $(VENV)/.test
	@PROSOPON_FUZZ=100000 $(BIN)/python -m pytest tests/fuzz $(ARGS)

# The browser's page: its types, its tests, and that the committed dist/ is what the sources give.
web: $(WEB)/node_modules/.package-lock.json
	@cd $(WEB) && npm run --silent check && npm test --silent && npm run --silent build -- --check

$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	@cd $(WEB) && npm ci --silent --no-audit --no-fund
	@touch $@

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null || \
	  { echo "Prosopon needs Python 3.11 or 3.12; install one with: apt-get install python3, or name it: make PYTHON=python3.12 live"; exit 1; }
	@echo "Making the virtual environment $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || \
	  { rm -rf $(VENV); echo "Python cannot make virtual environments here; install what it needs with: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.live: pyproject.toml | $(VENV)/.venv
	@echo "Installing what live capture needs (about 700 MB, a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/.venv
	@echo "Installing what tests and training need (torch too; some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train,dev,gpu]'
	@touch $@ $(VENV)/.live

clean:
	rm -rf $(VENV) out build dist *.egg-info
