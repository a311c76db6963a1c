# From a clean clone every target makes what it needs; a repeat does only what has changed.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO := build/demo

# cmake, ninja and clang-format come from the virtual environment.
export PATH := $(CURDIR)/$(BIN):$(PATH)

PYTHON_DIRECTORIES := python tests examples packaging $(wildcard benchmarks)
CPP_FILES := $(shell find cpp examples/cpp python/tdse/include -name '*.cc' -o -name '*.h' -o -name '*.c')
INSTALLED_FILES := $(shell find python cpp -type f -not -path '*.egg-info/*' -not -path '*/.*' -not -name '*.pyc' \
	-not -name '*.so') pyproject.toml setup.py CMakeLists.txt

.PHONY: help demo test relay wheels coverage sanitize fuzz lint types format lock clean

help: ## List the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: $(VENV)/installed $(DEMO)/mobilenet_v3_small.tflite ## Place a model on this machine, compare it with LiteRT, write a report
	$(BIN)/tdsec $(DEMO)/mobilenet_v3_small.tflite -o $(DEMO)/out
	$(BIN)/tdse bench $(DEMO)/out
	$(BIN)/tdse report $(DEMO)/out

test: $(VENV)/installed ## Run the tests; PYTEST_ARGS="-k slice" chooses among them
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(PYTEST_ARGS)

# Python 3.10 with a TVM 0.16. The native libraries are of no version of Python: those that were built
# for the other tests are taken.
RELAY_PYTHON := python3.10
RELAY := build/relay
relay: $(RELAY)/installed ## Run the tests of the door into Relay; needs RELAY_PYTHON=python3.10
	$(RELAY)/bin/python -m pytest --quiet tests/conformance tests/relay tests/test_doors.py
	$(RELAY)/bin/python -m pytest --quiet tests/test_docs.py -k relay

$(RELAY)/installed: tests/relay/requirements.txt $(VENV)/installed
	$(RELAY_PYTHON) -m venv --clear $(RELAY)
	$(RELAY)/bin/python -m pip install --disable-pip-version-check --quiet \
		--requirement tests/relay/requirements.txt
	cp -r $(addprefix $(VENV)/lib/python3.11/site-packages/,tdse tdse_openvino tdse-*.dist-info) \
		$(RELAY)/lib/python3.10/site-packages/
	sed '1s|.*|#!$(CURDIR)/$(RELAY)/bin/python|' $(BIN)/tdsec > $(RELAY)/bin/tdsec
	chmod +x $(RELAY)/bin/tdsec
	touch $@

# For aarch64 where Debian's g++-aarch64-linux-gnu is installed; a line says so where it is not.
wheels: $(VENV)/dependencies ## Build the wheels of tdse-runtime, for boards, into dist
	$(BIN)/python packaging/wheels.py

# By directory: coverage.py would import the packages, and numpy with them, once too often.
COVERED := $(addprefix $(VENV)/lib/python3.11/site-packages/tdse/,graph platform search)
coverage: $(VENV)/installed ## Run the tests of graph, platform and search; fail below 90 % of lines
	$(BIN)/python -m pytest --quiet tests/graph tests/platform tests/search \
		$(addprefix --cov=,$(COVERED)) --cov-fail-under=90

# g++ 12's ThreadSanitizer does not start where the kernel spreads addresses widely.
FIXED_ADDRESSES = $(shell setarch --addr-no-randomize true 2> /dev/null && \
	echo setarch --addr-no-randomize)
CORE_TESTS := cmake -S . -G Ninja -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -DTDSE_CORE_TESTS=ON
sanitize: $(VENV)/dependencies ## Run the tests and the fuzz target of the C++ core under sanitizers
	$(CORE_TESTS) -B build/sanitize-address -DTDSE_SANITIZE=address,undefined
	cmake --build build/sanitize-address --target tdse_core_tests tdse_fuzz_plan_driver tdse_c_api_check
	build/sanitize-address/tdse_core_tests
	build/sanitize-address/tdse_fuzz_plan_driver
	$(CORE_TESTS) -B build/sanitize-thread -DTDSE_SANITIZE=thread
	cmake --build build/sanitize-thread --target tdse_core_tests
	$(FIXED_ADDRESSES) build/sanitize-thread/tdse_core_tests
	$(FIXED_ADDRESSES) cmake --build build/sanitize-thread --target tdse_c_api_check

FUZZ_SECONDS := 60
CLANG := clang++
fuzz: $(VENV)/dependencies ## Look for bugs in the plan parser with libFuzzer for FUZZ_SECONDS=60; needs CLANG=clang++
	$(CORE_TESTS) -B build/fuzz -DCMAKE_CXX_COMPILER=$(CLANG) -DTDSE_FUZZER=ON \
		-DTDSE_SANITIZE=address,undefined
	cmake --build build/fuzz --target tdse_fuzz_plan tdse_fuzz_plan_driver
	mkdir -p build/fuzz/corpus
	build/fuzz/tdse_fuzz_plan_driver --corpus build/fuzz/corpus
	build/fuzz/tdse_fuzz_plan -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=build/fuzz/ \
		build/fuzz/corpus

lint: $(VENV)/dependencies ## Check style and formatting
	$(BIN)/ruff check $(PYTHON_DIRECTORIES) setup.py
	$(BIN)/ruff format --check $(PYTHON_DIRECTORIES) setup.py
	$(BIN)/clang-format --dry-run --Werror $(CPP_FILES)

types: $(VENV)/dependencies ## Check type hints
	$(BIN)/mypy
	MYPYPATH=examples $(BIN)/mypy examples

format: $(VENV)/dependencies ## Format Python and C++
	$(BIN)/ruff check --fix-only $(PYTHON_DIRECTORIES) setup.py
	$(BIN)/ruff format $(PYTHON_DIRECTORIES) setup.py
	$(BIN)/clang-format -i $(CPP_FILES)

lock: ## Write requirements.lock anew from pyproject.toml
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python -m pip install --quiet pip==26.3 pip-tools==7.6.2
	build/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
		--extra dev --all-build-deps --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --output-file requirements.lock pyproject.toml

clean: ## Remove all that the other targets made
	rm -rf $(VENV) build dist

$(VENV)/dependencies: requirements.lock
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes \
		--requirement requirements.lock
	touch $@

# With what the lock file pinned, also for the build: nothing is fetched here. Setuptools would
# install what an earlier build left in build/lib*, also modules that are gone.
$(VENV)/installed: $(VENV)/dependencies $(INSTALLED_FILES)
	rm -rf build/lib*
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation \
		--force-reinstall .
	touch $@

$(DEMO)/mobilenet_v3_small.tflite: $(VENV)/dependencies $(shell find examples -name '*.py')
	$(BIN)/python examples/demo_model.py $@
