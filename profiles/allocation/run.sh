#!/usr/bin/env bash
# One Slurm allocation of one GPU, many chains in it: sbatch profiles/allocation/run.sh CONFIGFILE ...
# Options of sbatch before the file change what it asks for. CHAINS_PER_GPU jobs (8) compute on the GPU at a time, through
# NVIDIA's MPS if the node has it; without, they take turns. Submit it again after its time limit: it goes on where it was.
#SBATCH --job-name=chains
#SBATCH --gpus=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64000
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=chains-%j.log
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: sbatch profiles/allocation/run.sh CONFIGFILE ..."; exit 2; }
cd "${SLURM_SUBMIT_DIR:-.}"
checkout=${CHECKOUT:-$PWD}
snakemake=${SNAKEMAKE:-$checkout/.venv/bin/snakemake}
if [ -n "${CUDA_VISIBLE_DEVICES:-}" ] && command -v nvidia-cuda-mps-control >/dev/null; then
  CUDA_MPS_PIPE_DIRECTORY=$(mktemp -d)
  export CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY=$CUDA_MPS_PIPE_DIRECTORY
  if nvidia-cuda-mps-control -d; then
    trap 'echo quit | nvidia-cuda-mps-control || true; rm -rf "$CUDA_MPS_PIPE_DIRECTORY"' EXIT # outside Slurm nobody else ends it
  else
    echo "MPS does not start; the jobs take turns"
  fi
fi
"$snakemake" --snakefile "$checkout/Snakefile" --workflow-profile "$checkout/profiles/allocation" \
  --cores "${SLURM_CPUS_PER_TASK:-all}" --resources "gpu=${CHAINS_PER_GPU:-8}" "mem_mb=${SLURM_MEM_PER_NODE:-64000}" \
  --configfile "$@" &
run=$!
trap 'trap "" TERM; kill -TERM 0' TERM # before the time limit: trainings stop at once, snakemake starts no more
wait $run || wait $run
