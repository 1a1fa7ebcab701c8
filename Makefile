.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
export UV_NO_CONFIG := 1
export UV_PYTHON_DOWNLOADS := never

# Left empty, the best built one on PATH of python3's version (decision 0017).
PYTHON   ?=
UV       := .venv/bin/uv
BRIDGE   := bridges/langgraph
DOJO     := tests/bench
SERVICES := $(filter-out kit,$(patsubst services/%/pyproject.toml,%,$(wildcard services/*/pyproject.toml)))
MEMBERS  := contracts eventstore bridges/sdk services/kit $(SERVICES:%=services/%) witness demo tests/bench
PACKAGES := $(foreach m,$(MEMBERS),$(patsubst %/py.typed,%,$(wildcard $m/*/py.typed)))
LONGEST  := tool identity audit
HOUSE    := tests contracts eventstore services/kit bridges/sdk demo
TESTS    := $(wildcard $(filter-out tests/bench/tests,$(MEMBERS:%=%/tests))) tests tools infra

SYNC     := pip sync --quiet --compile-bytecode --require-hashes --build-constraints requirements/build.txt
EDITABLE := pip install --quiet --no-deps
LOCK     := $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate \
            --custom-compile-command 'make lock' \
            $(addprefix --no-emit-package ,dominie dominie-contracts dominie-eventstore dominie-kit)

help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.done $(BRIDGE)/.venv/.done  ## A refund desk, plain and under Dominie, in a minute.
	@.venv/bin/dominie demo $(ARGS)

up: .venv/.done  ## Run Dominie on this machine until interrupted.
	@.venv/bin/dominie up $(ARGS)

# Each test runs once: a service's own with that service alone installed, the others with all of it. All run even when
# some fail, and the count comes last. A test waits about half of its time: three at once keep two processors busy. Files
# with few and long tests come first, or one of them would be left at the end.
test: .venv/.done $(BRIDGE)/.venv/.done  ## Run every test.
	@rm -rf .reports
	@status=0; \
	.venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --junit-xml .reports/house.xml $(HOUSE) || \
	    status=$$?; \
	(cd $(BRIDGE) && .venv/bin/python -m pytest --junit-xml ../../.reports/langgraph.xml tests) || status=$$?; \
	$(MAKE) --no-print-directory alone || status=$$?; \
	.venv/bin/python tools/tally.py .reports/*.xml .reports/alone/*.xml; \
	exit $$status

# The demo's desk is a user's program, written as users write.
check: .venv/.done $(BRIDGE)/.venv/.done  ## Style, types, architecture.
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy --exclude '/desk/' $(PACKAGES)
	.venv/bin/mypy --explicit-package-bases --exclude '^tests/bench/dominie_bench/' $(TESTS)
	cd $(BRIDGE) && .venv/bin/mypy --config-file ../../pyproject.toml dominie_langgraph
	.venv/bin/lint-imports

bench: .venv/.done  ## What a governed call costs, beside the raw floor.
	@.venv/bin/dominie bench governed-call $(ARGS)

bench-agentdojo: .venv/.done $(DOJO)/.venv/.done  ## Play AgentDojo's banking tasks through the bus.
	@.venv/bin/dominie bench agentdojo --suite banking $(ARGS)

setup: .venv/.done $(BRIDGE)/.venv/.done  ## Install everything.

$(UV): requirements/uv.txt
	@$(or $(PYTHON),python3) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Dominie needs Python 3.11: make PYTHON=python3.11")'
	@echo 'Installing (about half a minute, the first time) …' >&2
	@python='$(PYTHON)'; python=$${python:-$$(python3 tools/interpreter.py)}; "$$python" -m venv --clear .venv
	@.venv/bin/python -m pip install --quiet --require-hashes -r $<
	@touch $@

.venv/.done: $(UV) requirements/dev.txt requirements/build.txt $(MEMBERS:%=%/pyproject.toml)
	@$(UV) $(SYNC) --python .venv requirements/dev.txt
	@$(UV) $(EDITABLE) --python .venv $(MEMBERS:%=-e ./%)
	@$(UV) pip check --quiet --python .venv
	@touch $@

$(BRIDGE)/.venv/.done: $(UV) $(BRIDGE)/requirements.txt $(BRIDGE)/pyproject.toml
	@$(UV) venv --quiet --clear --python .venv $(@D)
	@$(UV) $(SYNC) --python $(@D) $(BRIDGE)/requirements.txt
	@$(UV) $(EDITABLE) --python $(@D) -e ./contracts -e ./bridges/sdk -e ./$(BRIDGE)
	@$(UV) pip check --quiet --python $(@D)
	@touch $@

$(DOJO)/.venv/.done: $(UV) $(DOJO)/requirements.txt $(DOJO)/pyproject.toml
	@$(UV) venv --quiet --clear --python .venv $(@D)
	@$(UV) $(SYNC) --python $(@D) $(DOJO)/requirements.txt
	@$(UV) $(EDITABLE) --python $(@D) -e ./contracts -e ./eventstore -e ./bridges/sdk -e ./services/kit -e ./$(DOJO)
	@$(UV) pip check --quiet --python $(@D)
	@touch $@

# Those that take longest go first. The dry run fetches every package's metadata, so that nine resolutions can then go without the network.
alone: .venv/.done  ## Run the tests of each service, and of the witness, with it alone installed.
	@rm -rf .reports/alone && mkdir -p .reports/alone
	@$(UV) venv --quiet --clear --python .venv .venvs/all
	@$(UV) pip install --quiet --dry-run --build-constraints requirements/build.txt --python .venvs/all \
	    --constraints requirements/dev.txt $(MEMBERS:%=-e ./%) -e ./services/tool[wasm] --group test
	@printf '%s\n' $(LONGEST) $(filter-out $(LONGEST),$(SERVICES)) witness | xargs -P 3 -I{} $(MAKE) --no-print-directory alone-{}

alone-%: ALONE = $(firstword $(wildcard services/$* $*))
alone-%: EXTRA = $(if $(filter tool,$*),[wasm])
alone-%:
	@$(UV) venv --quiet --clear --python .venv .venvs/$*
	@$(UV) pip install --quiet --offline --compile-bytecode --build-constraints requirements/build.txt \
	    --python .venvs/$* --constraints requirements/dev.txt -e './$(ALONE)$(EXTRA)' --group test
	@.venvs/$*/bin/python -m pytest -q -p no:cacheprovider --junit-xml .reports/alone/$*.xml $(ALONE)/tests \
	    > .reports/alone/$*.log || { cat .reports/alone/$*.log; exit 1; }
	@echo "$* alone: $$(tail -1 .reports/alone/$*.log)"

lock: $(UV)  ## Pin every dependency with its hashes; UPGRADE=--upgrade for the newest.
	$(LOCK) $(UPGRADE) $(MEMBERS:%=%/pyproject.toml) --extra kurrentdb --extra s3 --extra keyring --extra wasm --group dev --output-file requirements/dev.txt
	$(LOCK) $(UPGRADE) $(BRIDGE)/pyproject.toml --group $(BRIDGE)/pyproject.toml:dev --output-file $(BRIDGE)/requirements.txt
	$(LOCK) $(UPGRADE) $(DOJO)/pyproject.toml --extra agentdojo --output-file $(DOJO)/requirements.txt
	echo 'setuptools>=84' | $(LOCK) $(UPGRADE) - --output-file requirements/build.txt
	echo 'uv>=0.13,<0.14' | $(LOCK) $(UPGRADE) - --output-file requirements/uv.txt

service: .venv/.done  ## Write a new service: make service NAME=quota
	@.venv/bin/python tools/new_service.py $(NAME)

clean:  ## Remove everything that was made, the state of a local Dominie too.
	rm -rf .venv .venvs $(BRIDGE)/.venv $(DOJO)/.venv .dominie .reports .hypothesis .*_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help demo up test check bench bench-agentdojo setup alone lock service clean
