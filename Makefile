# make bench   an environment, then the main job: every strategy measured and ranked, into runs.db
# make test    an environment, then all tests
# make env     the environment alone, in .venv

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: bench test env lint

bench: env
	$(BIN)/serbench run --all

test: env
	$(BIN)/pytest

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p serbench
	$(BIN)/mypy tests
	$(BIN)/mypy tools

env: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; (3, 10) <= sys.version_info < (3, 14) or sys.exit("serbench needs Python 3.10 to 3.13, and $(PYTHON) is " + sys.version.split()[0] + ": say PYTHON=python3.12, for example")'
	@echo "Making an environment in $(VENV); torch and its kin take some minutes to install."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
