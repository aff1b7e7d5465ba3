# What a newcomer, a developer and CI run. Only `firmware` needs a compiler (for Arm); nothing needs root.
#   PYTHON=python3.12 make demo    another interpreter (3.10 or newer)
#   make test JOBS=8               more test processes; TESTS="tests/ta -k heap" picks tests

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
TESTS ?= tests examples
FUZZ_SECONDS ?= 600

RUN := $(VENV)/bin
DEMO := artifacts/demo
KEY := firmware/keys/test-rsa4096.pem
# What zig calls a machine with the oldest system on it, and the tag of a wheel for it. As old as for Unicorn's wheels.
WHEEL_TARGETS := x86_64-linux-gnu.2.17:manylinux_2_17_x86_64 \
	aarch64-linux-gnu.2.17:manylinux_2_17_aarch64 \
	x86_64-macos.10.13:macosx_10_13_x86_64 \
	aarch64-macos.11.0:macosx_11_0_arm64
SOURCES_OF_INSTALL := pyproject.toml setup.py cosim/engine/unicorn/loop.c $(wildcard cosim/engine/unicorn/*.h)

.DEFAULT_GOAL := help
.PHONY: help demo test bench fuzz lint format firmware firmware-check wheel wheels clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while read -r name text; do printf '%-16s%s\n' "$$name" "$$text"; done

demo: $(VENV)/installed ## boot the demo firmware, then the same image with one flipped byte
	@mkdir -p $(DEMO)
	$(RUN)/cosim sign firmware/prebuilt/demo_m4.elf --key $(KEY) --out $(DEMO)/demo_m4.sign
	$(RUN)/cosim boot $(DEMO)/demo_m4.sign
	@printf '\n%s\n' "The same image with one flipped bit of its code must be refused, and nothing of it may run:"
	@$(RUN)/python -c "from pathlib import Path; from cosim.testing import flip; \
		Path('$(DEMO)/flipped.sign').write_bytes(flip(Path('$(DEMO)/demo_m4.sign').read_bytes(), 0x700))"
	$(RUN)/cosim boot $(DEMO)/flipped.sign; test $$? -eq 1
	@$(RUN)/cosim boot --json $(DEMO)/flipped.sign | $(RUN)/python -c "import json, sys; verdict = json.load(sys.stdin); \
		sys.exit(verdict['outcome'] != 'refused' or verdict['m4_instructions'] != 0 or not verdict['monitors_held'])"
	@printf '\n%s\n' "Both went as they should: the signed image booted, the changed one was refused."

test: $(VENV)/installed-dev ## run the whole suite
	$(RUN)/python -m pytest -n $(JOBS) $(TESTS)

bench: $(VENV)/installed-dev ## measure speed and memory (minutes; wants a quiet machine)
	$(RUN)/python -m cosim.bench

fuzz: $(VENV)/installed-fuzz ## fuzz every target for its share of FUZZ_SECONDS=600 (Linux; finds lie in artifacts/fuzz)
	$(RUN)/python tests/fuzz/run_fuzzer.py --seconds $(FUZZ_SECONDS)

lint: $(VENV)/installed-dev ## check style and types
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

format: $(VENV)/installed-dev ## bring the sources into the project's style
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

firmware: ## rebuild firmware/prebuilt from its sources (needs arm-none-eabi-gcc)
	$(MAKE) -C firmware prebuilt

firmware-check: ## rebuild the firmware and compare it with firmware/prebuilt
	$(MAKE) -C firmware check

wheel: $(VENV)/installed-dev ## build sdist and wheel into dist/
	rm -rf build dist
	$(RUN)/python -m build

wheels: $(VENV)/installed-wheels ## build the sdist and the wheels for Linux and macOS, x86-64 and arm64, into dist/
	rm -rf build dist
	$(RUN)/python -m build --sdist
	@set -e; for target in $(WHEEL_TARGETS); do \
		rm -rf build; tag=$${target#*:}; cc="$(abspath $(RUN)/python) -m ziglang cc -target $${target%:*}"; \
		CC="$$cc" CFLAGS="-fPIC -fwrapv" LDSHARED="$$cc -shared -s" $(RUN)/python -m build --wheel -C--build-option=--plat-name=$$tag; \
		$(RUN)/python -m zipfile -l dist/*-$$tag.whl | grep /_loop.so >/dev/null || \
			{ echo "the native loop could not be compiled for $$tag" >&2; exit 1; }; \
	done

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist artifacts *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis cosim/engine/unicorn/_loop*.so
	find ta cosim tests examples -name __pycache__ -type d -prune -exec rm -rf {} +
	$(MAKE) -C firmware clean

# The environment: made once, the project installed into it in place, so that edited sources take effect.

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "$(PYTHON) is not Python 3.10 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "making a private environment in $(VENV)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "no venv, trying virtualenv"; $(PYTHON) -m virtualenv -q $(VENV); } || \
		{ rm -rf $(VENV); echo "no private environment can be made, see above. Install venv (python3-venv on Debian and Ubuntu)" \
		"or virtualenv, or name another interpreter: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@touch $@

$(VENV)/installed: $(VENV)/created $(SOURCES_OF_INSTALL)
	@echo "installing the project and what it needs into $(VENV)"
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/created $(SOURCES_OF_INSTALL)
	@echo "installing the project and its development tools into $(VENV)"
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-fuzz: $(VENV)/installed-dev
	@echo "installing atheris into $(VENV)"
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@touch $@

$(VENV)/installed-wheels: $(VENV)/installed-dev
	@echo "installing zig's C compiler into $(VENV)"
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable '.[wheels]'
	@touch $@
