"""Tables and JSON of llama-bench (llama.cpp): a prompt, its tokens, or both, each timed on its own with one sequence.

A row becomes a time: `pp512` that of a prompt, `tg128` that of a token, `pp512+tg128` that of a request. Rows of a
prompt behind others (`pp512 @ d4096`) keep their rate and are refused by it.
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

TEST = re.compile(r"(?:pp(?P<prompt>\d+))?\s*\+?\s*(?:tg(?P<tokens>\d+))?\s*(?:@\s*d(?P<depth>\d+))?")
"""What a row timed, as its table prints it."""
FILE_TYPE = (
    r"^(?P<model>.+?)\s+(?P<precision>I?Q\d\w*|F16|BF16|F32|MXFP4\w*|all F32)(?:\s+MoE)?(?:\s+-\s+(?P<mix>\w+).*)?$"
)
"""A model and its storage, as llama.cpp prints them."""
MIXES = {"Small": "_s", "Medium": "_m", "Large": "_l"}
"""How a file's name says which matrices of a storage by blocks have more bits [ggml2026quantize]."""


def with_tests(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of llama-bench with lengths, batch, metric, value and unit in their columns; other tables as they are."""
    sizes: list[tuple[int, int, int]]
    if {"test", "t/s"} <= set(rows):
        found = [TEST.fullmatch(str(x).strip()) for x in rows["test"]]
        sizes = [(_count(m, "prompt"), _count(m, "tokens"), _count(m, "depth")) for m in found]
        rates = [re.sub(r"\s*(\u00b1|\+/?-).*", "", str(x)) for x in rows["t/s"]]
    elif {"n_prompt", "n_gen", "avg_ts"} <= set(rows):
        before = rows["n_depth"] if "n_depth" in rows else [0] * len(rows)
        sizes = [(int(p), int(t), int(d)) for p, t, d in zip(rows["n_prompt"], rows["n_gen"], before, strict=True)]
        rates = [str(x) for x in rows["avg_ts"]]
    else:
        return rows
    told = pd.DataFrame([_told(*size, rate) for size, rate in zip(sizes, rates, strict=True)], index=rows.index)
    return _stored(rows.drop(columns=[c for c in ("test", "t/s", "avg_ts") if c in rows])).assign(
        **{c: told[c] for c in told}, batch=1
    )


def _count(found: re.Match[str] | None, name: str) -> int:
    return int(found[name] or 0) if found else 0


def _told(n_prompt: int, n_tokens: int, n_before: int, rate: str) -> dict[str, Any]:
    """Lengths and time of a test, from tokens a second: of all that it reads and writes."""
    sizes = {"in_len": max(n_prompt or n_before, 1), "out_len": max(n_tokens, 1)}
    per_s = float(rate) if re.fullmatch(r"\d+(\.\d+)?", rate) else 0.0
    if per_s <= 0 or not (n_prompt or n_tokens) or (n_prompt and n_before):
        return sizes | {"metric": "throughput of a prompt behind others", "value": rate, "unit": "tok/s"}
    if n_prompt and n_tokens:
        return sizes | {"metric": "request_latency", "value": (n_prompt + n_tokens) / per_s, "unit": "s"}
    if n_prompt:
        return sizes | {"metric": "prefill_latency", "value": n_prompt / per_s, "unit": "s"}
    return sizes | {"metric": "tpot", "value": 1 / per_s, "unit": "s"}


def _stored(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose names of models are parted from those of their storage; llama.cpp's own are of no preset."""
    name = next((c for c in ("model_type", "model") if c in rows), None)
    parts = [re.fullmatch(FILE_TYPE, str(x).strip()) for x in rows[name]] if name else []
    if not any(parts):
        return rows
    # "llama 8B" is of any version: who runs it says which
    return rows.drop(columns=[c for c in ("model_type", "model") if c in rows]).assign(
        llama_cpp_model=[m["model"] if m else None for m in parts],
        precision=[_format(m) if m else None for m in parts],
    )


def _format(found: re.Match[str]) -> str:
    said = found["precision"].removeprefix("all ").lower()
    # of two bits the medium one is the plain name
    return said + ("" if said == "q2_k" and found["mix"] == "Medium" else MIXES.get(found["mix"] or "", ""))
