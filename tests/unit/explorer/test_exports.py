"""What leaves the explorer: a chip file, lines of Python, and a page without a process."""

import dataclasses
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from dse.cli import main
from dse.core.errors import SpecError
from dse.core.text import COMPOUND, SCALES
from dse.explorer.answers import total_speedup
from dse.explorer.app import PAGE
from dse.explorer.ask import ask_of
from dse.explorer.emitter import literal
from dse.explorer.javascript import EmitError, emit
from dse.explorer.offline import emitted, held, page_html
from dse.explorer.packing import grouped, layout, nested, packed
from dse.explorer.searches import fronts_in, servings_in, truth_in
from dse.explorer.subject import chip_file, data_on_device, power_limit_W, read_fastest, subject_of
from dse.hardware.presets import chip
from dse.optimize.space import own_plans, space_of
from dse.study.design import FREE
from dse.study.metrics import HEAT, METRICS, Limit, chip_state
from dse.study.study import load_study

from .conftest import SHIPPED, TINY

RANDOM = 1000
SAME = 1e-9
NODE = shutil.which("node")


@pytest.fixture(scope="module")
def moved(start):
    return {**start, "x": {**start["x"], "n_cores": 24.0, "n_stacks": 8.0, "hbm_capacity_B": 2.0**38}, "choice": 1}


def test_the_exported_chip_is_the_one_at_hand(ask, moved, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(ask("export", {**moved, "form": "toml"})[2])
    found = chip(path)
    assert {n: float(FREE[n](found)) for n in moved["x"]} == moved["x"]
    assert found.node == "N3P" and float(found.n_dies) == 2 and float(found.power_limit_W) == 700.0
    assert main(["chips", str(path)]) == 0


@pytest.mark.parametrize("kind", ["training", "inference"])
def test_single_predictions_that_ship_are_those_of_the_scores(kind):
    folder = SHIPPED / "validation" / f"{kind}-without-source"
    done = pd.read_parquet(folder.with_suffix(".parquet")).dropna(subset=["predicted_s"])
    error = (done.predicted_s / done.measured_s - 1).abs().groupby(done.source).median()
    scores = json.loads((folder / "scores.json").read_text())["sources"]
    assert error.to_dict() == pytest.approx({s["source"]: s["median_abs_err"] for s in scores if s["modelled"]})


@pytest.mark.slow
def test_other_commands_take_the_exported_chip(ask, moved, answers, tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text(ask("export", {**moved, "form": "toml"})[2])
    sizes = ["--batch", "64", "--context", "4096", "--weights", "fp8", "--kv", "fp8"]
    assert main(["evaluate", str(path), "llama-3.1-8b", "--phase", "decode", "--chips", "4", *sizes, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    work = answers.evaluate(ask_of(answers.subject, moved))["reading"]["works"][0]
    assert found["memory_B"] == work["memory_B"]
    # a chip of one's own is predicted by the fit of its family, a study's design by that of its baseline
    assert found["step_s"] == pytest.approx(work["step_s"], rel=0.02)


@pytest.mark.parametrize(("limits", "allowed_W"), [
    ([("power_W", "at_most", 700.0), ("power_W", "at_most", 500.0)], 500.0),
    ([("power_W", "at_least", 100.0)], 320.0),
    ([("hottest_operator_W", "at_most", 1800.0)], 1800.0),
    ([("hottest_operator_W", "at_most", 200.0)], 320.0),
])  # fmt: skip
def test_a_chip_may_draw_what_its_study_allows(answers, limits, allowed_W):
    """As a solved design: the power limit, else what it draws or is cooled for, never the baseline's."""
    made = tuple(Limit(*x) for x in limits)
    space = space_of(dataclasses.replace(answers.subject.study, limits=made))
    subject = subject_of(space, "x")
    assert power_limit_W(subject, subject.limits, [300.0, 320.0]) == allowed_W


def test_blank_silicon_leaves_with_the_chip(answers, moved, tmp_path):
    """Where heat asks for it, and where it was asked for; the file's chip has the area and the heat of the page's."""
    hot = Limit(HEAT, "at_most", 0.7)
    subject = subject_of(
        space_of(dataclasses.replace(answers.subject.study, limits=(*answers.subject.study.limits, hot))), "x"
    )
    for asked, least in ((0.0, 1.0), (5000.0, 5000.0)):
        ask = ask_of(subject, {**moved, "blank_mm2": asked})
        read, plans, _ = read_fastest(subject, ask.at, own_plans(subject.space))
        path = tmp_path / "mine.toml"
        path.write_text(chip_file(subject, ask.at, plans))
        state = chip_state(chip(path))
        assert float(state.chip.blank_mm2) == pytest.approx(read["blank_mm2"], rel=SAME) and read["blank_mm2"] >= least
        assert float(state.die_mm2) == pytest.approx(read["metrics"]["die_mm2"], rel=SAME)
        assert float(METRICS[HEAT](state)) <= 0.7 * (1 + SAME)


def test_exported_lines_give_the_same_numbers(ask, answers, moved, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny-explored.toml").write_text(ask("export", {**moved, "form": "python"} | {"form": "toml"})[2])
    exec(compile(ask("export", {**moved, "form": "python"})[2], "lines", "exec"), {})
    name, step_s, power_W = capsys.readouterr().out.split()
    work = answers.evaluate(ask_of(answers.subject, moved))["reading"]["works"][0]
    assert name == "decode" and float(step_s) == pytest.approx(work["step_s"], rel=1e-12)
    assert float(power_W) == pytest.approx(work["power_W"], rel=1e-12)


def test_other_forms_are_refused(ask, moved):
    assert ask("export", {**moved, "form": "exe"})[0] == 400


def test_rows_share_what_is_alike_in_them():
    """Two nodes and two links: four rows, of which each number stands twice; NaN and infinity are numbers too."""
    rows = np.asarray(
        [[3.0, 7.0, 1.0, np.inf], [3.0, 7.0, 2.0, np.inf], [5.0, np.nan, 1.0, np.inf], [5.0, np.nan, 2.0, 4.0]]
    )
    groups, of_group = grouped(rows)
    assert [g["at"] for g in groups] == [[0, 1], [2], [3]] and [len(g["values"]) for g in groups] == [2, 2, 2]
    again = np.full_like(rows, -1.0)
    for i, at in enumerate(of_group):
        for g, k in zip(groups, at, strict=True):
            again[i, g["at"]] = g["values"][k]
    np.testing.assert_array_equal(again, rows)
    assert grouped(np.zeros((3, 0)))[1].shape == (3, 0)


def test_packing_keeps_every_number():
    tree = {"a": [np.asarray(1.0), np.asarray([2.0, np.inf])], "b": {"c": np.asarray([[3.0, 4.0]])}}
    places = layout(tree)
    assert nested(places, np.asarray(packed(tree))) == {"a": [1.0, [2.0, None]], "b": {"c": [3.0, 4.0]}}


def test_numbers_are_written_to_the_last_bit():
    for value in (0.1, 1e300, 5e-324, -2.5, 2.0**53 + 2, 3.0):
        assert float(literal(value).strip("()")) == value
    assert literal(float("inf")) == "Infinity" and literal(float("nan")) == "NaN"


def test_an_operation_that_a_page_cannot_hold_is_named():
    with pytest.raises(EmitError, match="sort"):
        emit(lambda x: np.asarray(1.0) * __import__("jax").numpy.sort(x), 3)


@pytest.fixture(scope="module")
def script(answers):
    return script_of(answers.subject)


def script_of(subject):
    return emitted(subject, [own_plans(subject.space) for _ in subject.study.choices])


@pytest.mark.skipif(NODE is None, reason="no node here")
@pytest.mark.parametrize("hot", [False, True])
def test_javascript_equals_python_on_random_designs(answers, script, tmp_path, hot):
    """Also where a die must be so large that heat spreads."""
    s, rng = answers.subject, np.random.default_rng(0)
    if hot:
        s = subject_of(
            space_of(dataclasses.replace(s.study, limits=(*s.study.limits, Limit(HEAT, "at_most", 0.7)))), "x"
        )
        script = script_of(s)
    low, high = (np.asarray([getattr(f, end) for f in s.study.free]) for end in ("lower", "upper"))
    designs = low * (high / low) ** rng.random((RANDOM, len(low)))
    choices = rng.integers(0, len(s.study.choices), RANDOM)
    asked = [[*x, *s.limits, 0.0, *script.rows[c]] for x, c in zip(designs.tolist(), choices, strict=True)]
    tables = json.dumps([t.tolist() for t in script.script.tables])
    code = f"{script.script.code}\nconst D = {tables}.map((t) => Float64Array.from(t));\n"
    code += 'const asked = JSON.parse(require("fs").readFileSync(0));\n'
    code += "const read = (x) => Array.from(model(Float64Array.from(x, (v) => v ?? Infinity), D));\n"
    code += "console.log(JSON.stringify(asked.map(read)));"
    (tmp_path / "model.js").write_text(code)
    stdin = json.dumps([[None if v == np.inf else v for v in x] for x in asked])
    ran = subprocess.run([NODE, tmp_path / "model.js"], input=stdin, capture_output=True, text=True, check=True)
    theirs = np.asarray(json.loads(ran.stdout), dtype=float)
    mine = np.asarray([
        s.reads(x, data_on_device(s, int(c), own_plans(s.space))) for x, c in zip(designs, choices, strict=True)
    ])  # fmt: skip
    assert theirs.shape == mine.shape and np.isfinite(mine).all()
    assert hot == bool(np.median([nested(s.places, m)["blank_mm2"] for m in mine]) > 1.0)
    assert np.max(np.abs(theirs - mine) / scales(s.places, mine)) <= SAME


def scales(places, numbers):
    """What errors are compared with: the number, or a thousandth of the largest part of its stack.

    Empty silicon and what a power limit adds are differences of equal numbers, noise around zero.
    """
    found, at = np.abs(numbers), 0
    for place in places:
        mine = found[:, at : at + place.n_numbers]
        mine[:] = np.maximum(mine, 1e-3 * mine.max(axis=1, keepdims=True))
        at += place.n_numbers
    return np.where(found > 0, found, 1.0)


def test_the_page_loads_nothing_and_escapes_everything(answers, script, monkeypatch):
    monkeypatch.setitem(answers.state, "title", "</script><script>alert(1)</script>")
    html = page_html(script, held(answers, script))
    assert "</script><script>alert(1)" not in html and "\\u003c/script>\\u003cscript>alert(1)" in html
    outside = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert "default-src 'none'" in outside and not re.search(r"(?:src|href)=\"(?!data:|#)", outside)


def test_only_html_is_written(answers, tmp_path):
    from dse.explorer.offline import write_page

    with pytest.raises(SpecError, match=r"\.html"):
        write_page(answers, tmp_path / "page.txt")


def test_files_of_others_are_left_out_with_a_reason(answers, tmp_path):
    folder = tmp_path / "tiny" / "front_a_b"
    (tmp_path / "serve").mkdir()
    folder.mkdir(parents=True)
    (folder / "front.json").write_text('{"metrics": 3}')
    (tmp_path / "serve" / "x.json").write_text("[" * 5000)
    assert fronts_in(answers.subject, (tmp_path,))["fronts"] == []
    assert "not written by this version" in fronts_in(answers.subject, (tmp_path,))["skipped"][0]
    assert servings_in((tmp_path,))["servings"] == [] and len(servings_in((tmp_path,))["skipped"]) == 1
    assert truth_in((tmp_path,)) == {"kinds": [], "skipped": []}


def test_answers_that_lie_there_are_drawn(answers, results):
    assert {k["kind"] for k in truth_in((results,))["kinds"]} == {"training", "inference", "kernels", "collectives"}
    assert "trainium3" in servings_in((results,))["servings"][0]["chips"]
    front, _ = fronts_in(answers.subject, (results,))["fronts"]
    assert [p["choice"] for p in front["points"]] == [1, 1] and front["points"][1]["x"]["n_cores"] == 24.0


@pytest.mark.skipif(NODE is None, reason="no node here")
def test_every_operation_is_what_it_is_in_python():
    """One of each: reductions along axes, positions of extremes, choices, rearrangements, loops, products."""
    import jax
    import jax.numpy as jnp

    known = np.arange(6.0).reshape(2, 3)

    def every(x):
        a = x[:6].reshape(2, 3)
        looped = jax.lax.fori_loop(0, 4, lambda _, c: (c[0] * 0.5 + x[0], c[1] + c[0]), (x[1], a[0]))
        parts = [
            jnp.sum(a, axis=0), jnp.max(a * known, axis=1), jnp.argmax(a, axis=1).astype(float), jnp.min(a)[None],
            jnp.argmin(a, axis=0).astype(float), jnp.where(a > known, a, -a).ravel(), jnp.transpose(a)[::-1].ravel(),
            jnp.clip(a, 1.0, 2.0).ravel(), (a**3).ravel(), jnp.dot(x[:3], x[3:6])[None], jnp.stack([a, 2 * a]).ravel(),
            jnp.concatenate([a, known], axis=1).ravel(), looped[0][None], looped[1], jnp.exp(-a[:, :1]).ravel(),
            jnp.prod(a)[None], jnp.sqrt(jnp.square(a) + 1).ravel(), jnp.any(a > 4)[None].astype(float),
            a @ x[:3], a @ known.T @ a[:, :2].ravel()[:2], (a @ known.T).ravel(), jnp.einsum("ij,ij->i", a, a),
        ]  # fmt: skip
        return jnp.concatenate(parts)

    x = [0.3, 2.5, 1.7, 4.2, 0.9, 3.1]
    assert in_node(every, x) == pytest.approx(np.asarray(every(np.asarray(x))).tolist(), rel=1e-14)


def in_node(fun, x: list[float]) -> list[float]:
    """What the JavaScript of a function makes of numbers."""
    made = emit(fun, len(x))
    tables = json.dumps([t.tolist() for t in made.tables])
    code = f"{made.code}\nconst D={tables}.map((t) => Float64Array.from(t));"
    code += f"console.log(JSON.stringify(Array.from(model(Float64Array.from({x}), D))));"
    ran = subprocess.run([NODE, "-e", code], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


@pytest.mark.skipif(NODE is None, reason="no node here")
def test_a_column_and_a_row_make_a_matrix_and_a_number_becomes_whole():
    """Without a word of broadcasting in between: each entry of the matrix was made of the first of either.

    By hand: (2.7, -1.5) x (2.7, -1.5) = 7.29, -4.05, -4.05, 2.25; 2.7 and -1.5 without what is behind the point are 2
    and -1; both are something, so 1 and 1.
    """
    import jax.numpy as jnp

    def every(x):
        whole, something = (x.astype(kind).astype(float) for kind in (int, bool))
        return jnp.concatenate([(x[:, None] * x[None, :]).ravel(), whole, something])

    assert in_node(every, [2.7, -1.5]) == pytest.approx([7.29, -4.05, -4.05, 2.25, 2.0, -1.0, 1.0, 1.0], rel=1e-15)


def module(name: str, code: str) -> object:
    """What lines make of a module of the page, called `m`, and of the units of Python."""
    where = (PAGE / f"{name}.js").as_uri()
    begin = f'import * as m from "{where}"; const units = {json.dumps({"scales": SCALES, "compound": COMPOUND})};'
    told = f"{begin} console.log(JSON.stringify({code}));"
    ran = subprocess.run([NODE, "--input-type=module", "-e", told], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


@pytest.mark.skipif(NODE is None, reason="no node here")
def test_a_page_takes_units_as_they_are_written():
    """mW and MW differ in the size of a letter: "1.2 MW", as the page shows it, was read back as 1.2 mW."""
    asked = [("1.2 MW", "W"), ("5 mW", "W"), ("5 mw", "W"), ("7 w", "W"), ("2 MJ", "J"), ("2.1 ghz", "Hz")]
    taken = [1.2e6, 5e-3, None, 7.0, 2e6, 2.1e9]
    code = f"(m.learnUnits(units), {json.dumps(asked)}.map(([text, unit]) => m.parsed(text, unit, 1)))"
    assert module("text", code) == pytest.approx(taken)


@pytest.mark.skipif(NODE is None, reason="no node here")
def test_a_page_weighs_workloads_as_their_study_does():
    """2x and 8x at weights of 3 to 1: 2 to the (3 x 1 + 1 x 3) / 4 is 2.83; at equal ones 2 to the 4 / 2, as it was."""
    held = {"state": {"goal": "delivered_time", "shares": [0.75, 0.25]}}
    even = {"state": {"goal": "delivered_time", "shares": []}}
    both = module("source", f"{json.dumps([held, even])}.map((held) => m.meanSpeedup(held, [2, 8]))")
    assert both == pytest.approx([2**1.5, 4.0])


def test_a_chip_beside_the_design_weighs_workloads_too():
    study = load_study(TINY)
    (work,) = study.workloads.values()
    study = dataclasses.replace(study, workloads={"often": work, "seldom": work}, weights={"often": 3.0})
    assert total_speedup(study, np.ones(2), [2.0, 8.0]) == pytest.approx(2**1.5)
    assert total_speedup(study, np.ones(2), [2.0, None]) is None and total_speedup(study, np.ones(2), []) is None
