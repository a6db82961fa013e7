"""What a row of a training table says of its run: model, workload, plan and system."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pandas as pd

from ..core.errors import SpecError
from ..evaluation.assembly import chip_reference
from ..hardware.system import System, torus_slice
from ..lowering.plan import Plan
from ..lowering.software import EAGER_SHARDED, SHARDED
from ..physics.calibration import prior_calibration
from ..workload.blocks import Block, Experts, Mlp, Run
from ..workload.families.common import LAYER, RMS
from ..workload.huggingface import unlike
from ..workload.mixers import Attention
from ..workload.transformer import Model, Training, total_parameters, uniform
from .published import on_measured_network, system_of
from .published_models import known_model
from .reading import NO, YES, row_number, row_switch, row_text, weights_only
from .training_stacks import row_software

FUSED_SINCE = 2023
"""Year from which training stacks are taken to fuse attention [dao2022] and models to do without dropout."""
DEFAULT_VOCAB = 51200
"""Vocabulary where a row prints none: GPT-2's, padded as in Megatron."""


def row_model(row: Any) -> Model:
    """A row's model: the preset where a row cannot print its experts, else its sizes, gated if the count says so."""
    if row_number(row, "experts", 0) > 1:
        known = known_model(row_text(row, "model"), row_number(row, "layers"), row_number(row, "hidden"))
        if known is not None:
            return known
    if why := unlike(row_text(row, "model")):
        raise SpecError(f"model '{row_text(row, 'model')}' is {why}")
    hidden = int(row_number(row, "hidden"))
    base = Model(
        name=row_text(row, "model"), hidden=hidden, vocab=int(row_number(row, "vocab", DEFAULT_VOCAB)),
        runs=_blocks(row, 3), tied_embeddings=False, norm_passes=RMS, max_context=int(row_number(row, "seq_len")),
    )  # fmt: skip
    # GPT-2 and GPT-3 era runs still dropped activations, which costs masks in memory and passes over them
    dropout = row_number(row, "year", FUSED_SINCE) < FUSED_SINCE
    # of GPT's time all at once: two matrices, LayerNorm, one table for words in and out
    runs = _blocks(row, 2)
    plain = dataclasses.replace(base, runs=runs, norm_passes=LAYER, tied_embeddings=True, dropout=dropout)
    printed = row_number(row, "params_B", 0) * 1e9
    # without a count the width tells: four times the model's is GPT's plain MLP, gated ones are narrower
    if printed <= 0:
        return plain if _ffn(row) == 4 * hidden else base
    # the nearer by ratio: printed counts are rounded to a digit or two, so neither hits it
    return min((base, plain), key=lambda m: abs(math.log(total_parameters(m) / printed)))


def _ffn(row: Any) -> int:
    return int(row_number(row, "ffn_hidden", 4 * int(row_number(row, "hidden"))))


def _blocks(row: Any, n_matrices: int) -> tuple[Run, ...]:
    """The layers of a row by its own sizes, with so many matrices in each MLP."""
    hidden, layers, heads = (int(row_number(row, n)) for n in ("hidden", "layers", "heads"))
    kv, width = int(row_number(row, "kv_heads", heads)), int(row_number(row, "head_dim", hidden // heads))
    attention = Attention(heads, kv, width, causal="bert" not in row_text(row, "model").lower())
    feed, n_experts = Mlp(_ffn(row), n_matrices), int(row_number(row, "experts", 0))
    if n_experts > 1:
        # two experts a token where a row is silent, as in [lepikhin2020gshard] and its successors
        feed = Experts(n_experts, int(row_number(row, "active_experts", 2)), _ffn(row), n_matrices=n_matrices)
    return uniform(Block((attention,), feed), layers)


def row_precision(row: Any) -> str:
    """Precision of the linear layers: 16 bit unless the row says FP8, INT8 or FP4; SpecError for any other."""
    text = weights_only(row_text(row, "precision")).lower()
    if "fp4" in text:
        return "fp4"
    if "int8" in text:
        return "int8"
    if re.search(r"fp?8|float8|e4m3", text):
        return "fp8"
    if text and not re.search(r"bf?(loat)?16|fp16|half|mixed|amp|not stated", text):
        raise SpecError(f"precision '{row_text(row, 'precision')}' is not known")
    return "bf16"


CUSTOM = r"remat_policy=custom"
"""Words in a row's note for MaxText's own lists: what is listed waits in host memory, all else runs again."""
OFFLOADS = rf"offload|{CUSTOM}"
"""Words in a row's note that say activations wait in host memory."""


def row_recompute(row: Any) -> str:
    """What a row computes again backward: the scores alone unless it says otherwise.

    Source: [google2026maxtext] base.yml, remat_policy: of a custom list only what it names is kept.
    """
    if re.search(CUSTOM, row_text(row, "note").lower()):
        return "full"
    said = row_text(row, "recompute").strip().lower()
    found = next((kind for kind, words in RECOMPUTE.items() if said in words), None)
    if found is None and not said.startswith("selective"):
        raise SpecError(f"recompute = '{row_text(row, 'recompute')}' is not none, selective or full")
    return found or "selective"


RECOMPUTE = {
    "none": NO,
    "selective": ("selective", "", "minimal", "auto", "not stated", "unknown"),
    "full": ("full", "all", "block", *YES),
}
"""Words for what a row recomputes; a plain yes is whole layers, which is what checkpointing does unless told."""


def row_plan(row: Any, devices: int) -> Plan:
    """The plan of a row; what it does not print is its stack's usual choice.

    That is: scores recomputed, sequence parallelism, sharded optimizer states (FSDP's weights too), and a micro batch
    of one sequence where stages need many, else of all of a replica's. Experts that are spread over tensor ranks as
    well take as much memory and work of a rank as halves of experts do, which this plan has instead.
    """
    tp, pp, cp, ep = (max(int(row_number(row, n, 1)), 1) for n in ("tp", "pp", "cp", "ep"))
    # expert ranks are data ranks of the rest, and multiply nothing
    dp = int(row_number(row, "dp", 0)) or max(devices // (tp * pp * cp), 1)
    batch = int(row_number(row, "global_batch"))
    usual_zero = 3 if row_software(row) in (SHARDED, EAGER_SHARDED) else 1
    # stages idle unless many micro batches follow each other, so nobody runs a pipeline on one large one
    micro = int(row_number(row, "micro_batch", 0)) or (1 if pp > 1 else max(batch // dp, 1))
    zero = int(row_number(row, "zero_stage", usual_zero if dp > 1 else 0))
    if ep > tp * dp * cp:
        raise SpecError(f"ep = {ep} is more than tp x cp x dp = {tp * cp * dp}")
    ep = min(ep, dp * cp)
    if zero not in ZERO_STAGES:
        raise SpecError(f"zero_stage = {zero} is none of {', '.join(map(str, ZERO_STAGES))}")
    return Plan(
        tp=tp, pp=pp, dp=dp, micro_batch=micro, interleave=max(int(row_number(row, "virtual_pp", 1)), 1), zero=zero,
        recompute=row_recompute(row), cp=cp, ep=ep,
        sequence_parallel=row_switch(row, "sequence_parallel", usual=True),
        offload=bool(re.search(OFFLOADS, row_text(row, "note").lower())), n_copies=n_slices(row),
    )  # fmt: skip


ZERO_STAGES = (0, 1, 2, 3)
"""What of a replica's states data ranks share: nothing, optimizer states, gradients too, weights too."""


def n_slices(row: Any) -> int:
    """Slices of a pod in a row's note, each with a copy of sharded states. Source: [google2026maxtext] multislice."""
    said = re.search(r"(\d+) slice", row_text(row, "note").lower())
    return int(said.group(1)) if said else 1


MORE_PASSES = r"\b(dpo|kto|ppo|grpo|rlhf|distill\w*)\b"
"""Words for training whose step has passes of other models, or of writing, beside its own."""


def row_workload(row: Any) -> Training:
    """The workload of a row; SpecError for one whose step does more than train on a batch of sequences."""
    if more := re.search(MORE_PASSES, row_text(row, "trained").lower()):
        raise SpecError(f"trained = '{row_text(row, 'trained')}': passes beside those of training ({more[0]})")
    if row_text(row, "offload") and row_switch(row, "offload", usual=False):
        raise SpecError("offload: states that wait in host memory are not modelled")
    fused = row_number(row, "year", FUSED_SINCE) >= FUSED_SINCE
    batch, sequence = (int(row_number(row, n)) for n in ("global_batch", "seq_len"))
    rank = adapter_rank(row)
    return Training(row_model(row), batch, sequence, row_precision(row), fused_attention=fused, adapter_rank=rank)


USUAL_RANK = 16
"""Rank of low-rank adapters where a row names none."""


def adapter_rank(row: Any) -> int:
    """Rank of the adapters that a row says it trains, 0 where it trains all weights."""
    # word by word: "lora" is part of other names
    said = " ".join(row_text(row, n) for n in ("model", "trained", "note")).lower()
    if (told := row_number(row, "adapter_rank", 0)) >= 1:
        return int(told)
    if not re.search(r"\b(q?lora|frozen base|base weights frozen)\b", said):
        return 0
    rank = re.search(r"\brank[ =](\d+)", said)
    return int(rank.group(1)) if rank else USUAL_RANK


FLOP_FORMULA = r"\b6n \+ full\b.*attention"
"""A FLOP count that a row's own convention prints in full: 6 per weight and token, attention without a mask."""


def rated_step_s(point: pd.DataFrame) -> float | None:
    """Step time behind a printed FLOP rate, for rows whose convention says which FLOP were counted; else None.

        t = T (6 N + 12 l a d s) / (chips R)
    with T tokens of a step, N weights, l layers, a heads of width d, s the sequence and R FLOP/s per chip. Conventions
    differ by up to a half. Source: [narayanan2021megatron] appendix for the count, as the row states it.
    """
    row: Any = next(iter(point.itertuples()))
    rates = point.loc[(point.metric == "tflops_per_chip") & (point.unit == "TFLOP/s"), "value"]
    if rates.empty or not re.search(FLOP_FORMULA, row_text(row, "mfu_convention").lower()):
        return None
    m, w = row_model(row), row_workload(row)
    width = m.attention.n_heads * m.attention.head_dim if m.attention else 0
    per_token = 6 * total_parameters(m) + 12 * m.n_layers * width * w.sequence
    tflop = w.global_batch * w.sequence * per_token / TERA
    return tflop / (row_number(row, "num_chips") * float(rates.iloc[0]))


TERA = 1e12


def row_system(row: Any, chip: str, usual: str) -> System:
    """System of a row: its chip's usual one, or one whose network the row's own note names, cut into its slices."""
    said, n_chips = row_text(row, "note"), int(row_number(row, "num_chips"))
    system = system_of(chip, usual, said)
    if system.fabric.n_ring_chips > 1:
        return torus_slice(system, n_chips // n_slices(row))
    return on_measured_network(system, said, n_chips, chip_reference(system.chip, prior_calibration(chip)))
