# Ten Papers, Executable.  `make book`, `make test`: all that a newcomer needs.  `make help` lists the rest.
SHELL        := /bin/bash
.SHELLFLAGS  := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
HTML   := _build/html
JOBS   ?= 2
N      ?=
CPU    ?=
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
NAME   := ten-papers-executable

# The mirror of the data sets, where this checkout has one beside it; else cache and download.
ifneq ($(wildcard ../shared/data/MANIFEST.tsv),)
export BOOK_DATA_MIRROR ?= $(abspath ../shared/data)
endif
# One thread a process: two processes fill two cores, and sums come out in one order.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1
export PYTHONHASHSEED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help book test env notebooks chapter reproduce prove html crate release bench serve mutate size lint lock new-chapter clean distclean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

env: $(VENV)/.stamp ## the Python environment, from requirements.lock

$(VENV)/.stamp: requirements.lock pyproject.toml
	@.ci/env "$(PYTHON)" "$(VENV)"
	@touch $@

book: notebooks html ## set-up, stale notebooks, HTML at _build/html/index.html
	@echo "the book: $(HTML)/index.html"

notebooks: env ## re-execute the notebooks whose stored key is stale
	@$(BIN)/python -m lib.core.notebooks run --stale --jobs $(JOBS)

chapter: env ## re-execute one chapter and build the book: make chapter N=01
	@test -n "$(N)" || { echo "say which: make chapter N=01" >&2; exit 2; }
	@$(BIN)/python -m lib.core.notebooks run --stale --chapter $(N) --jobs $(JOBS)
	@$(MAKE) --no-print-directory html

reproduce: env ## re-execute every notebook, stale or not
	@$(BIN)/python -m lib.core.notebooks run --all --jobs $(JOBS)

prove: env ## every stored output comes out again: make prove [N=02] [CPU=avx2|sse]
	@$(BIN)/python -m lib.core.notebooks prove --jobs $(JOBS) $(if $(N),--chapter $(N)) $(if $(CPU),--cpu $(CPU))

html: env ## only the HTML, from the stored outputs
	@$(BIN)/jupyter-book build . -W -n --keep-going --quiet
	@test -s $(HTML)/index.html
	@$(MAKE) --no-print-directory crate

crate: env ## a run crate of the whole book, from what was noted while notebooks ran: notebooks, lib, lock, digests of data, ledger
	@env PYTHONPATH=book/_ext:. $(BIN)/python -m tenpapers.book_crate $(HTML)/downloads/ten-papers-executable.crate.zip

release: html ## wheel, run crate and archive of the HTML, with their digests, into dist/
	@rm -rf build dist
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@rm -rf build
	@cp $(HTML)/downloads/$(NAME).crate.zip dist/$(NAME)-$(VERSION).crate.zip
	@tar -C _build -czf dist/$(NAME)-$(VERSION)-html.tar.gz html
	@cd dist && sha256sum -- * > SHA256SUMS && ls -l

test: html lint ## everything: checks, unit and property tests, notebooks proved by nbval, HTML, browser
	@$(BIN)/python -m pytest -q -n $(JOBS) --doctest-modules lib
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadscope tests
	@$(BIN)/python -m lib.core.notebooks prove --jobs $(JOBS)

mutate: env ## how many one-line faults a package's unit tests notice: make mutate PKG=core N=60
	@test -n "$(PKG)" || { echo "say which: make mutate PKG=core N=60" >&2; exit 2; }
	@$(BIN)/python tests/mutation/run.py $(PKG) -n $(or $(N),60) --jobs $(JOBS)

lint: env ## ruff, mypy, floors
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }

size: env ## lines of code of each package, method and study apart, beside their budgets
	@$(BIN)/python tests/tools/size.py

bench: env ## the benchmarks: ratios measured in one run
	@$(BIN)/python -m pytest tests/bench -m bench -s --no-header -q

serve: ## the built book at http://localhost:8000
	@test -s $(HTML)/index.html || { echo "nothing is built yet: make book" >&2; exit 1; }
	@cd $(HTML) && $(PYTHON) -m http.server 8000 --bind 127.0.0.1

lock: ## freeze what is installed into requirements.lock (see CONTRIBUTING.md)
	@$(BIN)/python -m pip list --format=freeze 2>/dev/null | grep -vE '^(pip|ten-papers-executable|triton|(nvidia|cuda)-[a-z0-9-]+)==' | sed 's/+cpu$$//' | sort -f > requirements.lock

new-chapter: env ## the skeleton of a chapter: make new-chapter N=03 SLUG=persuasion ARXIV=2605.31275
	@$(BIN)/python -m lib.core.scaffold $(N) $(SLUG) $(ARXIV)

clean: ## remove what was built (not the environment)
	rm -rf _build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

distclean: clean ## remove the environment and the caches too
	rm -rf $(VENV) .cache *.egg-info
