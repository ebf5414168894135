# Two commands for a newcomer: `make demo` and `make test`. Both make their own environment in .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint slow clean

demo: .venv/installed
	MPLBACKEND=Agg SINKGEN_OUTPUT=output $(BIN)/python examples/plot_digits.py

test: .venv/installed
	$(BIN)/python -m pytest -m "not slow"

slow: .venv/installed
	$(BIN)/python -m pytest -m slow

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check sinkgen tests examples benchmarks

.venv/installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[plot,test]"
	@touch $@

clean:
	rm -rf .venv output build dist *.egg-info
