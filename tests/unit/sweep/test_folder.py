"""What a results folder gives away: rows of its own identity, undamaged; and what stands in it."""

import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dse
from dse.core.errors import SpecError
from dse.sweep.engine import local, plan_work, run
from dse.sweep.folder import Held, fingerprint, footer_fingerprint, shard_name, shards_of, status
from dse.sweep.seal import footer_of
from dse.sweep.spec import load_sweep
from dse.sweep.store import Failure, open_store

from .conftest import SMALL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The small sweep finished, and its three shards as they were before they became one file."""
    root = tmp_path_factory.mktemp("kept")
    (root / "small.toml").write_text(SMALL)
    store = open_store(load_sweep(root / "small.toml"), root)
    for _ in local(store, range(3)):
        pass
    shutil.copytree(store.folder, root / "shards")
    run(store, plan_work(store), local)
    return root


@pytest.fixture
def shards(kept, tmp_path):
    """A folder with three shards."""
    return shutil.copytree(kept / "shards", tmp_path / "small")


@pytest.fixture
def one_file(kept, tmp_path):
    """A folder with one file."""
    return shutil.copytree(kept / "small", tmp_path / "small")


def flipped(content: bytes, dice: random.Random) -> bytes:
    """`content` with one bit changed anywhere."""
    changed = bytearray(content)
    changed[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize("kind", ["one_file", "shards"])
def test_no_flipped_bit_changes_a_row(kind, request):
    """Before: 197 of 200 flips in results.parquet and 5 of 14 in a shard were read as if nothing had happened."""
    folder, dice = request.getfixturevalue(kind), random.Random(0)
    right = dse.results.load(folder)
    path = min(folder.glob("**/*.parquet"))
    whole, refused = path.read_bytes(), 0
    for _ in range(200):
        path.write_bytes(flipped(whole, dice))
        try:
            rows = dse.results.load(folder)
        except SpecError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert rows.equals(right)
    assert refused > 150  # the others hit bytes that mean nothing, such as statistics of a page
    path.write_bytes(whole)
    assert dse.results.load(folder).equals(right)


def test_swapped_shards_are_refused(shards):
    """Before: 14 of 14 swapped pairs were read in the wrong order."""
    first, second, _ = sorted((shards / "shards").iterdir())
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.raises(SpecError, match=r"damaged, it is not what was written; run the sweep again with --resume"):
        dse.results.load(shards)
    assert len(dse.results.load(shards, verify=False)) == 24
    assert status(shards)["damaged"] == 2
    with pytest.raises(SpecError, match="damaged"):
        dse.results.query("select count(*) from results", shards)
    assert dse.results.query("select count(*) n from results", shards, verify=False)["n"][0] == 24


def test_rows_of_two_specifications_are_not_mixed(shards, tmp_path):
    """Before: with the manifest deleted, rows of another seed were read beside those of the new one."""
    (shards / "manifest.json").unlink()
    (tmp_path / "other.toml").write_text(SMALL.replace("shard_points = 8", "seed = 7\nshard_points = 8"))
    store = open_store(load_sweep(tmp_path / "other.toml"), tmp_path, go_on=True)
    assert not store.present() and len(shards_of(shards, store.identity).foreign) == 3
    with pytest.raises(SpecError, match="no finished shards yet"):
        dse.results.load(shards)
    for _ in local(store, (1,)):
        pass
    assert list(dse.results.load(shards)["point"]) == list(range(8, 16))
    found = status(shards)
    assert (found["whole"], found["missing"], found["foreign"], found["finished"]) == (1, 2, 3, False)
    run(store, plan_work(store), local)
    clocks = dse.results.load(shards)["clock_Hz"]
    assert not np.array_equal(clocks, np.sort(clocks)) and len(clocks) == 24


def test_one_file_of_another_manifest_does_not_count(one_file):
    """Its digest is not in the new manifest."""
    manifest = json.loads((one_file / "manifest.json").read_text())
    del manifest["results_sha256"]
    (one_file / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SpecError, match="no finished shards yet"):
        dse.results.load(one_file)


@pytest.mark.parametrize("name", ["notes.txt", "abc.parquet", "copy of 000001.parquet", "000001.parquet", "٣.parquet"])
def test_a_stray_file_among_the_shards(shards, name):
    """Before: a name that does not begin with a number was a traceback."""
    (shards / "shards" / name).write_bytes(b"hello")
    assert len(dse.results.load(shards)) == 24
    sweep = load_sweep(_spec(shards))
    store = open_store(sweep, shards.parent, go_on=True)
    assert plan_work(store).todo == () and status(shards)["foreign"] == 1


def _spec(folder):
    path = folder.parent / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "no manifest of a sweep; remove it"),
        ("7", "no manifest of a sweep"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 300 + "1" + "}" * 300, "nested too deeply"),
        ("{", "not valid JSON"),
        ("\udcff", "not UTF-8 text"),
    ],
)
def test_a_manifest_that_is_none(shards, text, told):
    (shards / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    for ask in (dse.results.load, status, lambda f: open_store(load_sweep(_spec(f)), f.parent, go_on=True)):
        with pytest.raises(SpecError, match=told) as error:
            ask(shards)
        assert "\n" not in str(error.value)


def test_a_name_tells_bytes_and_footer(tmp_path):
    """A file's footer is its last bytes: 8 of them say how many."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1.0, 2.0]}), sink)
    content = sink.getvalue()
    (tmp_path / "x.parquet").write_bytes(content)
    footer = footer_of(tmp_path / "x.parquet")
    Held(tmp_path / "x.parquet", footer=footer_fingerprint(content)).check_footer(footer)
    with pytest.raises(SpecError, match="damaged"):
        Held(tmp_path / "x.parquet", footer=fingerprint(content)).check_footer(footer)
    name = shard_name("identity", 12, content)
    assert name.startswith("000012-")
    assert name.endswith(f"-{fingerprint(content)}-{footer_fingerprint(content)}.parquet")


def test_checking_costs_little(tmp_path):
    """At most 5 % of the read of all rows, in processor time: the least of many readings each."""
    dice, n = np.random.default_rng(0), 400_000
    columns = {f"c{i}": dice.random(n) for i in range(8)}
    columns |= {"point": np.arange(n), "plan": np.asarray(["tp=2,pp=1,dp=4", "tp=8"])[dice.integers(0, 2, n)]}
    columns |= {"ok": np.ones(n, dtype=bool), "reason": np.full(n, "")}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd", write_page_checksum=True)
    content = sink.getvalue().to_pybytes()
    check_s, read_s = [], []
    for _ in range(20):
        begin = time.process_time()
        fingerprint(content)
        check_s.append(time.process_time() - begin)
        begin = time.process_time()
        pq.read_table(pa.BufferReader(content)).to_pandas()
        read_s.append(time.process_time() - begin)
    assert min(check_s) <= 0.05 * min(read_s)


def test_status_tells_what_was_given_up(shards, tmp_path):
    store = open_store(load_sweep(_spec(shards)), tmp_path, go_on=True)
    store.path(1).unlink()
    store.note(Failure(1, "KilledWorker: no memory"))
    found = status(shards)
    assert found["given_up"] == [
        {"shard": 1, "reason": "KilledWorker: no memory", "date": found["given_up"][0]["date"]}
    ]
    assert (found["rows"], found["failed"], found["missing"], found["finished"]) == (16, 0, 1, False)
    run(store, plan_work(store), local)
    done = status(shards)
    assert done["given_up"] == [] and done["finished"] and done["rows"] == 24 and done["whole"] == 3


def test_status_of_a_finished_sweep(one_file):
    found = status(one_file)
    assert found["finished"] and found["rows"] == found["points"] == 24 and found["missing"] == found["damaged"] == 0
    (one_file / "results.parquet").write_bytes(b"PAR1")
    assert not status(one_file)["finished"] and status(one_file)["damaged"] == 1


HOSTILE = {
    "select * from '/etc/passwd'": "does not exist",
    "select * from read_text('/etc/passwd')": "disabled",
    "select * from read_csv('/etc/passwd')": "disabled",
    "select * from glob('/*')": "disabled",
    "select * from sniff_csv('/etc/passwd')": "disabled",
    "copy (select 1) to '/tmp/x'": "COPY given",
    "copy results to '/tmp/x.parquet'": "COPY given",
    "attach '/tmp/x.db'": "ATTACH given",
    "install httpfs": "given; results are only read",
    "load httpfs": "LOAD given",
    "set enable_external_access = true": "SET given",
    "reset lock_configuration": "given; results are only read",
    "create table x as select 1": "CREATE given",
    "drop view results": "DROP given",
    "export database '/tmp/x'": "EXPORT given",
    "pragma database_list": "PRAGMA given",
    "select 1; drop view results": "SELECT and DROP given",
    "select * from rows": "does not exist",
    "select * from duckdb_secrets()": "disabled",
    "update extensions": "another statement given",
    "explain analyze create table x as select 1": "CREATE given",
    "explain /* */ analyze drop view results": "syntax error",
    "/**/ explain drop view results": "EXPLAIN given",
    "explain select 1; drop view results": "EXPLAIN and DROP given",
    "": "is empty",
}


@pytest.mark.parametrize("sql", HOSTILE)
def test_a_query_reads_the_results_and_nothing_else(one_file, sql):
    """Before: a query could write, attach, read any file and install extensions."""
    before = sorted(one_file.glob("**/*"))
    with pytest.raises(SpecError, match=r"query: ") as error:
        dse.results.query(sql, one_file)
    assert HOSTILE[sql].lower() in str(error.value).lower() and "\n" not in str(error.value)
    assert sorted(one_file.glob("**/*")) == before


@pytest.mark.parametrize("delay_s", [0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
def test_ctrl_c_stops_a_query(one_file, delay_s):
    """Before: DuckDB made an error of its own of it, and Python a traceback; of every two, one was lost."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins without one
    timer = threading.Timer(delay_s, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            dse.results.query("select sum(a.range * b.range % 7) from range(10000000) a, range(1000000) b", one_file)
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_query_that_does_not_look_for_it(one_file):
    """One call of one function of SQL, of minutes. Before: the program waited for its end, also after the second."""
    code = (
        "import os, signal, sys, threading\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.argv = ['dse', 'query', sys.argv[1], sys.argv[2]]\n"
        "threading.Timer(4.0, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "from dse.cli import entry\n"
        "sys.exit(entry())\n"
    )
    sql = "select levenshtein(repeat('a', 300000), repeat('b', 300000)) from results"
    run = subprocess.run(
        [sys.executable, "-c", code, sql, str(one_file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "dse: interrupted\n")


def test_a_query_may_use_all_of_a_select(one_file):
    sql = "with best as (select plan, min(step_s) s from results group by 1) select * from best where s > 0 order by s"
    assert len(dse.results.query(sql, one_file)) == 2
    for ask in ("explain select 1", "EXPLAIN ANALYZE select 1", "explain (format json) select 1"):
        assert len(dse.results.query(ask, one_file)) > 0
