# `make` alone lists the targets. All of them set up what they need first.
.DEFAULT_GOAL := help
BIN := .venv/bin

.PHONY: help setup live check test elsewhere lowest matrix fuzz bench docs wheel lint format clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: ## Install what is missing: Debian packages, .venv (silent when nothing is)
	@tests/vm/setup $(SETUP)

live: setup ## Watch memory-file seals live: on this kernel, or on a real one in QEMU
	@$(BIN)/python tests/vm/live

check: lint ## Fast checks alone, no kernel needed: style, types, imports, unit tests
	@$(BIN)/pytest tests/unit tests/vm tests/harness -q -m "not slow"

test: setup ## Everything: the view on a terminal, then real kernels in QEMU, and beside them the fast checks
	@nice $(BIN)/python -m tests.kernel.booting >/dev/null 2>&1 </dev/null &  # fetch and build
	@code=0; \
	$(MAKE) --no-print-directory lint || code=1; \
	$(BIN)/pytest tests/tty -q || code=1; \
	$(BIN)/pytest tests/kernel || code=1; \
	exit $$code  # each part has run, whatever the others said

elsewhere: setup ## The unit tests as on other machines: boot clock, zone, locale, umask, order
	@$(BIN)/python tests/elsewhere

lowest: setup ## The unit tests with the lowest version of each dependency; .venv has the newest
	@$(BIN)/python tests/lowest -q

matrix: setup ## Boot every kernel that Debian serves and write docs/kernels.md
	@$(BIN)/pytest tests/kernel/test_matrix.py tests/kernel/test_inaccessible.py \
		tests/kernel/test_filters.py tests/kernel/test_ui.py tests/kernel/test_guest.py \
		tests/kernel/test_audit.py tests/kernel/test_attacks.py tests/kernel/test_ways.py \
		tests/kernel/test_life.py tests/kernel/test_readme.py tests/kernel/test_exec.py \
		tests/kernel/test_ftrace.py tests/kernel/test_names.py tests/kernel/test_stacks.py tests/kernel/test_private.py \
		--all-kernels --matrix-doc docs/kernels.md
	@$(BIN)/pytest tests/installed -q
	@$(BIN)/python tests/elsewhere old
	@$(BIN)/python tests/lowest -q -m slow

fuzz: setup ## 20,000 changed recordings against every verb that reads one: an hour or two
	@nice $(BIN)/python -m tests.fuzz

bench: setup ## Measure what recording costs beside bpftrace, trace-cmd and strace
	@tests/bench/run

docs: setup ## Write the documents and man pages that are made from the code
	@$(BIN)/python -m docs.make

wheel: setup ## Build dist/*.whl, for hosts that only run it (README: Install)
	@rm -rf build dist completion  # what is gone from the sources must not be in it
	@mkdir -p completion/bash completion/zsh completion/fish
	@$(BIN)/sealsnoop completion bash >completion/bash/sealsnoop
	@$(BIN)/sealsnoop completion zsh >completion/zsh/_sealsnoop
	@$(BIN)/sealsnoop completion fish >completion/fish/sealsnoop.fish
	@$(BIN)/pip wheel -q --no-deps -w dist .
	@ls dist/*.whl

lint: setup ## Style, types and import rules
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@out=$$($(BIN)/lint-imports --no-logo) || { echo "$$out"; false; }

format: setup ## Rewrite the Python files in the project's style
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .

clean: ## Remove .venv and all caches of this checkout (kernels stay in ~/.cache/sealsnoop)
	rm -rf .venv .venv-lowest build dist completion *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
