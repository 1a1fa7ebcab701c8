.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
export UV_NO_CONFIG := 1
export UV_PYTHON_DOWNLOADS := never

PYTHON   ?= python3
UV       := .venv/bin/uv
SERVICES := $(filter-out kit,$(patsubst services/%/pyproject.toml,%,$(wildcard services/*/pyproject.toml)))
MEMBERS  := contracts eventstore bridges/sdk services/kit $(SERVICES:%=services/%) demo tests/bench
BRIDGE   := bridges/langgraph
DOJO     := tests/bench

SYNC    := pip sync --quiet --compile-bytecode --require-hashes --build-constraints requirements/build.txt
INSTALL := pip install --quiet --no-deps
LOCK    := $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate \
           --custom-compile-command 'make lock' \
           $(addprefix --no-emit-package ,dominie dominie-contracts dominie-eventstore dominie-kit)

setup: .venv/.done  ## Install everything into .venv.

$(UV): requirements/uv.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Dominie needs Python 3.11 or later: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --require-hashes -r $<
	touch $@

.venv/.done: $(UV) requirements/dev.txt requirements/build.txt $(MEMBERS:%=%/pyproject.toml)
	$(UV) $(SYNC) --python .venv requirements/dev.txt
	$(UV) $(INSTALL) --python .venv $(MEMBERS:%=-e ./%)
	$(UV) pip check --quiet --python .venv
	touch $@

lock: $(UV)  ## Pin every dependency with its hashes.
	$(LOCK) $(MEMBERS:%=%/pyproject.toml) --group dev --output-file requirements/dev.txt
	$(LOCK) $(BRIDGE)/pyproject.toml --group $(BRIDGE)/pyproject.toml:dev --output-file $(BRIDGE)/requirements.txt
	$(LOCK) $(DOJO)/pyproject.toml --extra agentdojo --output-file $(DOJO)/requirements.txt
	echo 'setuptools>=84' | $(LOCK) - --output-file requirements/build.txt
	echo 'uv>=0.13,<0.14' | $(LOCK) - --output-file requirements/uv.txt

.PHONY: setup lock
