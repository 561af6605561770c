# Both commands of the README set up .venv by themselves, and only when it is out of date.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: parity test test-slow lint benchmark clean

parity: $(INSTALLED)
	$(BIN)/rosetta parity

# Two workers of one thread each: most tests are of small networks, and more threads than cores wait.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

test-slow: $(INSTALLED)
	$(BIN)/pytest -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

benchmark: $(INSTALLED)
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/port.py
	$(BIN)/python benchmarks/train.py

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv *.egg-info .pytest_cache .ruff_cache
