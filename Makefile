# make setup   virtual environment with everything that developing needs
# make test    the tests that need no real server
# make check   formatting, types, layers, generated documents
# make proof   everything, on a real vLLM on the CPU too (minutes)
# make docs    write the generated documents
# make wheelhouse  wheels for an offline install (PYTHONS, PLATFORMS)
# make lock    write the pinned versions that tests run with

PYTHON ?= python3
VENV ?= .venv
VLLM_VENV ?= .venv-vllm
LMMS_VENV ?= .venv-lmms
RAY_VENV ?= .venv-ray
AUDIT_VENV ?= .venv-audit
PINS ?= tools/constraints-latest.txt
BIN := $(VENV)/bin
JOBS ?= 2

# make test-page  the report's page in a real headless Chromium
# make recorded  write docs/recorded.md from the tests on recorded answers
# make test-faults  every fault tried for real; writes docs/fault-matrix.md
# make fuzz    every parser of foreign input, FUZZ_EXAMPLES spoiled inputs each
# make audit   known vulnerabilities in the pinned packages
# make sbom    what a wheel brings, as dist/sbom.cdx.json (CycloneDX)
.PHONY: setup fuzz audit sbom test recorded check proof docs wheelhouse lock test-vllm test-lmms test-ray test-install \
	test-page test-faults clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml $(PINS) tools/setup.sh
	tools/setup.sh "$(PYTHON)" "$(VENV)" "$(PINS)"

# ALSO="and not once" leaves out what takes long and hangs on no package's version.
test: setup
	$(BIN)/python -m pytest -n $(JOBS) \
		-m "not vllm and not install and not lmms and not ray and not browser and not faults $(ALSO)"

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/make_docs.py --check

# A real vLLM: an environment of its own (2.5 GB), then start, ask, kill, resume, compare.
test-vllm: setup
	tools/with_vllm.sh "$(VLLM_VENV)" $(BIN)/python -m pytest -m vllm

# lmms-eval's own tasks: an environment of its own (1.7 GB with a CPU build of torch).
test-lmms:
	tools/with_lmms.sh "$(LMMS_VENV)" -m lmms tests/integration

# Shards on a real Ray of this machine: an environment of its own (0.9 GB).
test-ray:
	tools/with_ray.sh "$(RAY_VENV)" -m ray tests/integration

# The report's page in a real browser: needs Chromium (apt-get install chromium).
test-page: setup
	$(BIN)/python -m pip install --quiet --group browser
	$(BIN)/python -m pytest -m browser

# Wheels, an offline install beside a vendor's packages, the same from an sdist.
test-install: setup
	$(BIN)/python -m pytest -m install

# Every fault in tests/faults/ (minutes), and the table of what each did.
test-faults: setup
	$(BIN)/python -m pytest tests/faults --fault-table docs/fault-matrix.md

# The fixed budget is a number of inputs: about six minutes on two cores.
FUZZ_EXAMPLES ?= 3000
fuzz: setup
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest -n $(JOBS) tests/fuzz

# Says NOT RUN where no vulnerability service answers, which a mirror of PyPI need not do.
audit:
	tools/audit.sh "$(AUDIT_VENV)"

sbom:
	tools/sbom.sh "$(AUDIT_VENV)" dist/sbom.cdx.json

proof: check test test-faults test-install test-page test-lmms test-ray test-vllm

# Needs the recorded answers (FLAGOS_EVAL_TEST_DATA, or ../shared/data).
recorded: setup
	$(BIN)/python -m pytest -q tests/recorded --table docs/recorded.md

docs: setup
	$(BIN)/python tools/make_docs.py

wheelhouse: setup
	tools/wheelhouse.sh "$(BIN)/python" .wheelhouse

lock:
	tools/lock.sh

clean:
	rm -rf .venv .venv-* .wheelhouse build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
