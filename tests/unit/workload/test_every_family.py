"""What holds for every type of model that is read, whoever made it: asked of one small configuration."""

import functools

import pytest

from dse.core.errors import SpecError
from dse.workload.counts import parameters_by_part
from dse.workload.families import TYPES
from dse.workload.huggingface import reading
from dse.workload.transformer import active_parameters, forward_FLOP_per_token, total_parameters

PLAIN = {
    "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 96,
    "vocab_size": 100, "tie_word_embeddings": False, "max_position_embeddings": 256,
}  # fmt: skip


@functools.cache
def read(kind, n_layers=4, **keys):
    """The plain model of a type, or the line that says why it is none of that type."""
    raw = PLAIN | {"model_type": kind, "num_hidden_layers": n_layers} | keys
    try:
        return reading(raw, "x.json", "x").model
    except SpecError as error:
        return str(error)


READ = [kind for kind in TYPES if not isinstance(read(kind), str)]
REFUSED = [kind for kind in TYPES if isinstance(read(kind), str)]


def test_most_types_read_the_plain_keys():
    """The others need keys of their own, and name the first."""
    assert len(READ) >= 60


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_of_another_kind_is_refused_in_a_line_that_names_a_key(kind):
    said = read(kind)
    assert said.startswith("x.json: ") and "\n" not in said
    assert any(c.islower() for c in said.removeprefix("x.json: "))


@pytest.mark.parametrize("kind", READ)
def test_parts_add_up_and_a_token_visits_no_more_than_there_is(kind):
    m = read(kind)
    assert sum(parameters_by_part(m).values()) == total_parameters(m)
    assert 0 < active_parameters(m) <= total_parameters(m)
    assert all(n >= 0 for n in parameters_by_part(m).values())


@pytest.mark.parametrize("kind", READ)
def test_weights_grow_with_layers_in_a_straight_line(kind):
    """60 more layers hold as many as the 60 before: every pattern of layers repeats within 60."""
    one, two, three = (total_parameters(read(kind, n)) for n in (60, 120, 180))
    assert three - two == two - one > 0


@pytest.mark.parametrize("kind", READ)
def test_a_longer_cache_never_costs_a_token_less(kind):
    m = read(kind)
    work = [forward_FLOP_per_token(m, cached, 1) for cached in (0, 1, 63, 255)]
    assert work == sorted(work) and work[0] > 0


@pytest.mark.parametrize("kind", READ)
def test_a_larger_vocabulary_is_rows_of_its_tables_alone(kind):
    """100 more tokens of 64: one table, or two where the head is its own; BERT's head has a bias per token besides."""
    small, large = (total_parameters(read(kind, vocab_size=n)) for n in (100, 200))
    bias = 100 if "bert" in kind else 0
    assert large - small - bias in (100 * 64, 2 * 100 * 64)
