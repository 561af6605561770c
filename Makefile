# Both commands of the README set up .venv by themselves, and only when it is out of date.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

SPHINX := $(BIN)/sphinx-build -E -W --keep-going -n -b html

.PHONY: parity test test-slow lint docs docs-check docs-test benchmark clean

parity: $(INSTALLED)
	$(BIN)/rosetta parity

# Two workers of one thread each: most tests are of small networks, and more threads than cores wait.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

test-slow: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The pages: build/docs/index.html.
docs: $(INSTALLED)
	rm -rf build/docs
	$(SPHINX) -q docs build/docs

# Pages, links and excerpts by reading them.
docs-check: docs
	$(BIN)/python docs/_ext/check_site.py build/docs

# The rest in Chromium, which leaves pictures of the pages in build/pictures.
docs-test: docs-check
	rm -rf build/pictures
	OMP_NUM_THREADS=1 ROSETTA_SITE=build/docs ROSETTA_PICTURES=build/pictures \
		$(BIN)/pytest -m browser parity_tests/site

benchmark: $(INSTALLED)
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/port.py
	$(BIN)/python benchmarks/train.py

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache
