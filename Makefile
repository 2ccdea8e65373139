# What a person types. Everything lives in .venv; `make setup` is run by the others when it is needed.
PYTHON ?= python3
# Used only when the environment has no torch yet; set TORCH to what your machine needs, or install torch yourself first.
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN := $(VENV)/bin
DISTRIBUTIONS := core $(sort $(wildcard plugins/*)) contrib_templates
STAMP := $(VENV)/.plugtune-setup
export OMP_NUM_THREADS ?= 2
export TOKENIZERS_PARALLELISM ?= true

.PHONY: setup setup-long setup-browser board demo test test-long test-versions test-browser test-fast lint index bench bench-quick compare-templates docs clean

setup: $(STAMP)

$(STAMP): core/pyproject.toml $(wildcard plugins/*/pyproject.toml) contrib_templates/pyproject.toml Makefile requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install -q --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation \
	  $(foreach d,$(DISTRIBUTIONS),-e ./$(d)$(if $(filter core,$(d)),[plot$(comma)tensorboard$(comma)gguf$(comma)metrics$(comma)test]))
	touch $(STAMP)

comma := ,
space := $(subst ,, )
# Every plugin's package, from `plugins/stage-sft/src/plugtune_stage_sft/__init__.py`.
PACKAGES := $(notdir $(patsubst %/__init__.py,%,$(wildcard plugins/*/src/*/__init__.py contrib_templates/src/*/__init__.py)))

demo: setup
	$(BIN)/python scripts/demo.py

test: setup
	$(BIN)/python -m pytest -m "not browser and not long"

# Pages of docs/, scaffolds in fresh environments, several processes, the tutorial's scripts: many minutes on 2 cores.
test-long: setup setup-long
	$(BIN)/python -m pytest -m "long and not browser"

# DeepSpeed and Ray, which only the long tests use. DeepSpeed is built against the torch that is there and compiles its
# operators when they are first used. Where it cannot be installed its tests say so and are left out.
setup-long: setup
	DS_BUILD_OPS=0 $(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation -r requirements-long.txt \
	  || echo "requirements-long.txt could not be installed: the tests of those libraries are left out"

# The families with layouts of their own, on the oldest and the newest transformers that they declare.
test-versions: setup
	$(BIN)/python scripts/versions.py

# The board driven through the tutorial's path in a real Chromium; it takes minutes and is not part of `make test` yet.
test-browser: setup setup-browser
	$(BIN)/python -m pytest -m browser

test-fast: setup
	$(BIN)/python -m pytest -m "not e2e"

lint: setup
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	MYPYPATH=$(subst $(space),:,$(wildcard plugins/*/src contrib_templates/src)) \
	  $(BIN)/python -m mypy -p plugtune $(addprefix -p ,$(PACKAGES))

# The web board, on http://127.0.0.1:7860/
board: setup
	$(BIN)/python -m plugtune board

# The tests of the board drive a real Chromium; where there is none, it is installed from Debian's packages.
setup-browser: setup
	$(BIN)/python scripts/setup_browser.py

# Writes the static index of official plugins, from which a missing name gets its `pip install` line.
index: setup
	$(BIN)/python scripts/official_index.py

# The docs site in site/, with the reference pages made from the code. Nothing is fetched.
docs: setup
	$(BIN)/python scripts/reference.py
	$(BIN)/python -m mkdocs build --strict --quiet

# Every benchmark beside LLaMA-Factory and trl, then docs/benchmarks.md: some 45 minutes on 2 idle cores; goes on where
# it was stopped. `make bench BENCH="--only sft_defaults dpo"`, `BENCH=--plan`, `BENCH=--big`, `BENCH=--fresh`.
bench: setup
	$(BIN)/python bench/all.py $(BENCH)

# Our training step against the plain padded one, by processor time; ends with status 1 on a regression.
bench-quick: setup
	$(BIN)/python bench/quick.py

# Every template beside LLaMA-Factory's own code, then docs/templates-compared.md; two minutes.
compare-templates: setup
	$(BIN)/python bench/compare_templates.py --page $(COMPARE)

clean:
	rm -rf $(VENV) demo-run
