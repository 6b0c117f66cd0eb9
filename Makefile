# One command per chore. Each sets up what it needs, once: any Python >= 3.11 is enough to start with.

CASE ?= cases/allen_cahn_100d.toml
WORKERS ?= 2
ARGS ?=
PYTHON ?=
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup solve test test-slow test-slurm test-loggers lint format docs docs-serve package bench clean distclean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## make the environment .venv with the exact versions of constraints.txt

$(READY): pyproject.toml constraints.txt
	@python="$(PYTHON)"; \
	if [ -z "$$python" ]; then \
	  for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	    if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	      python="$$candidate"; break; \
	    fi; \
	  done; \
	fi; \
	if [ -z "$$python" ]; then \
	  echo "pinnx needs Python 3.11 or newer with its venv module, and found none." >&2; \
	  echo "Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python)," >&2; \
	  echo "or name the one to use: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; \
	  exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$python" --version), once; this takes a few minutes."; \
	"$$python" -m venv "$(VENV)"
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch "$(READY)"

solve: $(READY) ## solve CASE=cases/allen_cahn_100d.toml; more options in ARGS="--set solver.steps=500"
	@"$(BIN)/pinnx" solve "$(CASE)" $(ARGS)

test: $(READY) ## run the tests; options of pytest in ARGS="-k layout"
	OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-slow: $(READY) ## run the tests that are left out of `make test` for their length
	OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -n $(WORKERS) --dist worksteal -m slow $(ARGS)

test-slurm: $(READY) ## run the tests of batch jobs on a real Slurm, which is started for them; needs root and Debian
	.ci/slurm "$(BIN)/python" $(ARGS)

test-loggers: $(READY) ## run the tests of loggers on TensorBoard, MLflow and W&B, in an environment of their own
	.ci/loggers "$(BIN)/python" $(ARGS)

lint: $(READY) ## style, format, types and the direction of imports
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/python" -m pyright --pythonpath "$(BIN)/python"
	"$(BIN)/lint-imports" --no-logo

format: $(READY) ## put the code into the one format, and mend what ruff can mend
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .

docs: $(READY) ## build the documentation into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 "$(BIN)/python" -m mkdocs build --strict --quiet

docs-serve: $(READY) ## show the documentation on a local address while writing it
	NO_MKDOCS_2_WARNING=1 "$(BIN)/python" -m mkdocs serve

package: $(READY) ## build sdist and wheel into dist/, and test the wheel outside the tree
	.ci/package "$(BIN)/python"

bench: $(READY) ## measure the cost of a training step; options in ARGS
	"$(BIN)/python" benchmarks/step_cost.py $(ARGS)

clean: ## remove what building and testing left; keeps .venv and runs/
	rm -rf build dist site *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## clean, and remove .venv
	rm -rf "$(VENV)"
