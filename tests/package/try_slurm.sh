#!/usr/bin/env bash
# The recipe for Slurm on a real Slurm of one node, made here and now: `make slurm-test`, as root, after
# `apt-get install slurm-wlm munge`. Eight tasks, of which one is killed and queued again: the bits of one process.
# BIN: programs of an environment with what the package needs. Nothing of the machine's own Slurm is touched.
set -euo pipefail
bin=$(cd "$1" && pwd)
repository=$(cd "$(dirname "$0")/../.." && pwd)
for program in munged mungekey slurmctld slurmd sbatch; do
    command -v "$program" > /dev/null || { echo "slurm-test: $program is missing: apt-get install slurm-wlm munge" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "slurm-test: slurmd starts programs of others, so it needs root" >&2; exit 2; }
work=$(mktemp -d /tmp/dse-slurm-XXXXXX)
end() {
    for name in slurmctld slurmd munged; do
        if [ -s "$work/$name.pid" ]; then kill "$(cat "$work/$name.pid")" 2> /dev/null || true; fi
    done
    sleep 1
    rm -rf "$work"
}
trap end EXIT
host=$(hostname -s)
export SLURM_CONF="$work/slurm.conf"
mkdir "$work/state" "$work/spool"
chmod 755 "$work"
cat > "$SLURM_CONF" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
AuthInfo=socket=$work/munge.socket
SlurmUser=root
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
JobRequeue=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(($(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1100))
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
(umask 077; mungekey --create --keyfile "$work/munge.key")
munged --socket="$work/munge.socket" --key-file="$work/munge.key" --pid-file="$work/munged.pid" \
    --log-file="$work/munged.log" --seed-file="$work/munged.seed"
slurmctld
slurmd
for _ in $(seq 60); do sinfo -h -o %t 2> /dev/null | grep -q idle && break || sleep 1; done
sinfo -h -o %t | grep -q idle || { cat "$work"/*.log >&2; exit 1; }

cd "$work"
"$bin/python" - > crash.toml <<PY
import sys
sys.path.insert(0, "$repository")
from tests.faults.bed import SPEC
print(SPEC.format(seed=0, points=1024))
PY
printf '#!/bin/sh\nexec %s -m dse.cli "$@"\n' "$bin/python" > dse
chmod 755 dse
export DSE="$work/dse" PYTHONPATH="$repository"
./dse sweep crash.toml --results alone > /dev/null 2>&1
job=$(sbatch --parsable --array=0-7 "$repository/sweeps/slurm_array.sh" "$work/crash.toml" "$work/shared")
for _ in $(seq 120); do [ -n "$(ls shared/crash/shards 2> /dev/null)" ] && break || sleep 0.5; done
running=$(squeue -h -t R -o %i | tail -1)
scontrol requeue "$running"
for _ in $(seq 600); do [ -z "$(squeue -h)" ] && break || sleep 1; done
[ -z "$(squeue -h)" ] || { squeue >&2; exit 1; }
cmp alone/crash/results.parquet shared/crash/results.parquet
echo "slurm: $(slurmd -V), array job $job of 8 tasks, $running killed and queued again: the bits of one process"
