"""What a row of an inference table says of its requests: stack, model, storage, plan and lengths."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from ..core.errors import SpecError
from ..hardware.chip import Chip, native_precisions
from ..lowering.plan import Plan
from ..physics.calibration import FIXED_SHAPES
from ..workload.blocks import Run
from ..workload.latent import Latent
from ..workload.mixers import AbstractMixer, Attention
from ..workload.module_names import WIDE
from ..workload.storage import file_type, format_of, is_whole_file, n_element_bits
from ..workload.transformer import Model
from .published import usual_on
from .published_models import known_model, stored_name
from .reading import NO, row_number, row_text, weights_only
from .training_rows import row_model

BEHIND_VLLM = "vllm-neuron"
"""Programs of AWS Neuron that vLLM calls, which adds its own time to a first token; else they are called directly."""
STACKS: tuple[tuple[str, str], ...] = (
    (r"vllm.*(neuron|nxdi)|(neuron|nxdi).*vllm", BEHIND_VLLM),
    (r"neuron|nxdi", "neuronx"),
    (r"fastertransformer", "fastertransformer"),
    (r"trt|tensorrt", "trtllm"),
    (r"deepspeed", "deepspeed"),
    (r"sglang", "sglang"),
    (r"jetstream|maxtext|google|tpu", "jetstream"),
)
"""Words in a row's framework that name its serving stack; its chip's usual one otherwise."""
SMALLEST_BUCKET = 128
"""Shortest prompt a program is compiled for; buckets are powers of two."""


def row_stack(row: Any) -> str:
    """Serving stack of a row."""
    said = row_text(row, "framework").lower()
    found = next((stack for pattern, stack in STACKS if re.search(pattern, said)), "")
    usual = usual_on(row, serves=True)
    if found or not said:
        return found or usual
    # a name that is none of these is of a stack that starts kernels as vLLM does, but where programs are compiled
    if usual not in FIXED_SHAPES:
        return "vllm"
    return BEHIND_VLLM if "vllm" in said else usual


def served_model(row: Any) -> Model:
    """The preset of a row's model where there is one, since rows do not print windows; else the row's own sizes."""
    known = known_model(row_text(row, "model"), row_number(row, "layers"), row_number(row, "hidden"))
    if known is not None:
        return known
    # a row prints no longest context: the model is given the one that the run needs
    sizes = {name: getattr(row, name) for name in row._fields}
    return row_model(SimpleNamespace(**sizes, seq_len=row_number(row, "in_len", 1.0) + row_number(row, "out_len", 1.0)))


def padded_heads(model: Model, tp: int) -> Model:
    """`model` with its heads padded to a multiple of the ranks, as stacks do that shard whole heads."""
    runs = tuple(Run(dataclasses.replace(r.block, mixers=_padded(r.block.mixers, tp)), r.n) for r in model.runs)
    return dataclasses.replace(model, runs=runs)


def _padded(mixers: tuple[AbstractMixer, ...], tp: int) -> tuple[AbstractMixer, ...]:
    """`mixers` with heads that `tp` divides; other kinds than attention as they are."""
    found: list[AbstractMixer] = []
    for m in mixers:
        if isinstance(m, Attention) and m.n_heads % tp:
            # KV heads too, or copied where there are fewer than ranks: each rank holds the same whole number
            heads, kv_heads = (-(-n // tp) * tp for n in (m.n_heads, m.n_kv_heads))
            m = dataclasses.replace(m, n_heads=heads, n_kv_heads=kv_heads)
        elif isinstance(m, Latent) and m.n_heads % tp:
            m = dataclasses.replace(m, n_heads=-(-m.n_heads // tp) * tp)
        found.append(m)
    return tuple(found)


def row_cache(row: Any) -> str:
    """Format of the cache that a row names, empty where it names none; SpecError for one that is not known."""
    said = row_text(row, "kv_precision").strip().lower()
    found = next((kind for kind, words in CACHES.items() if re.fullmatch(words, said)), None)
    if found is None:
        raise SpecError(f"kv_precision = '{row_text(row, 'kv_precision')}' is none of bf16, fp8, int8, auto")
    return found


CACHES = {"": r"auto|default|none|", "bf16": r"(bf|fp|float|bfloat)?16", "fp8": r"fp8.*|float8.*|e[45]m[32].*",
          "int8": r"int8.*"}  # fmt: skip
"""Words for formats of a cache."""


def otherwise(row: Any, kind: str) -> str:
    """Why a row of `kind` was served in a way that this model has not, as its columns or its words say; or empty."""
    told = " ".join(row_text(row, n) for n in ("framework", "note", "model")).lower()
    for (column, words, whole), why in OTHERWISE.items():
        cell = row_text(row, column).strip().lower()
        said = bool(cell) and cell not in NO and row_number(row, column, math.inf) not in (0.0, *NONE.get(column, ()))
        if (said or _affirmed(words, told)) and kind in whole:
            return why
    return ""


def _affirmed(words: str, told: str) -> bool:
    """Whether a text names what `words` match without saying that it was off or is not known."""
    around = (told[max(m.start() - 16, 0) : m.end() + 24] for m in re.finditer(words, told))
    return any(not re.search(DENIED, x) for x in around)


NONE = {"beams": (1.0,), "speculative": (1.0,)}
"""Numbers that say of a column that there is nothing of it: one beam, one token accepted a pass."""
DENIED = r"\b(no|not|non|without|off|disabled?|unknown|excluding)\b"
"""Words near a name that deny it."""
OTHERWISE: dict[tuple[str, str, tuple[str, ...]], str] = {
    ("speculative", r"\b(speculative|spec\W*dec(od\w*)?|eagle[- ]?\d?|medusa|mtp[- =]?\d+)\b", ("tpot", "request")):
        "speculative decoding: a pass writes several tokens, how many is in no column",
    ("prefix_hit", r"\bprefix[- ]cach\w*", ("ttft", "request")):
        "prefix cache: how much of a prompt is computed is in no column",
    ("disaggregated", r"\bdis-?agg\w*", ("ttft", "tpot", "request")):
        "disaggregated: prompts and tokens run on chips of their own; dse serve has such engines",
    ("beams", r"\bbeam (search|width)\b", ("ttft", "tpot", "request")):
        "several beams: each is a sequence of its own that shares a prompt",
    ("eager", r"\benforce[-_ ]eager\b|\b(hf|hugging ?face)[-_ ]transformers\b"
     r"|^(pytorch|torch|transformers|hugging ?face|hf)\b(?![-/])(?!.*compile)", ("tpot", "request")):
        "eager: kernels start one by one, where serving stacks replay graphs of them",
}  # fmt: skip
"""Column, words in a row's note, and the times that are not predicted where either says so, with the reason."""


def row_storage(row: Any, chip: Chip, model: Model | None = None) -> tuple[str, str]:
    """Format of most weights and precision of products; 4-bit weights meet 16-bit activations on chips without FP4.

    Where the row names none, the name of its model may, else the maker's own checkpoint of `model` does.
    """
    told = row_text(row, "precision") or stored_name(row_text(row, "model"))
    own = format_of(model.weight_format, "experts") if model else "bf16"
    said = weights_only(told or own).lower()
    native = native_precisions(chip)
    weights = re.search(r"weights (\w+)", said)
    if weights and weights.group(1) in ("int8", "int4"):
        return weights.group(1), ""
    by_name = file_type(said) or ("nf4" if re.search(r"\bnf4\b", said) else "")
    if by_name or re.search(r"1\.58[ -]?bit|ternary", said):
        return by_name or "ternary", ""
    if re.search(r"fp4", said):
        return "nvfp4" if "nvfp4" in said else "mxfp4", "" if "fp4" in native else "bf16"
    if re.search(r"fp8|e4m3", said):
        return "fp8", ""
    if re.search(r"\b8[- ]?bits?\b|gptq[-_]?8|w8a16|int8[ _-]*(weight|wo\b)", said):
        return "int8", ""
    if re.search(r"int4|w4a16|awq|gptq", said):
        return "int4", ""
    if re.search(r"w8a8|int8|smoothquant", said):
        return "int8", "int8"
    if not told and own != "bf16":
        return own, ""
    if said and not re.search(SIXTEEN_BIT, said):
        raise SpecError(f"precision '{row_text(row, 'precision')}' is not known")
    return "bf16", ""


def checkpoint(narrow: str, model: Model, stack: str, cache: str = "") -> tuple[str, str]:
    """Storage of all weights and of the cache, itself `cache` if told, where most weights are `narrow`.

    A maker's own checkpoint says which parts stay wide, and nothing of the cache. One narrowed later keeps embedding
    and head in 16 bit; floating-point weights bring scales for an FP8 cache, but fixed shapes use the maker's.
    Source: [vllm2025modelopt] reads modules left out and `kv_cache_quant_algo` from the checkpoint, which is FP8 or
    nothing; [nvidia2026trtllmquant] takes the cache's format from it too.
    """
    bits = n_element_bits(narrow)
    # 16-bit runs say nothing of scales, so the cache stays 16 bit too
    if bits == n_element_bits("bf16"):
        return narrow, cache or "bf16"
    if n_element_bits(format_of(model.weight_format, "experts")) == bits:
        return model.weight_format, cache or "bf16"
    kept = "fp8" if "fp" in narrow and stack not in FIXED_SHAPES else "bf16"
    wide = ("rest",) if is_whole_file(narrow) else WIDE
    return ",".join((narrow, *(f"{p}=bf16" for p in wide))), cache or kept


SIXTEEN_BIT = r"^(none|no|unquantized)$|bf16|fp16|float16|bfloat16|half|16[- ]?bit|not stated|default|auto|unknown"
"""Words for 16 bit, and for a precision that nobody chose."""


def row_plan(row: Any, batch: int, cores: Sequence[int] = ()) -> Plan:
    """The plan of a row, of a chip with so many `cores` that may be ranks; what it does not print is 1."""
    tp, pp, ep, dp = (max(int(row_number(row, n, 1)), 1) for n in ("tp", "pp", "ep", "dp"))
    size, n_chips = tp * pp * dp, row_number(row, "num_chips", 1)
    # some stacks print as tensor ranks all ranks that share the experts, data ranks of attention included
    if dp > 1 and size > 2 * n_chips >= tp * pp and size not in [n * n_chips for n in cores]:
        tp = max(tp // dp, 1)
    # what is printed as expert ranks may count tensor ranks too; here experts spread over data ranks alone
    return Plan(tp=tp, pp=pp, dp=dp, micro_batch=max(batch // dp, 1), ep=min(ep, dp), sequence_parallel=False)


DRAWN = re.compile(r"(?:(\w+) uses )?(\d+)-(\d+) % of nominal")
"""How a row's note says that lengths are drawn between two shares of those in its columns, and in whose runs."""


def drawn_frac(row: Any) -> float:
    """Mean length of a row's requests over that in its columns: the middle of the range that its note gives."""
    note = row_text(row, "note")
    found = DRAWN.search(note)
    # what another benchmark does says nothing of this run: a note begins with whose it is
    if not found or (found[1] and not note.startswith(found[1])):
        return 1.0
    return (float(found[2]) + float(found[3])) / 200


def lengths(row: Any, stack: str) -> tuple[int, int]:
    """Prompt that is computed and mean context of a token, as the stack lays them out."""
    prompt, out = (max(round(drawn_frac(row) * row_number(row, n, 1)), 1) for n in ("in_len", "out_len"))
    if stack in FIXED_SHAPES:  # a compiled program reads its whole bucket and cache, whatever is in them
        return max(SMALLEST_BUCKET, 2 ** math.ceil(math.log2(prompt))), prompt + out
    # time per token is linear in the context: its middle stands for the whole answer
    return prompt, prompt + max(out // 2, 1)
