# From a clone: `make demo` shows the whole way, `make test` checks it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: help install demo test nightly bench docs site clean oldest

help:
	@echo "make install make .venv and install, nothing more"
	@echo "make demo    install, then files -> graph -> teacher -> student -> report on real data"
	@echo "make test    install, start a real Neo4j, run lint, types and all tests"
	@echo "make nightly install, then the floors on quality and the faults that tests must notice (four hours)"
	@echo "make oldest  the unit tests with the oldest versions allowed, in .venv-oldest"
	@echo "make bench   install, then the measured figures (speed, memory, quality); SUITE=office: of that suite"
	@echo "make docs    write the parts of the documentation anew that come from the code and from bench/results"
	@echo "make site    the documentation as a site, in build/site; nothing in it is loaded from elsewhere"
	@echo "make clean   remove .venv, the tests' Neo4j and caches; runs and graphs stay"

install: $(VENV)/.demo.stamp

demo: $(VENV)/.demo.stamp
	@$(BIN)/kgdistill demo $(ARGS)

test: $(VENV)/.dev.stamp
	@.ci/test $(ARGS)

oldest: $(BIN)/python
	@.ci/oldest $(ARGS)

nightly: $(VENV)/.dev.stamp
	@$(BIN)/python -m pytest -m nightly tests/nightly $(ARGS)
	@$(BIN)/python bench/mutants.py

# The faults of bench/mutants.py are no figures: they belong to the nightly checks. bench/agreement.py, bench/diversity.py
# and bench/freshness.py ask for a run, bench/mined_training.py for a folder to train in.
bench: $(VENV)/.dev.stamp
ifdef SUITE
	@$(BIN)/python -m bench.suites --suite $(SUITE) $(ARGS)
else
	@set -e; for script in $(filter-out bench/mutants.py bench/agreement.py bench/diversity.py bench/freshness.py bench/mined_training.py,$(wildcard bench/[!_]*.py)); do $(BIN)/python "$$script"; done
endif

docs: $(VENV)/.dev.stamp
	@$(BIN)/python docs/generate.py
	@$(BIN)/python docs/claims.py

site: $(VENV)/.dev.stamp
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "build/site/index.html"

# A stamp newer than pyproject.toml and constraints.txt means: installed, nothing to do.
$(VENV)/.demo.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.demo.stamp $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not on the path; install Python 3.10 or later, or run: make PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "make: $(PYTHON) is older than 3.10; run: make PYTHON=/path/to/a/newer/python3" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "make: $(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

clean:
	@[ ! -x $(BIN)/kgdistill ] || [ ! -d .neo4j-test ] || $(BIN)/kgdistill neo4j stop --folder .neo4j-test >/dev/null
	rm -rf $(VENV) .venv-oldest .neo4j-test build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
