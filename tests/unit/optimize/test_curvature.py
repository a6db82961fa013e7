"""The walker proves what is log-log convex, rejects what is not, and names the operation that breaks it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.core.smooth import overlapped, p_norm_max
from dse.optimize.curvature import curvature, curvature_batch
from dse.optimize.curvature_rules import Verdict

X = {"a": 1.0, "b": 1.0, "v": np.ones(3)}


def verdict(fn, coefficients=None):
    (result,) = curvature(fn, X, coefficients)
    return result


MONOMIALS = {
    "variable": lambda x: x["a"],
    "ratio": lambda x: 3.0 * x["a"] ** 1.5 / x["b"],
    "root": lambda x: jnp.sqrt(x["a"] * x["b"]),
    "reciprocal root": lambda x: jax.lax.rsqrt(x["a"]),
    "product": lambda x: jnp.prod(x["v"]),
    "slice": lambda x: x["v"][1],
    "traced slice": lambda x: jax.lax.dynamic_slice(x["v"], (jnp.asarray(1),), (1,))[0],
    "stop gradient": lambda x: jax.lax.stop_gradient(x["a"]),
}

CONVEX = {
    "posynomial": lambda x: 2.0 * x["a"] + x["b"] / x["a"] + 1.0,
    "power of posynomial": lambda x: (1.0 + x["a"] + x["b"]) ** 2.5,
    "p-norm, power of two": lambda x: p_norm_max(x["v"], 8.0),
    "p-norm, any power": lambda x: p_norm_max(x["v"], 3.0),
    "overlap": lambda x: overlapped(x["a"], x["b"], 0.3, 8.0),
    "maximum": lambda x: jnp.maximum(x["a"] + x["b"], x["b"] ** 2),
    "maximum over an axis": lambda x: jnp.max(x["v"]),
    "relu": lambda x: jax.nn.relu(x["a"]),
    "exponential": lambda x: jnp.exp(x["a"] + x["b"]) / x["a"],
    "exp - 1": lambda x: jnp.expm1(x["a"]),
    "two to the x": lambda x: 2.0 ** x["a"],
    "one over exp of minus": lambda x: x["b"] / jnp.exp(-x["a"] * 2.0 - x["b"]),
    "dot": lambda x: jnp.dot(jnp.ones((2, 3)), x["v"]),
    "mean": lambda x: jnp.mean(x["v"]),
    "running sum": lambda x: jnp.cumsum(x["v"]),
    "norm": lambda x: jnp.linalg.norm(x["v"]),
    "mask": lambda x: jnp.sum(jnp.where(jnp.asarray([True, False, True]), x["v"], 0.0)),
    "written into an array": lambda x: jnp.sum(jnp.zeros(3).at[1].set(x["a"])),
    "checkpointed": lambda x: jax.checkpoint(lambda y: y * y + 1.0)(x["a"]),
    "compiled": lambda x: jax.jit(lambda y: jnp.sum(y) + 1.0)(x["v"]),
    "difference of constants": lambda x: (3.0 - jnp.asarray(1.0)) * x["a"] + x["b"],
}

CONCAVE = {
    "one over a posynomial": lambda x: 1.0 / (1.0 + x["a"]),
    "minimum": lambda x: jnp.minimum(x["a"], x["b"]),
    "decay": lambda x: jnp.exp(-(x["a"] + x["b"])),
    "half to the x": lambda x: 0.5 ** x["a"],
}

REJECTED = {
    "subtraction": (lambda x: x["a"] - 0.1 * x["b"], "sub(", "subtracts"),
    "negative coefficient": (lambda x: x["a"] * -1.0 + 1.0, "add(", "negative"),
    "sigmoid": (lambda x: jax.nn.sigmoid(x["a"]), "logistic(", "no rule"),
    "ceiling": (lambda x: x["b"] * jnp.ceil(x["a"]), "ceil(", "no rule"),
    "log1p": (lambda x: jnp.log1p(x["a"]), "log1p(", "no rule"),
    "logarithm": (lambda x: jnp.log(x["a"]), "log(", "log of variables"),
    "concave in a sum": (lambda x: x["b"] + 1.0 / (1.0 + x["a"]), "add(", "concave"),
    "convex times concave": (lambda x: (1.0 + x["a"]) / (1.0 + x["b"]), "div(", "multiplies convex by concave"),
    "exp of concave": (lambda x: jnp.exp(1.0 / (1.0 + x["a"])), "exp(concave)", "exp of a concave"),
    "minimum of a sum": (lambda x: jnp.minimum(x["a"] + x["b"], 2.0), "min(", "convex"),
    "clip": (lambda x: jnp.clip(x["a"] + 1.0, 0.0, 2.0), "min(", "convex"),
    "branch": (lambda x: jnp.where(x["a"] > 1.0, x["a"], x["b"]), "gt(", "compares variables"),
    "loop": (lambda x: jax.lax.scan(lambda c, y: (c + y, c), 0.0, x["v"])[0], "scan(", "no rule"),
    "rounding": (lambda x: x["a"].astype(int).astype(float), "convert_element_type(", "no rule"),
    "order statistics": (lambda x: jnp.sort(x["v"]), "sort(", "no rule"),
    "x to the x": (lambda x: x["a"] ** x["b"], "pow(", "base and exponent"),
    "division by what may be zero": (lambda x: x["a"] / (0.0 * x["b"]), "div(", "may be zero"),
}


@pytest.mark.parametrize("name", MONOMIALS)
def test_monomials(name):
    assert verdict(MONOMIALS[name]).verdict is Verdict.MONOMIAL


@pytest.mark.parametrize("name", CONVEX)
def test_proves_convex(name):
    assert verdict(CONVEX[name]).verdict is Verdict.CONVEX, str(verdict(CONVEX[name]))


@pytest.mark.parametrize("name", CONCAVE)
def test_proves_concave(name):
    result = verdict(CONCAVE[name])
    assert result.verdict is Verdict.CONCAVE
    assert not result.is_convex


@pytest.mark.parametrize("name", REJECTED)
def test_rejects_and_names_the_operation(name):
    fn, operation, why = REJECTED[name]
    result = verdict(fn)
    assert result.verdict is Verdict.UNKNOWN
    assert operation in result.reason
    assert why in result.reason
    assert "test_curvature.py:" in str(result)


def test_constants_and_what_may_be_negative():
    assert verdict(lambda x: jnp.asarray(2.0)).verdict is Verdict.CONST
    assert not verdict(lambda x: jnp.asarray(-2.0)).is_convex
    assert not verdict(lambda x: -x["a"]).is_convex


def test_one_verdict_per_output():
    results = curvature(lambda x: (x["a"], {"t": x["a"] + 1.0, "u": x["a"] - 1.0}), X)
    assert [r.verdict for r in results] == [Verdict.MONOMIAL, Verdict.CONVEX, Verdict.UNKNOWN]


def test_positive_coefficients():
    c = np.asarray([2.0, 0.5])
    assert verdict(lambda x, c: c[0] * x["a"] / c[1], c).verdict is Verdict.MONOMIAL
    assert verdict(lambda x, c: x["a"] ** c[0] + 1.0, c).is_convex
    assert verdict(lambda x, c: jnp.exp(c[0] * x["a"]), c).is_convex


def test_coefficients_that_may_be_zero():
    c = np.asarray([2.0, 0.0])
    assert verdict(lambda x, c: c[0] * x["a"] + c[1] * x["b"] ** 2, c).is_convex
    assert verdict(lambda x, c: jnp.max(c) + x["a"], c).is_convex
    assert verdict(lambda x, c: (1.0 + c[0] * x["a"]) ** c[1], c).is_convex
    assert "division by a coefficient that may be zero" in verdict(lambda x, c: x["a"] / c[0], c).reason
    assert "division by a term that may be zero" in verdict(lambda x, c: x["a"] / (c[0] * x["b"]), c).reason


def test_coefficients_of_any_sign():
    c = np.asarray(-1.0)
    assert "unknown sign" in verdict(lambda x, c: c * x["a"], c).reason
    assert verdict(lambda x, c: jnp.exp(c) * x["a"], c).verdict is Verdict.MONOMIAL
    assert verdict(lambda x, c: x["a"] ** c, c).verdict is Verdict.MONOMIAL
    assert "exponent of unknown sign" in verdict(lambda x, c: (1.0 + x["a"]) ** c, c).reason


def test_proof_does_not_use_the_value_of_a_coefficient():
    # 3 - c is positive here, but not for every positive c.
    assert "unknown sign" in verdict(lambda x, c: (3.0 - c) * x["a"], np.asarray(2.0)).reason
    assert "either side of 1" in verdict(lambda x, c: (c + 0.5) ** x["a"], np.asarray(2.0) - 1.5).reason


def added(updates, places, size=1):
    return jnp.zeros(size).at[jnp.asarray(places)].add(updates)


def test_updates_that_meet_are_a_sum():
    """At places 0 and 0 both are added: 1 / (a + b) is concave in logs, and was proved to be a monomial."""
    both = lambda x: added(jnp.stack([x["a"], x["b"]]), [0, 0])[0]  # noqa: E731
    assert verdict(both).verdict is Verdict.CONVEX
    # three halves are 1.5, above 1, so that the second branch is taken: 1 / (a + b) again
    chosen = lambda x: jnp.where(added(jnp.full(3, 0.5), [0, 0, 0])[0] <= 1.0, x["a"], 1.0 / (x["a"] + x["b"]))  # noqa: E731
    assert verdict(chosen).verdict is Verdict.CONCAVE
    # the second of two places stays 0
    assert "may be zero" in verdict(lambda x: jnp.sum(x["b"] / added(x["a"][None], [0], 2))).reason


def test_two_negative_factors_are_positive():
    """(-f)(-g) = f g, so that exp of minus it falls: log-log concave, which was proved to be convex."""
    pair = lambda x: jnp.stack([x["a"] + x["b"], x["b"]])  # noqa: E731
    assert not verdict(lambda x: jnp.exp(-jnp.prod(-pair(x)))).is_convex


def test_a_sum_of_nothing_is_zero():
    assert "may be zero" in verdict(lambda x: x["a"] / jnp.sum(x["v"][:0])).reason


def test_fractions_and_counts():
    # A fraction leaves a nonnegative rest; a count of at least 1 has (n - 1)/n and 1 - 1/n nonnegative.
    eta, n = np.asarray(0.3), np.asarray(8)
    assert verdict(lambda x, c: overlapped(x["a"], x["b"], c, 8.0), eta).is_convex
    assert verdict(lambda x, c: (1.0 - 1.0 / c.astype(float)) * x["a"] + x["b"], n).is_convex
    assert verdict(lambda x, c: (c.astype(float) - 1.0) * x["a"] + x["b"], n).is_convex
    assert verdict(lambda x, c: c.astype(float) ** x["a"], n).is_convex


def test_flags_choose_between_terms():
    flag = np.asarray(True)
    assert verdict(lambda x, c: jnp.where(c, x["a"] + 1.0, x["b"]), flag).is_convex
    assert "side by side" in verdict(lambda x, c: jnp.where(c, x["a"] + 1.0, 1.0 / (1.0 + x["b"])), flag).reason


def test_program_leaves_are_not_coefficients():
    fn = lambda x, c: c["scale"] * x["a"] if c["name"] == "a" else x["a"] - x["b"]  # noqa: E731
    assert verdict(fn, {"name": "a", "scale": 2.0}).is_convex
    assert not verdict(fn, {"name": "b", "scale": 2.0}).is_convex


def test_batch_is_classified_over_all_its_elements():
    fn = lambda x, c: x["a"] / c["d"] + c["k"] @ x["v"]  # noqa: E731
    batch = {"d": np.asarray([1.0, 2.0]), "k": np.ones((2, 3))}
    assert curvature_batch(fn, X, batch)[0].is_convex
    batch["d"][1] = 0.0
    assert "may be zero" in curvature_batch(fn, X, batch)[0].reason
    batch["d"][1], batch["k"][1, 2] = 2.0, -1.0
    assert not curvature_batch(fn, X, batch)[0].is_convex


def test_small_chip_is_proved_and_its_hessian_agrees(chip):
    # The proof, and beside it the smallest eigenvalue of the log-space Hessian at random corners and points.
    assert [str(r) for r in curvature(chip.ratios, np.ones(12), chip.data()) if not r.is_convex] == []
    hess = jax.jit(jax.vmap(jax.hessian(lambda z: chip.fun(z, chip.data())[0])))
    rng = np.random.default_rng(0)
    share = np.concatenate([rng.random((40, 12)), rng.integers(0, 2, (40, 12))])
    lower, upper = np.asarray(chip.lower), np.asarray(chip.upper)
    values = np.linalg.eigvalsh(np.asarray(hess(jnp.asarray(lower + share * (upper - lower)))))
    assert values.min() > -1e-9
