# What this checkout can do; `make help` lists it. The first target prepares .venv, builds the native core and warms the
# numba cache; after that only what changed is done again (the stamps are in .make/).

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
ARGS ?=

NATIVE := $(shell find src -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
KERNELS := $(wildcard src/hms_ops/kernels/*.py)
FUZZ_DATAGRAMS ?= 1000000
KILLS ?= 200
FLIPS ?= 10000
export PATH := $(CURDIR)/.make/node/bin:$(PATH):$(CURDIR)/.make/servers/usr/bin

.DEFAULT_GOAL := help
.PHONY: help demo test quick lint check bench annotate wheel fuzz crash flips pagekill faults build clean servers browser ui

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .make/warm ## the refund rush, told live in a minute (ARGS="--headless --seconds 60 --json")
	@$(VENV)/bin/hms-ops-engine demo $(ARGS)

test: lint .make/warm .make/tools .make/js servers browser ## everything CI runs: style, types, all tests, a short fuzz with sanitizers
	$(PY) -m pytest $(ARGS)
	@$(MAKE) --no-print-directory fuzz FUZZ_DATAGRAMS=100000

quick: lint .make/warm .make/tools .make/js servers browser ## before a commit: style, types, and the tests that take less than ten seconds each
	$(PY) -m pytest -m "not slow" $(ARGS)

lint: .make/tools ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

check: test ## the same: what CI runs

bench: .make/warm .make/bench ## measure everything and write the figures into README.md
	$(PY) -m benchmarks $(ARGS)

ui: .make/js ## the JavaScript packages and the dashboard, which is committed as built (needs Node)
	cd js && npx tsc -p tsconfig.json && npm run --silent packages && npm run --silent ui

annotate: .make/installed ## pages that show where the native core still calls Python
	HMS_OPS_BUILD=annotate $(PY) -W ignore setup.py -q build_ext --build-lib build/annotate/lib
	@find build/annotate/cython -name '*.html'

wheel: .make/warm .make/tools ## one wheel in dist/, installed and tested outside the checkout
	@rm -rf dist build/release/lib* build/release/bdist*
	$(PIP) wheel -qq --no-build-isolation --no-deps -w dist .
	.ci/wheel $(PY) dist/*.whl

fuzz: .make/warm ## random datagrams through the build with sanitizers (FUZZ_DATAGRAMS=1000000)
	@echo "→ building with sanitizers"
	@HMS_OPS_BUILD=sanitize $(PY) -W ignore setup.py -q build --build-lib build/sanitize/lib
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
	  PYTHONPATH=build/sanitize/lib $(PY) tests/fuzz.py --datagrams $(FUZZ_DATAGRAMS) $(ARGS)

crash: .make/warm ## kill -9 while history is written and sealed, and look what is left (KILLS=200)
	$(PY) tests/crash.py --kills $(KILLS) --plant $(ARGS)

flips: .make/warm ## flip random bits of slabs and tiles: noticed or harmless, and nothing dies of it (FLIPS=10000)
	$(PY) tests/flips.py --flips $(FLIPS) $(ARGS)

pagekill: .make/warm .make/tools ## kill -9 while pages leave to receivers that answer, fail and hang, and look for what is lost (KILLS=200)
	$(PY) tests/pagekill.py --what parts --kills $(KILLS) --plant $(ARGS)
	$(PY) tests/pagekill.py --what engine --kills $(KILLS) --plant $(ARGS)

faults: crash flips ## both, one after the other: about half an hour

build: .make/built ## the native core, in place

clean: ## all that was made here, but not .venv
	rm -rf build dist .make .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src \( -name '*.so' -o -name '__pycache__' \) -prune -exec rm -rf {} +

$(PY):
	@.ci/preflight $(PYTHON)
	@echo "→ making $(VENV)"
	@"$$(.ci/preflight --which $(PYTHON))" -m venv $(VENV)

.make/installed: pyproject.toml setup.py | $(PY)
	@mkdir -p .make
	@.ci/preflight $(PY)
	@echo "→ installing what is needed into $(VENV) and building the native core (a few minutes the first time)"
	@$(PIP) install -qq "setuptools>=65" "cython>=3.1" wheel
	@$(PIP) install -qq --no-build-isolation -e ".[server,top]"
	@touch $@

# Apart, so that a first `make demo` does not wait for test tools.
.make/tools: .make/installed
	@echo "→ installing the test tools"
	@$(PIP) install -qq --no-build-isolation -e ".[server,top,notify,mcp,test]"
	@touch $@

servers:
	@.ci/servers

browser:
	@.ci/browser

.make/js: js/package-lock.json | .make/tools
	@.ci/node $(PY)
	@touch $@

.make/built: .make/installed $(NATIVE)
	@echo "→ building the native core"
	@$(PY) -W ignore setup.py -q build_ext --inplace
	@touch $@

.make/warm: .make/built $(KERNELS)
	@echo "→ compiling the kernels into numba's cache"
	@$(PY) -m hms_ops.kernels.warm
	@touch $@

.make/bench: .make/tools
	@$(PIP) install -qq --no-build-isolation -e ".[bench]"
	@touch $@
