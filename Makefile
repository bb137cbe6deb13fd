# `make` alone lists the targets. Steps that nothing changed are not done again.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The distribution's Python before others on PATH: it is compiled with profiles of what it runs. Those that were built from source
# (by pyenv, for one) often are not, and answer a tenth to a quarter fewer requests a second.
PYTHON ?= $(shell for each in /usr/bin/python3.11 /usr/bin/python3.12 /usr/bin/python3.13 python3.11 python3.12 python3.13; do \
  $$each -c 'import ensurepip' 2>/dev/null && { command -v $$each; exit; }; done; command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DATA ?= .data
ARGS ?=
# Test processes side by side: they wait for servers and disks more than they compute.
JOBS ?= 3

# Debian packages of the real peers that tests talk to.
PEERS := dcmtk dicom3tools orthanc orthanc-dicomweb orthanc-gdcm postgresql

# Installs what is named, and tells of each library as it comes: some minutes are long without a word.
define pip_install
set -o pipefail; $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --use-pep517 $(1) | awk \
  '/^Collecting/ { sub(/[^A-Za-z0-9._-].*/, "", $$2); printf " %s", $$2; fflush() } /^Installing collected/ { printf "\nand now onto the disk\n"; fflush() }'
endef
# Installs Debian packages when that is possible without asking, and tells by its exit code whether it did.
define apt_install
install_packages() { \
  command -v apt-get >/dev/null || return 1; \
  local as=(); \
  if [ "$$(id -u)" != 0 ]; then sudo -n true 2>/dev/null || return 1; as=(sudo -n); fi; \
  echo "installing the Debian packages: $$*"; \
  "$${as[@]}" apt-get update -qq && "$${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$$@" >/dev/null; \
}
endef

.PHONY: help run test lint bench bench-imaging bench-linkage conformance peers clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## Start the affinity domain with the demo region; DATA=DIR keeps it elsewhere, ARGS='--http-port 0' adds flags
	@exec $(BIN)/xds serve --demo --data $(DATA) --guide $(ARGS)

test: $(VENV)/.installed-test peers ## Run the test suite; ARGS='-k iti18' chooses, JOBS=0 runs it in one process
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

lint: $(VENV)/.installed-test ## Style, types and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.installed-test ## Measure on this machine; the results go to results/
	@$(BIN)/python -m bench $(ARGS)

bench-imaging: PEERS += nginx-light
bench-imaging: $(VENV)/.installed-test peers ## Images in and out, beside Orthanc, storescp and nginx; ARGS='--only store --slices 100' chooses
	@$(BIN)/python -m bench.imaging $(ARGS)

bench-linkage: $(VENV)/.installed-bench ## Quality of linking persons; ARGS='--people 10000 --seeds 7 --only region' chooses
	@$(BIN)/python -m bench.linkage --febrl $(ARGS)

conformance: $(VENV)/.installed-test peers ## Black-box stories against a running server
	@$(BIN)/python -m pytest tests/flows $(ARGS)

peers:
	@$(apt_install); \
	missing=(); for name in $(PEERS); do \
	  dpkg-query -W -f='$${Status}' "$$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$$name"); done; \
	if [ "$${#missing[@]}" -gt 0 ] && ! install_packages "$${missing[@]}"; then \
	  echo "NOT INSTALLED: $${missing[*]} (needs root, or sudo without a password, on Debian or Ubuntu)."; \
	  echo "Tests that talk to these programs are left out; pytest lists them at its end with the reason."; \
	fi

clean: ## Remove the environment and what was built; the data directory stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	@[ -n "$(PYTHON)" ] && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: PYTHON=/path/to/python3 make …" >&2; exit 2; }
	@$(apt_install); \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || install_packages python3-venv || { \
	  echo "This Python cannot make a virtual environment: as root, apt-get install python3-venv" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "installing the package and about 50 libraries into $(VENV), which takes a minute or two the first time:"
	@$(call pip_install,-e .)
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-test
	@echo "installing what the measurement of linkage needs"
	@$(call pip_install,-e '.[bench]')
	@touch $@

$(VENV)/.installed-test: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "installing the package, and what its tests need, into $(VENV), which takes some minutes the first time:"
	@$(call pip_install,-e '.[test]')
	@touch $(VENV)/.installed $@
