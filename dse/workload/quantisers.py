"""Format names of each quantisation method (GPTQ, AWQ, torchao, ...), mapped to storage formats.

Source: keys as in [wolf2020transformers] release 5.24, quantizers; Quark's and MLX's as published files have them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.errors import SpecError
from .config_file import show

Raw = dict[str, Any]

WORDS = {
    "int8": ("int8", "uint8", "int8_weight_only", "int8weightonlyconfig", "qint8", "w8a16", "w8a16_gptq",
             "w8a8_sq_per_channel", "w8a8_sq_per_tensor_plugin"),
    "int4": ("int4", "uint4", "int4_weight_only", "int4weightonlyconfig", "qint4", "w4a16_awq", "w4a8_awq", "int4_awq",
             "w4a16", "w4a16_gptq"),
    "fp8": ("fp8", "fp8_e4m3", "float8", "float8_weight_only", "float8weightonlyconfig", "mxfp8", "fp8_pb_wo",
            "float8dynamicactivationfloat8weightconfig", "float8_dynamic_activation_float8_weight",
            "fp8_per_channel_per_token", "fp8_block_scales"),
    "nvfp4": ("nvfp4", "w4a16_nvfp4", "nvfp4_awq", "w4a8_nvfp4_fp8"),
    "mxfp4": ("mxfp4", "fp4", "w4a16_mxfp4", "w4a8_mxfp4_fp8", "w4a8_mxfp4_mxfp8"),
}  # fmt: skip
"""Names of formats, and what quantisers write for each."""


def unknown(raw: Raw, place: str, key: str, allowed: str) -> SpecError:
    """The error of a key of the object with a value that nobody knows."""
    return SpecError(f"{place}: quantization_config.{key} = {show(raw.get(key))} is not known; allowed: {allowed}")


def by_word(said: object) -> str | None:
    """The storage that a word stands for, in any case."""
    word = str(said).lower()
    return next((name for name, words in WORDS.items() if word in words), None)


def integer(bits: Any, place: str) -> str:
    """The storage of whole numbers of so many bits."""
    if bits not in (4, 8):
        raise SpecError(f"{place}: quantization_config.bits = {show(bits)} is not known; allowed: 4, 8")
    return f"int{int(bits)}"


def is_plain(raw: Raw) -> bool:
    """Whether the object says that no weight is narrow, as ModelOpt does where only the KV cache is."""
    said = raw.get("quant_algo", "")
    return (said is None or said == "NO_QUANT") and "config_groups" not in raw


def method_of(raw: Raw) -> str:
    """What made the object: as it says, or as its other keys do."""
    said = raw.get("quant_method") or raw.get("quant_algo")
    if said:
        return str(said)
    if raw.get("load_in_4bit") or raw.get("load_in_8bit"):
        return "bitsandbytes"
    return "mlx" if "bits" in raw and "group_size" in raw else ""


def _named(*path: str) -> Callable[[Raw, str], str]:
    """A reader of the word at the end of a path of keys."""

    def read(raw: Raw, place: str) -> str:
        value: Any = raw
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        found = by_word(value)
        if found is None:
            raise unknown(raw, place, path[0], ", ".join(WORDS))
        return found

    return read


def _torchao(raw: Raw, place: str) -> str:
    said = raw.get("quant_type")
    inner = said.get("default", said) if isinstance(said, dict) else said
    found = by_word(inner.get("_type") if isinstance(inner, dict) else inner)
    if found is None:
        raise unknown(raw, place, "quant_type", "weights of int4, int8 or float8")
    return found


def _hqq(raw: Raw, place: str) -> str:
    inner = raw.get("quant_config")
    params = inner.get("weight_quant_params") if isinstance(inner, dict) else None
    return integer(params.get("nbits") if isinstance(params, dict) else None, place)


def _bits(raw: Raw, place: str) -> str:
    if mode := by_word(raw.get("mode")):  # of MLX, which is "affine" for whole numbers
        return mode
    return integer(raw.get("bits", raw.get("w_bit", 4)), place)


def _modelopt(raw: Raw, place: str) -> str:
    found = by_word(raw.get("quant_algo"))
    if found is None:
        raise unknown(raw, place, "quant_algo", "FP8, NVFP4, MXFP8, W4A16_AWQ, W4A8_AWQ")
    return found


METHODS: dict[str, Callable[[Raw, str], str]] = {
    **dict.fromkeys(("fp8", "mxfp8", "fbgemm_fp8"), lambda raw, place: "fp8"),
    "mxfp4": lambda raw, place: "mxfp4",
    **dict.fromkeys(("gptq", "awq", "auto-round", "autoround", "mlx"), _bits),
    "bitsandbytes": lambda raw, place: "int4" if raw.get("load_in_4bit") else "int8",
    "eetq": lambda raw, place: "int8",
    "quanto": _named("weights"),
    "quark": _named("global_quant_config", "weight", "dtype"),
    "hqq": _hqq,
    "torchao": _torchao,
    "modelopt": _modelopt,
}
"""The storage of most weights by what made it."""


def narrow_format(raw: Raw, method: str, place: str) -> str:
    """The storage of most weights, or SpecError for a quantiser or a format that nobody knows."""
    if method in METHODS:
        return METHODS[method](raw, place)
    if by_word(raw.get("quant_algo")):
        return _modelopt(raw, place)
    raise unknown(raw, place, "quant_method", ", ".join((*METHODS, "compressed-tensors")))


def wide_as_narrow(raw: Raw, method: str) -> tuple[str, ...]:
    """Parts beside the linear layers that are narrow too: MLX's tables, GPTQ's head where it says so."""
    if method == "mlx":
        return ("head", "embedding")
    return ("head",) if raw.get("lm_head") is True else ()


def cache_note(raw: Raw | None) -> tuple[tuple[str, str], ...]:
    """That a file asks for a narrow KV cache, which is the run's to choose."""
    asked = [k for k in ("kv_cache_scheme", "kv_cache_quant_algo") if (raw or {}).get(k)]
    why = "the KV cache is as narrow as --kv says, 16 bit unless it does"
    return tuple((f"quantization_config.{k}", why) for k in asked)
