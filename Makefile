# The template's own commands. `make demo` and `make test` set up all they need.
PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
BAKE := build/penguin-service
# Some machines switch bytecode off; then each of the many processes below would compile anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test bake models bench gpu lock clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; PYTHON=... names one")'
	@$(PYTHON) -c 'import ensurepip' || { echo "Python's venv is missing; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --requirement requirements.txt
	@touch $@

demo: .venv/installed ## Generate the default project, serve it, show predictions; KEEP=1 leaves it serving
	@PORT=$(PORT) $(BIN)/python scripts/demo.py

test: .venv/installed ## Run all tests; those in containers run where `docker` answers
	$(BIN)/python -m pytest

bake: .venv/installed ## Generate the default project into build/
	$(BIN)/cookiecutter --no-input --overwrite-if-exists --output-dir build .

models: bake ## Train the artifact that the template ships, by the generated project's own command
	$(MAKE) -C $(BAKE) train ARGS=$(ARGS)
	cp $(BAKE)/models/* '{{cookiecutter.project_slug}}/models/'

bench: .venv/installed ## Measure the service beside usual ones (needs wrk); ARGS=--help lists what can be chosen
	$(BIN)/python benchmarks/run.py $(ARGS)

gpu: bake ## On a machine with an NVIDIA GPU: test its engines there; writes benchmarks/GPU.md
	$(MAKE) -C $(BAKE) test-gpu GPU_REPORT=$(CURDIR)/benchmarks/GPU.md

lock: .venv/installed bake ## Renew all locks, the generated project's too; then `make models`
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" requirements.in --output-file requirements.txt
	$(MAKE) -C $(BAKE) lock
	cp $(BAKE)/requirements/*.txt '{{cookiecutter.project_slug}}/requirements/'
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --constraint $(BAKE)/requirements/dev.txt benchmarks/requirements.in --output-file benchmarks/requirements.txt

clean: ## Remove what the other commands made
	rm -rf .venv build .pytest_cache
