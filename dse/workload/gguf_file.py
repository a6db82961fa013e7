"""GGUF headers in the words of a Hugging Face configuration: of a file itself, or as tools print them in JSON.

A header names its keys behind the architecture's name, as "llama.block_count". Whether head and table are one tensor
is told by the list of tensors alone. Source: [ggml2026quantize], the specification of GGUF beside it.
"""

from __future__ import annotations

import struct
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from ..core.errors import SpecError
from .config_file import Config, show

T = TypeVar("T")
MAGIC = b"GGUF"
SIGN = "general.architecture"
"""A key that every header has."""
MOST_HEADER_B = 2**26
"""Longest header that is read: vocabularies take a few MB."""
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Types of values by their number, as `struct` reads them."""
TEXT, LIST = 8, 9
HEAD, TABLE = "output.weight", "token_embd.weight"
TENSORS = "tensors"
"""Key under which the shapes of tensors go, by name."""
LEVEL = "details.quantization_level"
"""Key under which goes what Ollama says of the storage, which counts where the header says nothing."""
N_FILES = "split.count"
"""Key of how many files a model is in: the first has all keys and a part of the tensors."""
COUNT = "general.parameter_count"
"""Key of how many weights there are."""
CLOSE = 0.01
"""How far from that count a model may be, whose head is its table or not: biases and norms are not counted."""
SAID = ("tie_word_embeddings", "vocab_size")
"""Keys of the library that a user may add."""


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / "data" / "gguf.toml").read_text(encoding="utf-8"))


def is_header(path: Path) -> bool:
    """Whether a file begins as GGUF does; false for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


class _Bytes:
    """The bytes of a header, read from the front."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def scalar(self, letter: str) -> Any:
        (value,) = struct.unpack_from(f"<{letter}", self.content, self.at)
        self.at += struct.calcsize(f"<{letter}")
        return value

    def text(self) -> str:
        size = self.scalar("Q")
        if self.at + size > len(self.content):
            raise struct.error("a text ends beyond the header")
        found = self.content[self.at : self.at + size]
        self.at += size
        return found.decode(errors="replace")

    def value(self, kind: int) -> Any:
        if kind == TEXT:
            return self.text()
        if kind == LIST:
            inner, n = self.scalar("I"), self.scalar("Q")
            return [self.value(inner) for _ in range(min(n, len(self.content)))]
        return self.scalar(SCALARS[kind])

    def tensor(self) -> tuple[str, list[int]]:
        name, n = self.text(), self.scalar("I")
        shape = [self.scalar("Q") for _ in range(min(n, 8))]
        self.scalar("I")
        self.scalar("Q")
        return name, shape


def read_header(path: Path) -> Config:
    """Keys and shapes of tensors of a GGUF file; SpecError where its header is cut off or of another version."""
    with path.open("rb") as file:
        source = _Bytes(file.read(MOST_HEADER_B))
    try:
        source.at = len(MAGIC)
        version, n_tensors, n_keys = source.scalar("I"), source.scalar("Q"), source.scalar("Q")
        if version % 2**16 == 0:  # the bytes of a small number from the back
            raise SpecError(f"{path}: a GGUF file of a big-endian machine is not read; give the model's config.json")
        if version not in (2, 3):
            raise SpecError(f"{path}: version {version} of GGUF is not read; convert it to version 3")
        found: Config = {}
        for _ in range(min(n_keys, len(source.content))):
            name = source.text()
            found[name] = source.value(source.scalar("I"))
        found[TENSORS] = dict(source.tensor() for _ in range(min(n_tensors, len(source.content))))
    except (struct.error, KeyError, MemoryError):
        raise SpecError(f"{path}: a GGUF header that is cut off or damaged; give the whole file") from None
    return found


def from_gguf(raw: Config, place: str) -> Config:
    """`raw` in the library's words where it is a header of GGUF, else as it is; SpecError for what is not known."""
    raw = _plain(raw)
    if SIGN not in raw:
        return raw
    said = str(raw[SIGN])
    # experts of the first kind go by the name of their dense relatives
    name = "mixtral" if said == "llama" and raw.get("llama.expert_count") else said
    known = _data()["architectures"]
    if name not in known:
        raise SpecError(f"{place}: {SIGN} = {show(said)} is not read from GGUF; give the model's config.json")
    own = {key.removeprefix(f"{said}."): value for key, value in raw.items() if key.startswith(f"{said}.")}
    found: Config = {"model_type": known[name]["type"], **{k: raw[k] for k in SAID if k in raw}}
    keys = _data()["keys"] | known[name].get("keys", {})
    for key, value in own.items():
        if key in keys and value == 0:
            continue  # a mixer without heads has none, and a model without an MLP no width of one
        if key in keys:
            found.setdefault(keys[key], _alike(key, value, place))
        elif not key.startswith(tuple(_data()["harmless"]["begins"])) and value not in (0, False, None):
            raise SpecError(f"{place}: key '{said}.{key}' = {show(value)} is not known, so it may change the model")
    if known[name].get("latent"):
        found |= _latent(own, found, place)
    return found | _tables(raw, found, known[name], place) | _stored(raw, place)


def by_count(raw: Config, place: str, read: Callable[[Config], T], count: Callable[[T], float]) -> T:
    """What `read` makes of a header that says how many weights there are, but not whether its head is its table."""
    said = raw[COUNT]
    both = [
        read({k: v for k, v in raw.items() if k != COUNT} | {"tie_word_embeddings": tied}) for tied in (True, False)
    ]
    found = min(both, key=lambda one: abs(count(one) - said))
    if abs(count(found) - said) > CLOSE * said:
        counts = " or ".join(f"{count(one):.4g}" for one in both)
        raise SpecError(f"{place}: {COUNT} = {said:,}, but its sizes make {counts}; give the model's config.json")
    return found


def _plain(raw: Config) -> Config:
    """Keys of a header in JSON by themselves: of gguf-dump, or of what Ollama shows."""
    for outer in ("metadata", "model_info"):
        inner = raw.get(outer)
        if isinstance(inner, dict) and SIGN in inner:
            keys = {k: v.get("value", v) if isinstance(v, dict) else v for k, v in inner.items()}
            level = raw["details"].get("quantization_level") if isinstance(raw.get("details"), dict) else None
            stored = {} if level is None else {LEVEL: level}
            return {**stored, **keys, **{k: raw[k] for k in (TENSORS, *SAID) if k in raw}}
    return raw


def _alike(key: str, value: Any, place: str) -> Any:
    """A size, or the one of all layers."""
    if not isinstance(value, list):
        return value
    if not value or any(x != value[0] for x in value):
        raise SpecError(f"{place}: {key} differs from layer to layer, which is not read; give the model's config.json")
    return value[0]


def _latent(own: Config, found: Config, place: str) -> Config:
    """Widths of latent heads: what is rotated is a part of a key, and both have a length of their own once absorbed."""
    key = own.get("attention.key_length_mla", own.get("attention.key_length"))
    value = own.get("attention.value_length_mla", own.get("attention.value_length"))
    turned = own.get("rope.dimension_count")
    if not all(isinstance(x, int) for x in (key, value, turned)):
        raise SpecError(f"{place}: no attention.key_length, value_length and rope.dimension_count of latent attention")
    found.pop("head_dim", None)
    # heads are compressed together: what the header counts as one cached head has no number of its own
    heads = found.get("num_attention_heads")
    return {
        "qk_rope_head_dim": turned, "qk_nope_head_dim": int(key or 0) - int(turned or 0), "v_head_dim": value,
        "num_key_value_heads": heads, "q_lora_rank": found.get("q_lora_rank"),
        "num_nextn_predict_layers": found.get("num_nextn_predict_layers", 0),
    }  # fmt: skip


def _names(tensors: Any) -> Iterator[tuple[str, list[int]]]:
    """Names and shapes of tensors, from an object or a list of them."""
    items = (
        tensors.items() if isinstance(tensors, dict) else ((x.get("name"), x) for x in tensors if isinstance(x, dict))
    )
    for name, said in items:
        shape = said.get("shape") if isinstance(said, dict) else said
        yield str(name), shape if isinstance(shape, list) else []


def _tables(raw: Config, found: Config, known: dict[str, Any], place: str) -> Config:
    """Vocabulary, and whether its table is the head: as the tensors say, or a type that has no other."""
    tensors = dict(_names(raw.get(TENSORS) or {}))
    # a head may be in another file, but where it is in this one there is no doubt
    whole = raw.get(N_FILES) in (None, 0, 1) or HEAD in tensors
    told: Config = {}
    if "vocab_size" not in found:
        words = raw.get("tokenizer.ggml.tokens")
        rows = max(tensors.get(TABLE) or [0])
        told["vocab_size"] = rows or (len(words) if isinstance(words, list) else None)
        if not told["vocab_size"]:
            raise SpecError(f"{place}: the header says no vocab_size, tokens or tensors; add vocab_size")
    if "tie_word_embeddings" not in found:
        if not (whole and TABLE in tensors) and not known.get("tied"):
            if not isinstance(raw.get(COUNT), int):
                part = "without its tensors" if whole else f"of one file of {raw[N_FILES]}"
                raise SpecError(
                    f"{place}: a GGUF header {part} does not say tie_word_embeddings; add it as JSON of gguf-dump, "
                    "or give the model's config.json"
                )
            return told | {COUNT: raw[COUNT]}
        told["tie_word_embeddings"] = bool(known.get("tied")) or HEAD not in tensors
    return told


def _stored(raw: Config, place: str) -> Config:
    """The object of the storage, for types narrower than 16 bits."""
    types = _data()["file_types"]
    said = raw.get("general.file_type", raw.get(LEVEL))
    name = said if said in types.values() else types.get(str(said))
    if said is None or name in ("F32", "F16", "BF16"):
        return {}
    if name == "MXFP4":  # experts alone, as the model's own checkpoint has them
        return {"quantization_config": {"quant_method": "mxfp4"}}
    if name is None:
        raise SpecError(f"{place}: general.file_type = {show(said)} is not known; give the model's config.json")
    return {"quantization_config": {"quant_method": "gguf", "gguf_file": f"model-{name}.gguf"}}
