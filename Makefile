PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: search test quick lint check browser examples clean

search: $(STAMP)  ## profile, train, search, finalize, export and report: the whole road on the digits example
	$(BIN)/nas search examples/digits.yaml

test: $(STAMP) browser lint  ## style, types and tests; where CI is set, the exhaustive ones too
	$(BIN)/python -m pytest -n 2 --dist worksteal

quick: $(STAMP)  ## the tests that take no longer than a few seconds each
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not exhaustive"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

browser:  ## the report's tests need Chromium; install it where that is possible, else they are skipped with a message
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } || \
	  echo "no Chromium found: the report's browser tests will be skipped"

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
