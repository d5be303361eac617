# Each target makes the environment it needs first; nothing else is needed on a fresh machine.
PYTHON ?= python3
CORES ?= all
BIN := .venv/bin
# uv installs the same versions in about half the time; without it pip does.
INSTALL := $(if $(shell command -v uv),uv pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet)

.PHONY: env dev demo slurm-demo test test-slow mutants simulate benchmark benchmark-scale benchmark-gpu lint format clean

env: .venv/.installed

.venv/.installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name one with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(INSTALL) --requirement requirements.txt
	touch $@

dev: .venv/.developed # what tests, benchmarks and lint need beside

.venv/.developed: .venv/.installed requirements-dev.txt
	$(INSTALL) --requirement requirements-dev.txt
	touch $@

demo: env # about 3 minutes on 2 cores; ends with results/demo/report.html
	$(BIN)/snakemake --cores $(CORES)
	@echo "Open results/demo/report.html"

# The same demo through a private Slurm of two pretended nodes (Debian: slurm-wlm).
slurm-demo: env
	$(BIN)/python tests/slurm/cluster.py run $(BIN)/snakemake --workflow-profile profiles/slurm --quiet rules host \
	  --slurm-status-command squeue --slurm-init-seconds-before-status-checks 1 --slurm-no-account \
	  --set-threads train_model=1 train_single_pass=1 prepare_dataset=2
	@echo "Open results/demo/report.html"

test: dev # about 8 minutes on 2 cores; a file's tests stay in one process, as they share what they made
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# About 17 minutes on 2 cores: a Slurm cluster goes through every fault, and the instrument is tested on real trainings.
test-slow: dev
	$(BIN)/python -m pytest -m slow --numprocesses logical --maxprocesses 2 --dist loadfile

mutants: dev # 2 to 5 minutes a change that nobody notices; goes on where it was stopped: make mutants MUTANTS="--wiring 50"
	OMP_NUM_THREADS=1 nice $(BIN)/python tests/mutants.py $(MUTANTS)

simulate: dev # about 15 minutes on one core; how often a whole verdict claims what is not there, and sees what is
	PYTHONPATH=scripts:tests $(BIN)/python tests/benchmarks/simulate_statistics.py

benchmark: dev # about 10 minutes on 2 cores; prints a table of ratios with their spread
	PYTHONPATH=scripts $(BIN)/python tests/benchmarks/benchmark.py

benchmark-scale: dev # about 5 minutes on 2 cores; seconds and memory against images, side, widths and jobs
	mkdir -p results
	PYTHONPATH=scripts $(BIN)/python tests/benchmarks/benchmark_scale.py --plot results/scale.png

benchmark-gpu: dev # under 8 minutes on a machine with a GPU
	PYTHONPATH=scripts $(BIN)/python tests/benchmarks/benchmark_gpu.py

lint: dev # 5 seconds; in a fresh clone the installation (5 GB, 2 to 5 minutes) comes first
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	# A function that one rule alone needs stands beside it; where Slurm's configuration is, the cluster says.
	! $(BIN)/snakemake --lint 2>&1 | grep '^    \* ' | grep -v -e 'Mixed rules and functions' -e 'Environment variable SLURM_CONF'

format: dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

clean: # what can be made again; keeps resources/ and .venv/
	rm -rf results logs benchmarks .snakemake .pytest_cache .ruff_cache .hypothesis
