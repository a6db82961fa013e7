"""Engines of a service: which parts of a system they take, what they hold, how they read prompts."""

import dataclasses
import math

import numpy as np
import pytest

import dse
from dse.core.errors import SpecError
from dse.lowering.collective import Reference
from dse.lowering.engines import (
    SCHEDULERS,
    Policy,
    Shape,
    batch_sizes,
    chunked_reader,
    decode_of,
    engine_sizes,
    part_of,
    prefills,
    reader,
    shapes,
    writer_memory,
    writers,
)
from dse.lowering.headroom import usable_B
from dse.lowering.plan import Plan
from dse.workload.requests import Length, Requests

REF = Reference(1e11, 1e10, 1e-6, 1e-5)
MODEL = dse.model("llama-3.1-8b")
ASKED = Requests(MODEL, (Length(1000, 200, 0.75), Length(4000, 1000, 0.25)))
H100 = dse.system("dgx-h100", 8)


def test_parts_of_a_switch_are_any_number_and_of_a_torus_what_divides_it():
    assert [part_of(H100, n).fabric.dims for n in (1, 3, 8)] == [(1,), (3,), (8,)]
    torus = dse.system("trn2-16", 16)
    assert [n for n in range(1, 17) if part_of(torus, n) is not None] == [1, 2, 4, 8, 16]
    assert part_of(dse.system("trn2-16", 64), 48).n_chips == 48  # three whole domains
    assert part_of(dse.system("trn2-16", 64), 24) is None


def test_sizes_that_are_tried():
    """Divisors of 12 and, behind one switch, powers of two up to it."""
    assert engine_sizes(dse.system("dgx-h100", 8)) == [1, 2, 4, 8]
    of_12 = dataclasses.replace(H100, fabric=dataclasses.replace(H100.fabric, dims=(12,)), n_chips=12)
    assert engine_sizes(of_12) == [1, 2, 3, 4, 6, 8, 12]
    assert engine_sizes(dse.system("trn2-16", 16)) == [1, 2, 4, 8, 16]


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gpt-oss-20b"])
def test_no_two_shapes_are_alike_and_replicas_meet_over_experts_alone(name):
    found = shapes(H100, Requests(dse.model(name), (Length(100, 10),)))
    said = [(s.system.n_chips, s.plan) for s in found]
    assert len(said) == len(set(said))
    assert all(s.plan.dp == s.plan.ep and s.plan.micro_batch == 1 for s in found)
    assert {s.system.n_chips for s in found} == {1, 2, 4, 8}
    if name == "gpt-oss-20b":
        assert any(s.plan.ep > 1 for s in found) and len(found) > 4
    else:  # a dense model in one domain: every chip of an engine is a tensor rank
        assert [s.plan.tp for s in found] == [1, 2, 4, 8]


def test_the_cache_of_a_writer_by_hand():
    """32 layers x 2 x 8 heads x 128 x 2 B = 131,072 B per token; a block of cache is whole, so the context 3225 is.

    Eight on average: at one in forty they are more than 8 + 1.96 sqrt(8), and one prompt comes beside them.
    """
    shape = Shape(dse.system("dgx-h100", 1), Plan())
    one = writer_memory(ASKED, shape, 8, 0.975)
    blocks_of_tokens = one.kv_B / 131072 / (8 + 1.959964 * math.sqrt(8) + 1)
    assert 3225 <= blocks_of_tokens < 3225 + 256
    # a single sequence may be the longest request of all: 5000 tokens
    assert writer_memory(ASKED, shape, 1, 0.5).kv_B >= 5000 * 131072


def test_drafted_tokens_have_blocks_of_the_cache_before_anyone_knows_which_stay():
    """512 drafted tokens of 131,072 B more a sequence; the longest request, alone, is 5000 + 512 tokens.

    Source: [kwon2023paged] section 4.3: a block is taken before its tokens are written. Logits of all 513 tokens of 8
    sequences, in 2 B or more, are beside each other: 512 x 8 x 128,256 x 2 B more.
    """
    shape = Shape(dse.system("dgx-h100", 1), Plan())
    plain, drafting = (writer_memory(ASKED, shape, 8, 0.975, n) for n in (0, 512))
    more = (drafting.kv_B - plain.kv_B) / 131072 / (8 + 1.959964 * math.sqrt(8) + 1)
    assert more == pytest.approx(512, rel=1e-6)
    assert drafting.activations_B - plain.activations_B > 512 * 8 * 128_256 * 2
    assert writer_memory(ASKED, shape, 1, 0.5, 512).kv_B >= 5512 * 131072
    fewer, most = (max(n for n, _ in batch_sizes(ASKED, shape, 0.975, n)) for n in (512, 0))
    assert fewer < most


@pytest.mark.parametrize("tp", [1, 2, 8])
def test_batches_go_in_powers_of_two_to_the_most_that_fits(tp):
    shape = Shape(dse.system("dgx-h100", tp), Plan(tp=tp))
    sizes = [n for n, _ in batch_sizes(ASKED, shape, 0.975)]
    *powers, most = sizes
    assert powers == [2**i for i in range(len(powers))] and powers[-1] <= most < 2 * powers[-1] * 2
    room = float(usable_B(shape.system.chip))
    assert writer_memory(ASKED, shape, most, 0.975).total <= room < writer_memory(ASKED, shape, most + 1, 0.975).total


def test_a_model_that_does_not_fit_has_no_engine():
    big = Requests(dse.model("llama-3.1-405b"), (Length(100, 10),))
    shape = Shape(dse.system("dgx-h100", 1), Plan())
    assert list(batch_sizes(big, shape, 0.975)) == []
    assert writers(big, [shape], Policy(), 0.975, REF) == []


def test_no_writer_holds_more_than_the_policy_says():
    found = writers(ASKED, shapes(dse.system("dgx-h100", 2), ASKED), Policy(max_sequences=16), 0.975, REF)
    assert found and max(w.n_sequences * w.shape.plan.dp for w in found) == 16
    for w in found:
        assert float(w.demand.tokens) == w.n_sequences * w.shape.plan.dp


def test_a_decode_holds_its_sequences_on_every_replica():
    shape = Shape(H100, Plan(tp=1, dp=8, ep=8))
    decode, plan = decode_of(ASKED, shape, 4, 100)
    assert (decode.batch, decode.context, plan.micro_batch) == (32, 100, 4)


@pytest.mark.parametrize("chunk", [256, 512, 1000])
def test_passes_over_a_prompt(chunk):
    """Prompts of 1000 and 4000 tokens in chunks: one more where they do not divide."""
    (writer, *_) = writers(ASKED, [Shape(dse.system("dgx-h100", 1), Plan())], Policy(), 0.975, REF)
    found = chunked_reader(ASKED, writer, chunk, REF)
    assert found.n_passes == (math.ceil(1000 / chunk), math.ceil(4000 / chunk)) and found.chunk == chunk
    assert [p.n_chunks for p in prefills(ASKED, writer.shape, chunk)] == list(found.n_passes)


def test_a_pipeline_reads_no_chunks_beside_its_writing():
    (writer, *_) = writers(ASKED, [Shape(dse.system("dgx-h100", 2), Plan(pp=2))], Policy(), 0.975, REF)
    assert chunked_reader(ASKED, writer, 256, REF) is None


def test_whole_prompts_are_one_pass_each_and_delay_no_engine():
    found = reader(ASKED, Shape(dse.system("dgx-h100", 2), Plan(tp=2)), REF)
    assert (found.chunk, found.n_passes) == (0, (1, 1))
    assert [float(d.n_requests) for d in found.demands] == [0.0, 0.0]
    short, long = (float(np.sum(d.macs)) for d in found.demands)
    assert long > 4 * short  # four times the tokens, and attention besides


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_sequences": 0}, "a batch of 0 serves nobody"),
        ({"acceptance_frac": 1.1}, "acceptance 1.1 is not a share"),
        ({"acceptance_frac": float("nan")}, "acceptance nan is not a share"),
        ({"n_drafted": -1}, "drafted tokens = -1: give at least 0"),
        ({"n_drafted": 10**9}, "drafted tokens = 1,000,000,000: give at most"),
        ({"draft_frac": -0.1}, "give 0 or more of both"),
        ({"draft_frac": float("nan")}, "give 0 or more of both"),
        ({"schedulers": ("fifo",)}, "scheduler 'fifo' is not one of"),
        ({"schedulers": ()}, "is not one of"),
    ],
)
def test_policies_that_make_no_sense(change, said):
    with pytest.raises(SpecError, match=said):
        Policy(**change)


def test_policies_at_their_ends():
    for frac in (0.0, 1.0):
        assert Policy(acceptance_frac=frac).acceptance_frac == frac
    assert Policy().schedulers == SCHEDULERS and Policy(max_sequences=1).max_sequences == 1
