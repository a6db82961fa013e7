"""Normalisation of users' tables: other spellings of metrics, units and collectives.

A cell that is not a number (see `digits`) excludes its row, with the cell as the reason.
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from .columns import CAMEL
from .digits import with_plain_numbers
from .published_models import with_sizes
from .rates import SECONDS, named_flow, rate

METRICS = {
    "time_to_first_token": "ttft", "first_token_latency": "ttft", "time_per_output_token": "tpot", "itl": "tpot",
    "inter_token_latency": "tpot", "e2e_latency": "request_latency", "end_to_end_latency": "request_latency",
    "e2e": "request_latency", "e2el": "request_latency", "total_latency": "request_latency", "tbt": "tpot",
    "iteration_time": "step_time", "step_latency": "step_time", "time_per_step": "step_time",
    "elapsed_time_per_iteration": "step_time", "train_step_timing": "step_time",
    "tps": "throughput", "request_throughput": "throughput", "output_token_throughput": "output_throughput",
    "throughput_per_gpu": "throughput_per_chip", "throughput_per_device": "throughput_per_chip",
    "bus_bandwidth": "busbw", "bus_bw": "busbw", "algorithm_bandwidth": "algbw", "alg_bw": "algbw",
    "performance": "throughput", "rps": "throughput", "latency_per_token": "latency_per_token",
    **dict.fromkeys(("prefill", "prefill_time", "prefill_latency"), "prefill_latency"),
    # of a token where the unit says so, else of nobody knows how many
    **dict.fromkeys(("decode", "decode_time", "decode_latency"), "decode_latency"),
    "duration": "time", "runtime": "time", "time": "time", "latency": "latency",  "computation": "throughput",
}  # fmt: skip
"""Metrics under other names, small letters joined by underscores."""
UNITS = {
    "request_throughput": "req/s", "rps": "req/s", "output_throughput": "tok/s", "output_token_throughput": "tok/s",
    **dict.fromkeys(("busbw", "bus_bandwidth", "bus_bw", "algbw", "algorithm_bandwidth", "alg_bw"), "GB/s"),
}  # fmt: skip
"""What rates count by their names, where no unit is told: serving benchmarks and nccl-tests print them so."""
TOTAL = r"^(?:total|input\s*\+\s*output|in\s*\+\s*out)[\s_]+(?=tok)"
"""Words before tokens of which prompts are counted too."""
TIMES = {
    "milliseconds": "ms", "millisecond": "ms", "msecs": "ms", "microseconds": "us", "microsecond": "us", "usec": "us",
    "nanoseconds": "ns", "second": "s", "secs": "s", "hr": "h", "hrs": "h", "hour": "h", "mins": "min",
}  # fmt: skip
"""Units of time under other names, in small letters."""
RATES = {"tflops/s": "TFLOP/s", "tflops": "TFLOP/s", "tflop/s": "TFLOP/s", "pflops": "PFLOP/s", "pflop/s": "PFLOP/s",
         "gflops": "GFLOP/s", "gflop/s": "GFLOP/s", "tps": "tps", "tgs": "tok/s/gpu"}  # fmt: skip
"""Rates under other names, in small letters; those of bits and bytes differ by case alone and stay."""
EACH = r"\btps\s*(?:/|_?\bper\b_?|_per_)\s*"
"""What stands before the chip in "TPS/GPU"."""
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv")
PER_SECOND = r"\s*(/|\bper\b)\s*sec(ond)?s?\b"
PER_ONE = r"\s*(/|\bper\b)\s*(tok|token|output token|step|it|iter|iteration|request|req)$"
"""What a time is of, which its metric says too."""
MIDDLE = ("p50", "median", "mean", "")
"""Statistics of the middle, in the order in which one stands for a point; tails come last."""
STATISTICS = {"avg": "mean", "average": "mean"}


def middle_rank(stat: str) -> int:
    """Place of a statistic among those that may stand for a point, the first before the others."""
    return MIDDLE.index(stat) if stat in MIDDLE else len(MIDDLE)


def metric_word(said: str) -> str:
    """A metric in small letters joined by underscores, under its usual name."""
    word = re.sub(r"[\s-]+", "_", said.strip().lower())
    return METRICS.get(word, word)


STATISTIC = r"mean|median|avg|average|p\d{2}"
PARTED = rf"(?:({STATISTIC})_)?(.+?)(?:_({STATISTIC}))?(?:_(ms|us|s|sec|seconds|gb/s))?"
"""A metric with its statistic before or behind it and its unit last, as benchmarks of serving stacks name columns."""
IN_UNIT = r"[\s_]in[\s_](ms|s|sec|seconds|milliseconds|us)$"
"""A unit behind a name in words, as "TTFT in ms"."""
BRACKETS = r"(.+?)[\s_]*[(\[]([^()\[\]]+)[)\]]"
"""A name with its unit or statistic in brackets."""


def _flow(name: str) -> tuple[str, str, str] | None:
    """Metric, statistic and unit of the name of a rate that says whose it is; None for another name."""
    found = re.fullmatch(rf"(?:({STATISTIC})_)?(.+?)(?:_({STATISTIC}))?", re.sub(r"[\s-]+", "_", name.lower()))
    told = named_flow(re.sub(r"_?/_?", "/", found[2])) if found else None
    return (told[0], plain_word(found[1] or found[3] or ""), told[1]) if found and told else None


def _by_unit(name: str, unit: str, stat: str) -> tuple[str, str, str] | None:
    """Metric, statistic and unit of a name that is a unit itself, or a rate; None for another."""
    if name.lower() in RATES:
        return "throughput", "", unit_word(unit or name)
    if STEP_TIME.fullmatch(name.lower()):
        return "step_time", plain_word(stat), unit_word(re.split(r"[/_ ]", name.lower())[0])
    if name in TIME_UNITS:
        return "time", plain_word(stat), unit_word(name)
    flow = rate(name)
    if flow is not None:
        return f"throughput{'_per_chip' * flow.per_chip}", "", unit_word(unit or name)
    return None


PLACE = r"^(oop|out[\s_-]of[\s_-]place)[\s_:.-]+"
"""Where a collective writes, which is what is predicted; in place is another time."""
PER_CHIP = r"[\s_]*[(\[]\s*per[\s_-]*(gpu|chip|device|accelerator|hpu)\s*[)\]]\s*$"
"""Whose a rate is, in brackets behind it."""


def parted_metric(said: str) -> tuple[str, str, str]:
    """Metric, statistic and unit that a name tells, the last two empty where it does not or the metric is unknown.

    A name may be a rate, as "tokens/s/GPU" or "tokens_per_second", and in one word, as "GPUThroughput (tok/s)".
    """
    found = _parted(said)
    apart = re.sub(CAMEL, "_", said.strip())
    again = found if found[2] or apart == said.strip() else _parted(apart)
    return again if again[2] else found


def _parted(said: str) -> tuple[str, str, str]:
    inside: list[str] = []
    name = re.sub(PER_CHIP, r"/\1", said.strip(), flags=re.IGNORECASE)
    name = re.sub(PLACE, "", name, flags=re.IGNORECASE)
    name = re.sub(EACH, "tok/s/", name, flags=re.IGNORECASE)
    name = re.sub(IN_UNIT, r" (\1)", name)
    # unit and statistic may stand in brackets of their own, in either order
    while apart := re.fullmatch(BRACKETS, name):
        name, inside = apart[1], [*inside, apart[2]]
    stat = next((x for x in inside if re.fullmatch(STATISTIC, x.lower())), "")
    unit = next((x for x in inside if x != stat), "")
    # with the time of the prompt in it a rate of a user is no inverse of a time per token
    if any("ctx" in x and not x.startswith("w/o") for x in inside):
        return metric_word(said), "", ""
    if told := _flow(name):
        return told[0], told[1] or plain_word(stat), unit_word(unit) if unit and told[0] != "interactivity" else told[2]
    if told := _by_unit(name, unit, stat):
        return told
    found = re.fullmatch(PARTED, re.sub(r"[\s-]+", "_", name.lower()))
    word = METRICS.get(found[2], found[2]) if found else ""
    # "ttft_ms (s)" may be either
    twice = bool(found and unit and found[4]) and unit_word(unit) != unit_word(found[4] if found else "")
    if not found or word not in METRICS.values() or twice:
        return metric_word(said), "", ""
    unit = unit or (found[4] or "").replace("gb/s", "GB/s") or UNITS.get(found[2], "")
    if word == "throughput" and re.match(TOTAL, unit, re.IGNORECASE):
        word, unit = "total_throughput", re.sub(TOTAL, "", unit, flags=re.IGNORECASE)
    each = word in ("latency", "decode_latency") and re.search(PER_TOKEN, unit, re.IGNORECASE)
    return "tpot" if each else word, plain_word(found[1] or found[3] or stat), unit_word(unit)


def is_metric(header: str) -> bool:
    """Whether a header names a metric, or tells a unit."""
    name, _, unit = parted_metric(header)
    return bool(unit) or name in METRICS.values()


PER_TOKEN = r"(/|\bper\b)\s*(output )?tok(en)?$"
"""What makes a time that of one token."""


def _same_unit(told: str, own: str) -> bool:
    """Whether two units are one, or rates of one thing: whether of a chip, the metric says."""
    both = [rate(x) for x in (told, own)]
    return unit_word(own) == told or (None not in both and len({(r.of, r.per_s) for r in both if r}) == 1)


def with_parted_metrics(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose metric tells its statistic or unit have those in their columns, unless these say something else."""
    if "metric" not in rows or "unit" not in rows or not _is_text(rows["metric"]):
        return rows
    cells: dict[str, list[Any]] = {n: list(rows[n]) if n in rows else [None] * len(rows) for n in NAMES}
    for i, said in enumerate(cells["metric"]):
        name, *told = parted_metric(said) if isinstance(said, str) else ("", "", "")
        own = [x.strip() if isinstance(x, str) else "" for x in (cells[n][i] for n in NAMES[1:])]
        same = (plain_word(own[0]) == told[0], _same_unit(told[1], own[1])) if told else ()
        agree = all(not t or not o or ok for t, o, ok in zip(told, own, same, strict=True))
        # a name and columns that contradict each other stay as they are, to be refused later with their own words
        if any(told) and agree:
            cells["metric"][i] = name
            cells["stat"][i], cells["unit"][i] = (o or t or None for t, o in zip(told, own, strict=True))
    return rows.assign(**{n: cells[n] for n in NAMES if n in rows or any(cells[n])})


NAMES = ("metric", "stat", "unit")
STEP_TIME = re.compile(r"(ms|s|sec|seconds)\s*(/|\s+per\s+|_per_)\s*(step|it|iter|iteration)")
"""A header that is a unit of time per step."""
TIME_UNITS = ("us", "ms", "ns", "usec", "msec")
"""Headers that are a unit of time alone, as libraries of BLAS print them."""


def unit_word(said: str) -> str:
    """A unit without spaces around it, times and rates of FLOP under their usual names."""
    # the Greek letter and the micro sign look alike and are two characters
    plain = re.sub(PER_SECOND, "/s", said.strip().replace("\u03bc", "\u00b5"), flags=re.IGNORECASE)
    plain = re.sub(EACH, "tok/s/", plain, flags=re.IGNORECASE)
    time = re.sub(PER_ONE, "", plain, flags=re.IGNORECASE)
    low = time.lower()
    if low in TIMES or low in SECONDS:
        return TIMES.get(low, low)
    return RATES.get(plain.lower(), plain)


def collective_word(said: str) -> str:
    """A collective by its letters alone."""
    letters = re.sub(r"[^a-z]", "", said.lower().replace("2", "to"))  # "All2All" and "all-to-all" are one
    letters = letters.removeprefix("nccl").removesuffix("perf")  # as programs that time them are called
    letters = NCCOM.get(letters, letters)
    return next((name for name in COLLECTIVES if name.replace("_", "") == letters), said.strip())


NCCOM = {"allr": "allreduce", "allg": "allgather", "redsct": "reducescatter"}
"""Operations as Neuron's nccom-test takes them."""


def bytes_word(said: str) -> str:
    """A size in bytes; of those with a letter, what can be two sizes ("1M", "1 MB") is left as it is."""
    found = re.fullmatch(r"(\d+) ?([KMG])iB", said.strip())
    return str(int(found[1]) * 2 ** (10 * (1 + "KMG".index(found[2])))) if found else said


def year_word(said: str) -> str:
    """The year of a date."""
    found = re.search(r"\b(?:19|20)\d\d\b", said)
    return found[0] if found else said


def plain_word(said: str) -> str:
    """A word in small letters, a mean by that name."""
    # "95th" is p95
    word = said.strip().lower().removesuffix("th")
    return STATISTICS.get(word, f"p{word}" if re.fullmatch(r"\d\d(\.\d+)?", word) else word)


WORDS = {
    "metric": metric_word, "unit": unit_word, "collective": collective_word, "stat": plain_word, "spec": plain_word,
    "year": year_word, "message_bytes": bytes_word,
}  # fmt: skip
"""What makes the usual word of a column."""


def tidied(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows under the usual columns with the numbers, words and model sizes that the shipped tables have."""
    rows = with_parted_metrics(with_plain_numbers(rows))
    # a column of 50, 95 and 99 comes as numbers, perhaps with fractions
    if "stat" in rows and pd.api.types.is_numeric_dtype(rows["stat"]):
        rows = rows.assign(stat=rows["stat"].map("{:g}".format, na_action="ignore"))
    words = {c: rows[c].map(w, na_action="ignore") for c, w in WORDS.items() if c in rows and _is_text(rows[c])}
    return with_sizes(rows.assign(**words))


def _is_text(column: Any) -> bool:
    return all(isinstance(x, str) for x in column.dropna())
