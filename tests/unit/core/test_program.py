"""Programs kept whole between runs: the same numbers, found again only where everything is the same."""

import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.core import program as module
from dse.core.apart import apart
from dse.core.program import Program
from dse.physics.pipeline import cycle_ratio

MATRIX = np.asarray([[4.0, 1.0], [1.0, 3.0]])


def n_kept(kept_folder):
    return len(list(kept_folder.glob("*/*")))


def ours(fun):
    """`fun` as one of this package's, whose text is filed."""
    fun.__module__ = "dse.physics.step"
    return fun


def test_a_kept_program_gives_the_same_bits_and_is_not_traced_again(kept_folder):
    traced = []

    @ours
    def root(x, scale):
        traced.append(1)
        return {"root": jnp.linalg.cholesky(x) * scale}

    first = Program(root)(MATRIX, 2.0)
    again = Program(root)(MATRIX, 2.0)
    assert len(traced) == 1 and n_kept(kept_folder) == 1
    assert np.array_equal(first["root"], again["root"])
    assert np.array_equal(first["root"], jax.jit(root)(MATRIX, 2.0)["root"])


def test_other_shapes_and_other_static_numbers_are_other_programs(kept_folder):
    @ours
    def scaled(x, scale):
        return x * scale

    run = Program(scaled)
    for x in (np.ones(2), np.ones(3), np.ones(2, dtype=np.float32)):
        for scale in (1, 1.0, 2.0):
            assert np.array_equal(run(x, scale), np.asarray(x * scale))
    assert n_kept(kept_folder) == 9


def test_a_static_function_of_a_stranger_is_compiled_but_not_kept(kept_folder):
    run = Program(ours(lambda f, x: f(x)))
    assert float(run(lambda x: 2 * x, np.asarray(3.0))) == 6.0
    assert not kept_folder.exists()
    assert float(run(cycle_ratio, np.asarray(1.0))) == float(cycle_ratio(np.asarray(1.0)))
    assert n_kept(kept_folder) == 1


def test_a_program_inside_another_is_traced_into_it(kept_folder):
    inner = Program(ours(lambda x: x**2))
    assert float(jax.grad(lambda x: inner(x) + inner(x))(3.0)) == 12.0
    assert np.array_equal(jax.vmap(inner)(np.arange(3.0)), [0.0, 1.0, 4.0])


def test_a_program_is_made_once_however_many_ask_for_it(kept_folder):
    traced = []

    @ours
    def slow(x):
        traced.append(1)
        time.sleep(0.1)
        return x + 1

    run = Program(slow)
    asked = [apart(lambda: run.prepare(np.asarray(1.0))), *(apart(lambda: run(np.asarray(1.0))) for _ in range(3))]
    assert float(run(np.asarray(2.0))) == 3.0
    assert [a.result() is None for a in asked] == [True, False, False, False]
    assert len(traced) == 1 and n_kept(kept_folder) == 1
    assert jax.config.jax_enable_compilation_cache


def test_one_that_fails_tells_all_who_ask_and_may_be_asked_again(kept_folder):
    failing = [True]

    @ours
    def odd(x):
        if failing:
            raise ArithmeticError("odd")
        return x

    run = Program(odd)
    for _ in range(2):
        with pytest.raises(ArithmeticError, match="odd"):
            run(np.asarray(1.0))
    failing.clear()
    assert float(run(np.asarray(1.0))) == 1.0


def test_nothing_is_made_ahead_where_nothing_is_kept():
    run = Program(ours(lambda x: pytest.fail("traced")))
    run.prepare(np.asarray(1.0))


def test_a_program_that_does_not_load_is_compiled_anew(kept_folder, monkeypatch):
    run = ours(lambda x: x + 1)
    Program(run)(np.asarray(1.0))

    def broken(body):
        raise jax.errors.JaxRuntimeError("not of this machine")

    monkeypatch.setattr(module, "_loaded", broken)
    assert float(Program(run)(np.asarray(1.0))) == 2.0


def test_watched_programs_are_not_kept(kept_folder):
    with jax.debug_nans(True):
        assert float(Program(ours(lambda x: x + 1))(np.asarray(1.0))) == 2.0
    assert not kept_folder.exists()


def test_another_process_finds_a_program_with_linear_algebra(tmp_path):
    code = """
import sys, numpy as np
from pathlib import Path
from dse.core.kept import keep_in
keep_in(Path(sys.argv[1]))
import jax.numpy as jnp
from dse.core.program import Program
def root(x): return jnp.linalg.cholesky(x)
root.__module__ = "dse.physics.step"
print(np.asarray(Program(root)(np.asarray([[4.0, 1.0], [1.0, 3.0]]))).tolist())
"""
    said = [
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert said[0] == said[1] and n_kept(tmp_path) == 1
