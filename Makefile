# `make demo` and `make test` each make the environment first; nothing else is needed on a fresh machine.
PYTHON ?= python3
CORES ?= all
BIN := .venv/bin

.PHONY: env demo slurm-demo test test-slow benchmark benchmark-scale benchmark-gpu lint format clean

env: .venv/.installed

.venv/.installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name one with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

demo: env # about 3 minutes on 2 cores; ends with results/demo/report.html
	$(BIN)/snakemake --cores $(CORES) --quiet rules host
	@echo "Open results/demo/report.html"

# The same demo through a private Slurm of two pretended nodes (Debian: slurm-wlm).
slurm-demo: env
	$(BIN)/python tests/slurm/cluster.py run $(BIN)/snakemake --workflow-profile profiles/slurm --quiet rules host \
	  --slurm-status-command squeue --slurm-init-seconds-before-status-checks 1 --slurm-no-account \
	  --set-threads train_model=1 train_single_pass=1 prepare_dataset=2
	@echo "Open results/demo/report.html"

test: env # about 9 minutes on 2 cores; a file's tests stay in one process, as they share what they made
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# About 8 minutes on 2 cores: a Slurm cluster goes through every fault, and the instrument is tested on real trainings.
test-slow: env
	$(BIN)/python -m pytest -m slow --numprocesses logical --maxprocesses 2 --dist loadfile

benchmark: env # about 10 minutes on 2 cores; prints a table of ratios with their spread
	PYTHONPATH=scripts $(BIN)/python tests/benchmarks/benchmark.py

benchmark-scale: env # about 5 minutes on 2 cores; seconds and memory against images, side, widths and jobs
	mkdir -p results
	PYTHONPATH=scripts $(BIN)/python tests/benchmarks/benchmark_scale.py --plot results/scale.png

benchmark-gpu: env # under 8 minutes on a machine with a GPU
	PYTHONPATH=scripts $(BIN)/python tests/benchmarks/benchmark_gpu.py

lint: env # 5 seconds; in a fresh clone the installation (5 GB, 2 to 5 minutes) comes first
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

clean: # what can be made again; keeps resources/ and .venv/
	rm -rf results logs benchmarks .snakemake .pytest_cache .ruff_cache .hypothesis
