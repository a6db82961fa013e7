#!/usr/bin/env bash
# A sweep as a Slurm array job: sbatch --array=0-7 sweeps/slurm_array.sh SPEC.toml /shared/results
# Every task takes one slice; the last to finish turns a small sweep into one file. Run it again to do what is left.
#SBATCH --job-name=dse-sweep
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail
specification=${1:?give SPEC.toml} results=${2:?give the shared results folder}
slice="$((SLURM_ARRAY_TASK_ID - ${SLURM_ARRAY_TASK_MIN:-0}))/${SLURM_ARRAY_TASK_COUNT:?run as an array job}"
exec "${DSE:-dse}" sweep "$specification" --results "$results" --shard "$slice"
