"""One warm session over the tiny study, and a way to ask it as a browser does, without a port."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from dse.explorer.app import Pages
from dse.explorer.session import Guard, study_answers
from dse.explorer.subject import first_chip

TINY = Path(__file__).parents[2] / "data" / "tiny.toml"
SHIPPED = Path(__file__).parents[3] / "results"
CHOICE = {
    "node": "N3P", "hbm": "HBM4", "link": "SerDes224G", "n_dies": 2, "pe_array": "128x128", "native_fp4": True,
    "spare_cores": 1, "fp8_rate": 0.0, "stack_capacity_B": 0.0,
}  # fmt: skip
NUMBERS = {"n_cores": 16.0, "n_stacks": 4.0, "hbm_bandwidth_Bps": 8e12, "hbm_capacity_B": 2.0**37}
FRONT = {
    "study": "tiny", "metrics": ["delivered_time", "package_cost_USD"], "worst_gap": 1e-8, "knee": 1,
    "points": [
        {"delivered_time": 0.9, "package_cost_USD": 5000.0, **CHOICE, **NUMBERS},
        {"delivered_time": 0.8, "package_cost_USD": 6500.0, **CHOICE, **NUMBERS, "n_cores": 24.0},
    ],
}  # fmt: skip
OF_THREE = {
    **FRONT, "metrics": [*FRONT["metrics"], "full_load_fp8_W"],
    "points": [{**p, "full_load_fp8_W": w} for p, w in zip(FRONT["points"], (500.0, 700.0), strict=True)],
}  # fmt: skip
RISK = {
    "study": "tiny", "samples": 100, "seed": 0, "target": 1.5, "probability": 0.3, "probability_error": 0.046,
    "feasible": 0.95, "in_the_way": {"power_W": 1.0},
    "merit_distribution": [0.0, 0.0, *(1 + i / 40 for i in range(39))],
    "drivers": [{"unknown": "node: pe_area_fp8_mm2", "group": "silicon", "rank_correlation": -0.6, "error": 0.1}],
}  # fmt: skip
TOKEN, PORT = "t" * 32, 8765


@pytest.fixture(scope="package")
def results(tmp_path_factory):
    """Answers of other commands: those that ship, and a front of two points."""
    root = tmp_path_factory.mktemp("results")
    for name in ("serve", "validation"):
        shutil.copytree(SHIPPED / name, root / name, ignore=shutil.ignore_patterns("*.png", "*.svg"))
    folder = root / "tiny" / "front_delivered_time_package_cost_USD"
    folder.mkdir(parents=True)
    (folder / "front.json").write_text(json.dumps(FRONT))
    (root / "tiny" / "front_three").mkdir()
    (root / "tiny" / "front_three" / "front.json").write_text(json.dumps(OF_THREE))
    (root / "tiny" / "risk.json").write_text(json.dumps(RISK))
    return root


@pytest.fixture(scope="package")
def answers(results):
    return study_answers(str(TINY), (results,), (), lambda _: None)


@pytest.fixture(scope="package")
def ask(answers):
    """`ask(path, body=None, token=..., **headers)` gives status, headers and text of the answer."""
    app = Guard(Pages(answers).app(), TOKEN, PORT)

    def asked(path, body=None, *, token=TOKEN, method=None, **headers):
        named = {"host": f"127.0.0.1:{PORT}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        place, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "",
            "method": method or ("GET" if body is None else "POST"), "raw_path": b"", "query_string": query.encode(),
            "path": f"/{token}/{place}" if token else f"/{place}", "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", PORT), "headers": [(k.encode(), v.encode()) for k, v in named.items() if v],
        }  # fmt: skip
        return asyncio.run(_answered(app, scope, body if isinstance(body, bytes) else json.dumps(body).encode()))

    return asked


async def _answered(app, scope, body):
    heard = []
    sent = False
    gone = asyncio.Event()

    async def receive():
        nonlocal sent
        if sent:
            await gone.wait()
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        heard.append(message)

    await asyncio.wait_for(app(scope, receive, send), 120)
    text = b"".join(m.get("body", b"") for m in heard).decode()
    headers = {k.decode(): v.decode() for k, v in heard[0]["headers"]}
    return heard[0]["status"], headers, text


@pytest.fixture(scope="package")
def start(answers):
    """What a page asks first."""
    at = first_chip(answers.subject)
    x = dict(zip([f.name for f in answers.subject.study.free], at.x.tolist(), strict=True))
    return {"x": x, "choice": at.choice}
