# Both commands of the README set up .venv by themselves, and only when it is out of date.
PYTHON ?= python3
BIN := .venv/bin
# What `make parity` needs, and what everything else needs beside it.
COMPARING := .venv/.comparing
INSTALLED := .venv/.installed

SPHINX := $(BIN)/sphinx-build -E -W --keep-going -n -b html
# mypy does not know that efficientnet_rosetta.common is the folder common: links say so.
TYPED := build/typed/efficientnet_rosetta

# On Linux, pip's default PyTorch brings several GB of CUDA along.  Where there is no NVIDIA GPU and
# uv is installed, uv chooses the build for CPUs.
comma := ,
define install
@echo "Installing efficientnet-rosetta[$(1)] into .venv; the first time takes some minutes."
@if command -v uv >/dev/null && ! command -v nvidia-smi >/dev/null \
	&& uv pip install --python $(BIN)/python --torch-backend cpu \
		--constraint constraints.txt --editable '.[$(1)]'; then :; \
else \
	$(BIN)/pip install --progress-bar off --constraint constraints.txt --editable '.[$(1)]' \
		| grep --line-buffered -E '^(Collecting|Installing|Successfully)'; \
	test "$${PIPESTATUS[0]}" = 0; \
fi
@touch $@
endef
SHELL := /bin/bash

# What the pages are made from; they are built again only where something in it is newer.
PAGES := build/docs/.built
PARTS := common torch_impl keras_impl efficientnet_rosetta parity_tests docs examples benchmarks .github
SOURCES := $(shell find $(wildcard $(PARTS)) -type f -not -name '*.pyc') README.md CHANGELOG.md CONTRIBUTING.md

.PHONY: parity test test-slow lint docs docs-check docs-test benchmark clean

parity: $(COMPARING)
	$(BIN)/rosetta parity

# Two workers of one thread each: most tests are of small networks, and more threads than cores wait.
# The linters and the pages take a core each.
test: $(INSTALLED)
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint docs
	OMP_NUM_THREADS=1 ROSETTA_SITE=build/docs $(BIN)/pytest -n 2 --dist loadfile

test-slow: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p $(TYPED)
	@for part in common torch_impl keras_impl; do ln -sfn $(CURDIR)/$$part $(TYPED)/$$part; done
	@for file in __init__.py __main__.py py.typed; do \
		ln -sf $(CURDIR)/efficientnet_rosetta/$$file $(TYPED)/$$file; done
	cd build/typed && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml \
		-p efficientnet_rosetta

# The pages: build/docs/index.html.
docs: $(PAGES)

$(PAGES): $(INSTALLED) $(SOURCES)
	rm -rf build/docs
	$(SPHINX) -q docs build/docs
	@touch $@

# Pages, links and excerpts by reading them.
docs-check: docs
	$(BIN)/python docs/_ext/check_site.py build/docs

# The rest in Chromium, which leaves pictures of the pages in build/pictures.
docs-test: docs-check
	rm -rf build/pictures
	OMP_NUM_THREADS=1 ROSETTA_SITE=build/docs ROSETTA_PICTURES=build/pictures \
		$(BIN)/pytest -n 2 -m "browser and not slow" parity_tests/site

# Those with a dash in front end with status 1 where a goal is missed, which does not stop the rest.
benchmark: $(INSTALLED)
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/port.py
	$(BIN)/python benchmarks/read.py
	$(BIN)/python benchmarks/train.py
	$(BIN)/python benchmarks/optimizer.py
	-$(BIN)/python benchmarks/keras_step.py
	-$(BIN)/python benchmarks/inference.py
	-$(BIN)/python benchmarks/gpu.py
	$(BIN)/python benchmarks/parity.py
	-$(BIN)/python benchmarks/guard.py

$(COMPARING): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(call install,torch$(comma)keras$(comma)onnx)

$(INSTALLED): $(COMPARING)
	$(call install,dev)

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .mypy_cache
