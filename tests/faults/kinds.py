"""Every fault on purpose: what is done, and what must come of it (the same bits as in peace, or one clear line)."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .bed import LIMIT_S, ROOT, STUDY, TWO, Bed, cluster, kill_client, kill_group, workers_of

Fault = Callable[[Bed, random.Random], str]
FAULTS: dict[str, Fault] = {}
KILLS = (
    "worker killed",
    "client killed",
    "everything killed",
    "scheduler killed",
    "front killed",
    "exact search killed",
)
"""Kinds whose moment is drawn, and which are repeated."""


def fault(name: str) -> Callable[[Fault], Fault]:
    return lambda made: FAULTS.setdefault(name, made)


def _begun(bed: Bed, dice: random.Random) -> subprocess.Popen:
    """A run on two workers, at a moment drawn at random."""
    shutil.rmtree(bed.folder / "broken", ignore_errors=True)
    run = bed.start(bed.command("broken", *TWO))
    bed.until(run, "broken", dice.randrange(1, bed.points // 64))
    time.sleep(dice.uniform(0, 0.5))
    return run


def _resumed(bed: Bed, dice: random.Random, results: str = "broken") -> str:
    bed.finish(results, "--resume", *dice.choice([(), TWO]))
    return bed.same(results)


@fault("worker killed")
def worker(bed, dice):
    run = _begun(bed, dice)
    alive = workers_of(run) if run.poll() is None else []
    if alive:
        dice.choice(alive).kill()
    assert run.wait(LIMIT_S) == 0, bed.said()[-3000:]
    return bed.same("broken")


@fault("client killed")
def client(bed, dice):
    run = _begun(bed, dice)
    if run.poll() is None:
        kill_client(run)
    return _resumed(bed, dice)


@fault("everything killed")
def everything(bed, dice):
    kill_group(_begun(bed, dice))
    return _resumed(bed, dice)


@fault("scheduler killed")
def scheduler(bed, dice):
    shutil.rmtree(bed.folder / "broken", ignore_errors=True)
    with cluster(bed) as (address, process):
        run = bed.start(bed.command("broken", "--engine", "dask", "--scheduler", address))
        bed.until(run, "broken", 1)
        kill_group(process)
        code = run.wait(LIMIT_S)
    said = bed.said().strip().splitlines()[-1]
    assert code == 0 or (code == 2 and "scheduler" in said and "go on with: dse sweep" in said), bed.said()[-3000:]
    assert "Traceback" not in bed.said(), bed.said()[-3000:]
    return _resumed(bed, dice)


def _front(bed: Bed, *flags: str) -> list[str]:
    where = ("--results", str(bed.folder / "front"), "--points", str(bed.front_points), "--no-figures", "--json")
    return [sys.executable, "-m", "dse.cli", "front", str(STUDY), *where, *flags]


@fault("front killed")
def front(bed, dice):
    shutil.rmtree(bed.folder / "front", ignore_errors=True)
    kept = bed.folder / "front.json"
    if not kept.exists():
        code, _ = bed.ask(_front(bed))
        assert code == 0, bed.said()[-2000:]
        kept.write_text(_answer(bed.said()))
        shutil.rmtree(bed.folder / "front")
    run = bed.start(_front(bed))
    begin = time.monotonic()
    while run.poll() is None and not list((bed.folder / "front").glob("*/*/points-*")):
        assert time.monotonic() - begin < LIMIT_S
        time.sleep(0.01)
    time.sleep(dice.uniform(0, 0.5))
    kill_group(run)
    code, _ = bed.ask(_front(bed, "--resume"))
    assert code == 0 and _answer(bed.said()) == kept.read_text(), bed.said()[-2000:]
    return "bit-identical"


def _answer(said: str) -> str:
    """The JSON among progress lines."""
    return said[said.index("{\n") : said.rindex("\n}") + 2]


@fault("exact search killed")
def exact(bed, dice):
    folder = bed.folder / "exact"
    shutil.rmtree(folder, ignore_errors=True)
    words = ("optimize", str(STUDY), "--gap", "0.1", "--seconds", "20", "--no-figures", "--results", str(folder))
    run = bed.start([sys.executable, "-m", "dse.cli", *words])
    begin = time.monotonic()
    while run.poll() is None and not bed.said():
        assert time.monotonic() - begin < LIMIT_S
        time.sleep(0.01)
    time.sleep(dice.uniform(0, 6))
    if dice.random() < 0.5:
        kill_group(run)
        left = [p.name for p in folder.glob("*/*")]
        assert set(left) <= {"solution.json", "manifest.json", "chip.toml"}, left
        return "nothing half written"
    run.send_signal(signal.SIGINT)
    code = run.wait(LIMIT_S)
    assert code in (0, 130) and "Traceback" not in bed.said(), bed.said()[-2000:]
    return "one line"


def _refused(bed: Bed, *told: str) -> None:
    """Reading the results is refused in one line with these words."""
    sql = ("query", "select count(*), sum(step_s) from results", str(bed.sweep("broken")))
    code, line = bed.ask([sys.executable, "-m", "dse.cli", *sql])
    assert code == 2 and all(word in line for word in told), line


def _flip(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


@fault("shard with a flipped bit")
def flipped_shard(bed, dice):
    path = dice.choice(bed.unmerged("broken"))
    whole = bytearray(path.read_bytes())
    whole[len(whole) - 20] ^= 1
    path.write_bytes(whole)
    _refused(bed, path.name, "damaged")
    _flip(path, dice)
    return _resumed(bed, dice)


@fault("result file with a flipped bit")
def flipped_result(bed, dice):
    shutil.rmtree(bed.folder / "broken", ignore_errors=True)
    shutil.copytree(bed.folder / "peace", bed.folder / "broken")
    _flip(bed.sweep("broken") / "results.parquet", dice)
    code = "import sys, dse; dse.results.load(sys.argv[1])"
    run = subprocess.run([sys.executable, "-c", code, bed.sweep("broken")], capture_output=True, cwd=ROOT, text=True)
    assert "damaged, it is not what was written" in run.stderr, run.stderr[-500:]
    return _resumed(bed, dice)


@fault("two shards swapped")
def swapped(bed, dice):
    first, second = dice.sample(bed.unmerged("broken"), 2)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    _refused(bed, "damaged")
    return _resumed(bed, dice)


@fault("shard missing")
def missing(bed, dice):
    dice.choice(bed.unmerged("broken")).unlink()
    return _resumed(bed, dice)


@fault("manifest deleted, shards of another seed left")
def foreign(bed, dice):
    bed.unmerged("broken")
    shutil.rmtree(bed.folder / "strange", ignore_errors=True)
    bed.ask(bed.command("strange", "--shard", "1/2", spec="other"))
    for path in bed.whole("strange"):
        shutil.copy(path, bed.sweep("broken") / "shards")
    (bed.sweep("broken") / "manifest.json").unlink()
    bed.finish("broken", "--resume")
    for path in bed.whole("broken"):
        path.unlink()  # those of the other seed: nobody else's files are removed for us
    return bed.same("broken")


@fault("manifest broken")
def manifest(bed, dice):
    bed.unmerged("broken")
    (bed.sweep("broken") / "manifest.json").write_text(dice.choice(["[]", "{", "[" * 100_000, ""]))
    _refused(bed, "manifest.json", "remove it and run the sweep with --resume")
    (bed.sweep("broken") / "manifest.json").unlink()
    return _resumed(bed, dice)


@fault("stray file among the shards")
def stray(bed, dice):
    (bed.unmerged("broken")[0].parent / "notes.txt").write_text("hello")
    bed.finish("broken", "--resume")
    return bed.same("broken")


@fault("disk full")
def full(bed, dice):
    bed.unmerged("broken")
    small = ["bash", "-c", "trap '' XFSZ; ulimit -f 2; exec \"$@\"", "small"]  # no file beyond 2 KiB
    code, line = bed.ask([*small, *bed.command("broken", "--resume")])
    assert code == 2 and "cannot be written" in line and "go on with: dse sweep" in line, line
    return _resumed(bed, dice)


@fault("disk read-only")
def read_only(bed, dice):
    place = bed.folder / "locked"
    if os.geteuid() == 0:  # to whom permissions mean nothing
        place = Path("/proc/self")
    else:
        place.mkdir(exist_ok=True)
        place.chmod(0o555)
    code, line = bed.ask([*bed.command("broken")[:-1], str(place)])
    assert code == 2 and "cannot be made" in line and "choose another --results" in line, line
    return "one line"


@fault("two writers")
def two(bed, dice):
    shutil.rmtree(bed.folder / "broken", ignore_errors=True)
    bed.unmerged("broken")
    runs = [bed.start(bed.command("broken", "--resume")) for _ in range(2)]
    assert [r.wait(LIMIT_S) for r in runs] == [0, 0], bed.said()[-2000:]
    return bed.same("broken")


def _other(bed: Bed, change: Callable[[Path], None], *told: str) -> str:
    """A worker that looks for packages in a folder of its own, as `change` fills it, is refused by name."""
    path = bed.folder / "elsewhere"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    change(path)
    shutil.rmtree(bed.folder / "broken", ignore_errors=True)
    with cluster(bed, path=path) as (address, _):
        code, line = bed.ask(bed.command("broken", "--engine", "dask", "--scheduler", address))
    assert code == 2 and "worker tcp://127.0.0.1:" in line and all(word in line for word in told), line
    assert not bed.whole("broken")
    return "one line"


@fault("worker of other code")
def other_code(bed, dice):
    def change(path: Path) -> None:
        shutil.copytree(ROOT / "dse", path / "dse", ignore=shutil.ignore_patterns("__pycache__"))
        with (path / "dse" / "physics" / "step.py").open("a") as file:
            file.write("\n# another idea\n")

    return _other(bed, change, "refused: it has other code")


@fault("worker with other data")
def other_data(bed, dice):
    def change(path: Path) -> None:
        shutil.copytree(ROOT / "dse", path / "dse", ignore=shutil.ignore_patterns("__pycache__"))
        with (path / "dse" / "hardware" / "data" / "chips.toml").open("a") as file:
            file.write("\n# a comment counts too\n")

    return _other(bed, change, "refused: it has other presets")


@fault("worker with another library version")
def other_library(bed, dice):
    def change(path: Path) -> None:
        (path / "scipy-0.0.1.dist-info").mkdir()
        (path / "scipy-0.0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: scipy\nVersion: 0.0.1\n")

    return _other(bed, change, "refused: it has other scipy 0.0.1 for")
