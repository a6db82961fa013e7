"""Stored formats: bytes with scales, and the products they feed."""

import pytest

from dse.core.errors import SpecError, UnknownNameError
from dse.workload.storage import (
    check_cache,
    check_storage,
    file_type,
    format_receipts,
    formats_of,
    n_element_bits,
    own_products,
    storage_names,
    stored_B,
)


@pytest.mark.parametrize(
    # MX: 8 bits for 32 elements; NVFP4: 8 bits for 16; int4: 16 bits for 128
    ("name", "bits"),
    [("bf16", 16), ("fp8", 8), ("mxfp8", 8.25), ("mxfp4", 4.25), ("nvfp4", 4.5), ("int8", 8), ("int4", 4.125),
     ("nf4", 4.5),
     ("nf4-double", 4.127), ("ternary", 2), ("q4_0", 4.5), ("q8_0", 8.5), ("q4_k_m", 4.8944), ("q6_k", 6.5633),
     # a 16-bit scale for 32; scale and offset for 64, as MLX has them; scale and zero point of an element for 128
     ("int4g32", 4.5), ("int4g64a", 4.5), ("int6g32a", 7), ("int4g128z", 4.15625), ("int3g128z", 3.1484375),
     ("w3.5", 3.5)],
)  # fmt: skip
def test_bytes_with_their_share_of_the_scale(name, bits):
    assert stored_B(name) == pytest.approx(bits / 8)
    assert n_element_bits(name) <= bits


def test_integers_are_converted_and_floats_are_not():
    assert [own_products(n) for n in ("int8", "int4", "mxfp4", "nvfp4", "fp8")] == ["bf16", "bf16", "fp4", "fp4", "fp8"]


def test_unknown_format_names_the_allowed():
    for name in ("fp6", "int4g", "int7g64", "int4g64b", "w0.5", "w9", "int4g0"):
        with pytest.raises(SpecError, match=f"storage '{name}' is not one of fp32, bf16.*int4g64"):
            check_storage(name)


def test_a_cache_has_one_format():
    assert check_cache("fp8") == "fp8"
    with pytest.raises(SpecError, match="KV cache 'bf16,experts=mxfp4': a cache has no parts"):
        check_cache("bf16,experts=mxfp4")


def test_every_format_has_its_receipts():
    assert all(len(format_receipts(name)) == 3 for name in (*storage_names(), "int4g64", "int3g32a", "int4g128z"))
    assert format_receipts("w3.5") == []  # its name is all there is to say
    with pytest.raises(UnknownNameError):
        format_receipts("fp5")


def test_formats_of_a_text_are_named_once():
    assert formats_of("bf16,experts=mxfp4,head=bf16", "fp8") == ("bf16", "mxfp4", "fp8")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("llama-3.1-8b-Q4_K_M.gguf", "q4_k_m"),
        ("model_q6_k-00001-of-00002.gguf", "q6_k"),
        ("GGUF IQ4_XS, KV fp8", "iq4_xs"),
        ("an-fp8-name-Q8_0.gguf", "q8_0"),
        ("UD-Q4_K_XL.gguf", None),
        ("model.gguf", None),
        ("W8A8", None),
    ],
)
def test_types_of_gguf_are_found_by_one_rule(said, found):
    """Files named after another format first were stored as that; those joined by an underscore were refused."""
    assert file_type(said) == found
