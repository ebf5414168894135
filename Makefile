# Two commands for a newcomer: `make demo` and `make test`. Both make their own environment in .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-oldest lint slow gpu wheels privacy docs examples clean

demo: .venv/installed
	MPLBACKEND=Agg SINKGEN_OUTPUT=output $(BIN)/python examples/plot_digits.py

test: .venv/installed
	$(BIN)/python -m pytest -n 2 -m "not slow"

slow: .venv/installed
	$(BIN)/python -m pytest -m slow

# On a machine with a card, in an environment whose torch knows it: what must hold there, and how fast it is.
gpu:
	$(PYTHON) -m pytest -m gpu tests/test_gpu.py
	$(PYTHON) benchmarks/gpu.py

# Wheel and source archive, each installed by itself into a fresh environment of each of these, and tried.
PYTHONS ?= python3.10 python3.12 python3.13

wheels:
	rm -rf dist .venv-wheels && mkdir .venv-wheels
	$(PYTHON) -m venv .venv-wheels/build && .venv-wheels/build/bin/python -m pip install --quiet build
	.venv-wheels/build/bin/python -m build --outdir dist
	set -e; for python in $(PYTHONS); do for archive in dist/*.whl dist/*.tar.gz; do \
		rm -rf .venv-wheels/try && $$python -m venv .venv-wheels/try; \
		.venv-wheels/try/bin/python -m pip install --quiet --constraint constraints.txt "$$archive[cli]"; \
		(cd .venv-wheels && try/bin/python ../tests/smoke.py && echo "passed: $$python $$archive"); \
	done; done
	rm -rf .venv-wheels

# The contracts of docs/privacy.md, with the counts that stand there.
privacy: .venv/installed
	$(BIN)/python -m pytest -n 2 --contracts

# The lowest versions that setup.cfg allows, with Python 3.10: what a fit needs, and the privacy code. Brings gigabytes.
OLDEST_PYTHON ?= python3.10

test-oldest: .venv-oldest/installed
	.venv-oldest/bin/python -m pytest -n 2 -m "not slow" tests/privacy tests/test_sklearn_checks.py tests/test_tstr.py \
		tests/test_rehearsal.py tests/test_estimator.py tests/test_storage.py tests/generators/test_quality.py

.venv-oldest/installed: setup.cfg pyproject.toml
	$(OLDEST_PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet uv
	.venv-oldest/bin/python -m uv pip install --quiet --resolution lowest-direct --editable ".[plot,secure,test]"
	@touch $@

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check sinkgen tests examples benchmarks
	$(BIN)/mypy

# The pages, in docs/_build/html; the gallery is run unless it was, and a warning is an error.
docs: .venv/docs-installed
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

.venv/docs-installed: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	@touch $@

examples: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow or not slow" --durations 0 tests/test_examples.py

.venv/installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[cli,plot,test]"
	@touch $@

clean:
	rm -rf .venv .venv-oldest .venv-wheels output build dist *.egg-info docs/_build docs/generated docs/gallery
