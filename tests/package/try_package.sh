#!/usr/bin/env bash
# The wheel and the sdist, built and installed outside the repository, answer as the README says: `make wheel-test`.
# BIN: programs of an environment with what the package needs and hatchling; nothing is fetched.
set -euo pipefail
bin=$(cd "$1" && pwd)
repository=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH

cd "$repository"
"$bin/python" -m hatchling build -d "$work/built" > /dev/null
packages=$("$bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')

cd "$work"
mkdir unpacked
tar -xzf built/*.tar.gz -C unpacked
(cd unpacked/* && "$bin/python" -m hatchling build -t wheel -d "$work/again" > /dev/null)
names() { "$bin/python" -c 'import sys, zipfile; print("\n".join(sorted(zipfile.ZipFile(sys.argv[1]).namelist())))' "$1"; }
cmp <(names built/*.whl) <(names again/*.whl)

# the libraries are those at hand; the package itself comes first, and from the wheel alone
"$bin/python" -m venv fresh
fresh/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index again/*.whl
echo "$packages" > "$(fresh/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/libraries.pth"

mkdir empty
cd empty
dse="$work/fresh/bin/dse"
where=$("$work/fresh/bin/python" -c 'import dse; print(dse.__file__)')
case "$where" in "$work/fresh/"*) ;; *) echo "dse comes from $where" >&2; exit 1 ;; esac
"$dse" --version > version.txt
grep -q '^dse ' version.txt
"$dse" optimize --help > help.txt
grep -q 'bare name' help.txt
"$dse" studies > studies.txt
grep -q '^dse optimize trainium4$' studies.txt
"$dse" cite trainium4 > cited.txt
grep -q '@' cited.txt
"$dse" evaluate h100 llama-3.1-8b > evaluated.txt
grep -q 'tokens' evaluated.txt
"$dse" new chip mine
"$dse" evaluate mine.toml llama-3.1-8b > /dev/null
"$dse" schema study > study.schema.json
test ! -e "$work/fresh/lib/python3.11/site-packages/sweeps"
echo "package: wheel and sdist answer outside the repository"
