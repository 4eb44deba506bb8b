# make demo   install volseg into .venv and see it work, from phantoms to scores
# make test   the same environment with the development extra, then every gate
# make docs   the site of the documentation, into docs/_build/html
# make clean  remove .venv and what the tools leave behind
#
# Another Python: make demo PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test docs clean

# Into demo/, or the first of demo-2/, demo-3/, ... that is not there yet: nothing is removed.
demo: $(VENV)/.installed
	@folder=demo; number=1; while [ -e $$folder ] || [ -L $$folder ]; do \
	  number=$$((number + 1)); folder=demo-$$number; done; \
	echo "$(BIN)/volseg demo -o $$folder"; $(BIN)/volseg demo -o $$folder

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --cov --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder --durations 15
	$(BIN)/coverage report --fail-under 99 --include 'volseg/labels.py,volseg/metrics/*,volseg/config/*,volseg/cases/*,volseg/finding/*,volseg/images/*'

docs: $(VENV)/.installed-dev
	$(BIN)/sphinx-build -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

clean:
	rm -rf $(VENV) build dist docs/_build .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; found = sys.version_info[:2]; (3, 11) <= found < (3, 14) or sys.exit( \
	  "volseg needs Python 3.11, 3.12 or 3.13, but $(PYTHON) is %d.%d; name another: make demo PYTHON=python3.12" % found)'
	$(PYTHON) -m venv $(VENV)

# The stamps are newer than what they were made from, so a second call installs nothing.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing volseg into $(VENV): a few minutes, once"
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing volseg with its development tools into $(VENV): a few minutes, once"
	$(INSTALL) -e '.[dev]'
	@touch $(VENV)/.installed $@
