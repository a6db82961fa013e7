"""Format names of each quantisation method (GPTQ, AWQ, torchao, ...), mapped to storage formats.

Source: keys as in [wolf2020transformers] release 5.24, quantizers; Quark's and MLX's as published files have them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..core.errors import SpecError
from .config_file import show
from .grouped import grouped
from .storage import file_type, storage_names

Raw = dict[str, Any]

WORDS = {
    "int8": ("int8", "uint8", "int8_weight_only", "int8weightonlyconfig", "qint8", "w8a16", "w8a16_gptq",
             "w8a8_sq_per_channel", "w8a8_sq_per_tensor_plugin"),
    "int4": ("int4", "uint4", "int4_weight_only", "int4weightonlyconfig", "qint4", "w4a16_awq", "w4a8_awq", "int4_awq",
             "w4a16", "w4a16_gptq"),
    "fp8": ("fp8", "fp8_e4m3", "float8", "float8_weight_only", "float8weightonlyconfig", "fp8_pb_wo",
            "float8dynamicactivationfloat8weightconfig", "float8_dynamic_activation_float8_weight",
            "fp8_per_channel_per_token", "fp8_block_scales"),
    "mxfp8": ("mxfp8",),
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


WIDTHS = (2, 3, 4, 5, 6, 8)
"""Bits of whole numbers."""
USUAL_GROUP = 128
"""Elements of a group where a file says nothing: the default of GPTQ, AWQ and AutoRound."""


def integer(bits: Any, place: str, group: Any = None, kind: str = "") -> str:
    """The storage of whole numbers of so many bits, in groups of `group`, each of a `kind` as in `grouped.KINDS`.

    Without a size, or with -1 for a whole row, it is the storage that goes by the bits alone.
    """
    if isinstance(bits, bool) or bits not in WIDTHS:
        raise SpecError(
            f"{place}: quantization_config.bits = {show(bits)} is not known; allowed: {', '.join(map(str, WIDTHS))}"
        )
    alone, stated = f"int{int(bits)}", group not in (None, -1, 0)
    size = group if stated else USUAL_GROUP
    if not isinstance(size, int) or isinstance(size, bool) or grouped(name := f"{alone}g{size}{kind}") is None:
        raise SpecError(f"{place}: quantization_config.group_size = {show(group)}, expected a whole number or -1")
    usual = not stated or (bits, size, kind) == (4, USUAL_GROUP, "")  # the format without a size is this one
    return alone if usual and alone in storage_names() else name


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
            # a path that breaks off ends in no word, and in the error below
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
    params = params if isinstance(params, dict) else {}
    return integer(params.get("nbits"), place, params.get("group_size"), AFFINE)


AFFINE, ZERO = "a", "z"
"""Kinds of groups of whole numbers, as in `grouped.KINDS`."""


def _packed(raw: Raw, place: str) -> str:
    # packed files have zero points even where all of them are the middle (symmetric)
    return integer(raw.get("bits", raw.get("w_bit", 4)), place, raw.get("group_size", raw.get("q_group_size")), ZERO)


def affine(raw: Mapping[str, Any], place: str, around: Mapping[str, Any] | None = None) -> str:
    """The storage of MLX's and Metal's objects: a mode by its name, or whole numbers with a scale and an offset.

    A module's own object leaves out what the one `around` it says.
    """
    group = raw.get("group_size", (around or {}).get("group_size"))
    return by_word(raw.get("mode")) or integer(raw.get("bits"), place, group, AFFINE)


def mean_bits(value: object, place: str, key: str) -> str:
    """The storage of so many bits a weight on average."""
    name = f"w{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else ""
    if grouped(name) is None:
        raise SpecError(f"{place}: quantization_config.{key} = {show(value)} is not known; allowed: 1 to 8 bits")
    return name


def _additive(raw: Raw, place: str) -> str:
    """Code books: every group of weights is a sum of one entry of each. Source: [egiazarian2024aqlm] section 3.1."""
    sizes = [raw.get(k) for k in ("num_codebooks", "nbits_per_codebook", "in_group_size", "out_group_size")]
    if not all(isinstance(x, int) and not isinstance(x, bool) and x > 0 for x in sizes):
        raise unknown(raw, place, "num_codebooks", "whole numbers for it, its bits and both sizes of a group")
    books, bits, wide, high = (int(x or 1) for x in sizes)  # or 1: for the type checker, all are above 0 here
    return mean_bits(round(books * bits / (wide * high), 4), place, "num_codebooks")


def _nf4(raw: Raw, place: str) -> str:
    if not raw.get("load_in_4bit"):
        return "int8"  # its one other width
    return "nf4-double" if raw.get("bnb_4bit_use_double_quant") else "nf4"


def _ternary(raw: Raw, place: str) -> str:
    mode = raw.get("quantization_mode", "offline")
    if mode not in ("offline", "online"):
        raise unknown(raw, place, "quantization_mode", "offline, online")
    return "ternary" if mode == "offline" else "bf16"  # online: kept wide, narrowed in each pass


def _of_file(raw: Raw, place: str) -> str:
    """The type in the name of a GGUF file, such as `model-Q4_K_M.gguf`."""
    found = file_type(str(raw.get("gguf_file", "")))
    if found is None:
        raise unknown(raw, place, "gguf_file", "a name with a type such as Q4_K_M")
    return found


def _modelopt(raw: Raw, place: str) -> str:
    found = by_word(raw.get("quant_algo"))
    if found is None:
        raise unknown(raw, place, "quant_algo", "FP8, NVFP4, MXFP8, W4A16_AWQ, W4A8_AWQ")
    return found


METHODS: dict[str, Callable[[Raw, str], str]] = {
    **dict.fromkeys(("fp8", "fbgemm_fp8"), lambda raw, place: "fp8"),
    "mxfp8": lambda raw, place: "mxfp8",
    "mxfp4": lambda raw, place: "mxfp4",
    **dict.fromkeys(("gptq", "awq", "auto-round", "autoround"), _packed),
    **dict.fromkeys(("mlx", "metal"), affine),
    "bitsandbytes": _nf4,
    "bitnet": _ternary,
    "aqlm": _additive,
    **dict.fromkeys(("exl2", "exl3"), lambda raw, place: mean_bits(raw.get("bits"), place, "bits")),
    "gguf": _of_file,
    "nvfp4": lambda raw, place: "nvfp4",
    "fp_quant": _named("forward_dtype"),
    "fouroversix": _named("dtype"),
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
    # ModelOpt's files may name their algorithm alone, which was then taken for the method
    if by_word(raw.get("quant_algo")):
        return _modelopt(raw, place)
    raise unknown(raw, place, "quant_method", ", ".join((*METHODS, "compressed-tensors")))


def wide_as_narrow(raw: Raw, method: str) -> tuple[str, ...]:
    """Parts beside the linear layers that are narrow too: MLX's tables, GPTQ's head where it says so."""
    if method in ("mlx", "gguf"):
        return ("head", "embedding")
    return ("head",) if raw.get("lm_head") is True else ()


def head_apart(raw: Raw, method: str, place: str) -> dict[str, str]:
    """The format of a head with bits of its own, as ExLlama's files have it."""
    said = method in ("exl2", "exl3") and raw.get("head_bits")
    return {"head": mean_bits(raw["head_bits"], place, "head_bits")} if said else {}


def cache_note(raw: Raw | None) -> tuple[tuple[str, str], ...]:
    """That a file asks for a narrow KV cache, which is the run's to choose."""
    asked = [k for k in ("kv_cache_scheme", "kv_cache_quant_algo") if (raw or {}).get(k)]
    why = "the KV cache is as narrow as --kv says, 16 bit unless it does"
    return tuple((f"quantization_config.{k}", why) for k in asked)
