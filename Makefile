# SPDX-License-Identifier: Apache-2.0
# Two commands matter: `make demo` and `make test`. All make their own environment in .venv.

PYTHON ?= python3
OUT ?= demo_out
VENV := .venv
BIN := $(VENV)/bin

# A shell with a ROS installation sourced would mix its Python packages with the wheels in .venv.
unexport PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH COLCON_PREFIX_PATH CMAKE_PREFIX_PATH
unexport LD_LIBRARY_PATH RMW_IMPLEMENTATION ROS_DISTRO _ROS_WHEELS_BOOTSTRAP_COMPLETE

PIP := $(BIN)/python -m pip install --disable-pip-version-check
PIP_FAILED := { echo "segmif_ros: pip failed (see above); check the network and free disk space," \
	"then run make again" >&2; exit 1; }
DEMO := $(if $(BAG),--bag "$(BAG)") $(if $(PAIRS),--pairs "$(PAIRS)") \
	$(if $(SEED),--seed "$(SEED)") $(if $(LIGHTING),--lighting "$(LIGHTING)") \
	$(if $(RATE),--rate "$(RATE)") $(if $(SECONDS),--seconds "$(SECONDS)") \
	$(if $(MODEL),--model "$(MODEL)") $(if $(ENGINE),--engine "$(ENGINE)") --out "$(OUT)" --force

CORE := $(addprefix test/,images thermal registration objects sync ros/node test_pairing.py \
	test_properties.py test_perceiver.py test_frames.py test_bundle.py test_buffers.py \
	test_documents.py test_parameters.py test_render.py test_outputs.py test_fuzz.py test_doors.py)

.PHONY: help demo test test-oldest coverage fuzz lint docs clean distclean
.DELETE_ON_ERROR:

help:
	@echo "make demo         run the whole chain and write pictures and figures to $(OUT)/"
	@echo "                  BAG=bag | PAIRS=folder   what the cameras send (default: a virtual road)"
	@echo "                  LIGHTING=day|dusk|night|glare|smoke|tour SEED=number   of the virtual road"
	@echo "                  RATE=hz SECONDS=s MODEL=folder ENGINE=name OUT=folder"
	@echo "make test         lint, types, all tests, and coverage"
	@echo "make test-oldest  all tests with every dependency at its lower bound, in $(VENV)-oldest"
	@echo "make coverage     branches of the core rooms that their own tests reach; fails below 92 %"
	@echo "make fuzz         mutated messages and files for SECONDS=60 (docs/reliability.md)"
	@echo "make lint         lint and types only"
	@echo "make docs         build/docs/index.html from docs/*.md; warnings are errors"
	@echo "make clean        remove what was built"
	@echo "make distclean    the same, and $(VENV)"
	@echo "PYTHON=...        chooses the interpreter (3.10 to 3.13) when $(VENV) is made"

demo: $(VENV)/.installed-demo
	@$(BIN)/segmif demo $(DEMO)

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not system'
	$(BIN)/python -m pytest -m system
	@$(MAKE) --no-print-directory coverage

coverage: $(VENV)/.installed-test
	$(BIN)/python -m coverage run -m pytest -q -m 'not system' $(CORE)
	$(BIN)/python -m coverage report

fuzz: $(VENV)/.installed-fuzz
	$(BIN)/python -m fuzz --seconds $(or $(SECONDS),60)

test-oldest: $(VENV)-oldest/.installed
	$(VENV)-oldest/bin/python -m pytest -n 2 --dist loadfile -m 'not system'
	$(VENV)-oldest/bin/python -m pytest -m system

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --jobs auto -c docs . build/docs
	@echo "open build/docs/index.html"

clean:
	rm -rf demo_out build dist install log *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(VENV)-oldest

$(BIN)/python:
	@sh scripts/check_machine.sh "$(PYTHON)"
	"$(PYTHON)" -m venv $(VENV)

# Editable, so that a change of the source takes effect without installing again.
$(VENV)/.installed-demo: setup.py pyproject.toml | $(BIN)/python
	@echo "installing what the demo needs into $(VENV) (a few minutes the first time)"
	$(PIP) --editable '.[ros,cpu]' || $(PIP_FAILED)
	@touch $@

$(VENV)/.installed-test: setup.py pyproject.toml | $(BIN)/python
	@echo "installing what the tests need into $(VENV) (with torch: some minutes the first time)"
	$(PIP) --editable '.[ros,cpu,train,cluster,test]' || $(PIP_FAILED)
	@touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-fuzz: $(VENV)/.installed-test
	$(PIP) --editable '.[fuzz]' || $(PIP_FAILED)
	@touch $@

$(VENV)-oldest/.installed: $(VENV)/.installed-test scripts/oldest.py
	"$(PYTHON)" -m venv $(VENV)-oldest
	$(BIN)/python scripts/oldest.py > $(VENV)-oldest/constraints.txt
	$(VENV)-oldest/bin/python -m pip install --disable-pip-version-check \
		--constraint $(VENV)-oldest/constraints.txt \
		--editable '.[ros,cpu,train,cluster,test]' || $(PIP_FAILED)
	@touch $@

$(VENV)/.installed-docs: setup.py pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[docs]' || $(PIP_FAILED)
	@touch $@
