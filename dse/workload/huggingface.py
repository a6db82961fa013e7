"""A `Model` from a Hugging Face `config.json`, or one line that says why not. Structure is never guessed.

A model's type decides what reads its file (see `families`); a key that nobody reads and `harmless_keys.toml` does not
list is an error.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from ..core.errors import SpecError
from ..core.files import is_there
from .blocks import runs_of
from .config_file import Config, Fields, read, show
from .families import FAMILIES, TYPES, Body
from .families.vision import INSIDE, is_inside, text_fields, towers
from .quantised import stored_as
from .transformer import Model

_HARMLESS = Path(__file__).parent / "data" / "harmless_keys.toml"


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a file says, and what of it was passed over."""

    model: Model
    model_type: str
    """Type that decided what reads it."""
    method: str
    """What made the checkpoint's format, "none" for plain 16-bit weights; the format itself is the model's."""
    ignored: tuple[tuple[str, str], ...]
    """Keys that change nothing here, each with why."""
    source: str = ""
    """Where a preset's sizes come from; nothing for a user's file."""


INSIDES = (*INSIDE, "thinker_config", "thinker_config.text_config", "attn_config", "ffn_config")
"""Objects whose keys are as harmless as those outside."""
NUMBERS = ("_token_id", "_token_ids", "_token_index")
"""Ends of keys that hold numbers of special tokens."""
NEAR = 0.6
"""How alike two types must be for one to be meant by the other, from 0 to 1."""


@cache
def harmless_keys() -> dict[str, str]:
    """Keys that change no layer, head, expert, width or pattern of any type, each with why."""
    groups = tomllib.loads(_HARMLESS.read_text(encoding="utf-8"))
    return {key: group["why"] for group in groups.values() for key in group["keys"]}


def _why(key: str) -> str | None:
    """Why a key changes nothing; nested keys by the name of their object or their own."""
    known = harmless_keys()
    outer, _, last = key.rpartition(".")
    if last.endswith(NUMBERS):
        return known["eos_token_id"]
    return known.get(key) or known.get(last if outer in ("", *INSIDES) else outer.split(".")[-1])


def _builder_type(f: Fields) -> str:
    """The type that reads the language model, or SpecError with the nearest known ones."""
    kind = f.model_type
    if kind in FAMILIES:
        return kind
    near = difflib.get_close_matches(kind, TYPES, n=3, cutoff=NEAR)
    like = f"did you mean {' or '.join(near)}? " if near else ""
    raise SpecError(
        f"{f.place}: model_type = {show(f.raw.get('model_type'))} is not known, so what its keys mean is not; {like}"
        f"`dse models --types` lists the {len(TYPES)} that are read"
    )


def _ignored(f: Fields, kind: str) -> tuple[tuple[str, str], ...]:
    """Keys that nobody read, with why each is harmless, or SpecError for the first that may not be."""
    found = []
    for key, value in sorted(f.unread().items()):
        why = _why(key)
        if why is None:
            raise SpecError(
                f"{f.place}: key '{key}' = {show(value)} is not known for model_type {kind}, so it may change the "
                "model; remove it if it does not, or correct its name"
            )
        found.append((key, why))
    return tuple(found)


def read_config(path: str | Path) -> Reading:
    """The model that a `config.json` describes, how its checkpoint is stored, and what was passed over.

    Assumes: vectors beside the norms of the model's width (biases, norms of heads, sinks) are below 0.1 % and left out.
    SpecError names file, key, value and what is allowed: unreadable file, unknown type or key, value out of range.
    """
    path = Path(path)
    path = path / "config.json" if is_there(path) and path.is_dir() else path
    name = path.resolve().parent.name if path.name == "config.json" else path.stem
    return reading(read(path), str(path), name)


def reading(raw: Config, place: str, name: str) -> Reading:
    """As `read_config` for a configuration that is in memory."""
    outer = Fields(raw, place)
    if outer.flag("is_encoder_decoder", default=False):
        raise SpecError(f"{place}: is_encoder_decoder = true: an encoder with a decoder is not supported")
    parts = towers(outer)
    inner = text_fields(outer)
    kind = _builder_type(inner)
    for f in (outer, inner):
        f.skip("model_type")
        f.skip("is_encoder_decoder")
    quantised = _quantisation(outer, inner)
    experts = next((f.text("expert_dtype", default="") for f in (inner, outer) if f.has("expert_dtype")), "")
    body: Body = FAMILIES[kind](inner)
    seen = outer if inner is outer or is_inside(outer) else inner
    ignored = _ignored(seen, kind)
    stored = stored_as(quantised, place, body, experts)
    model = Model(
        name=name, hidden=body.hidden, vocab=body.vocab, runs=runs_of(body.blocks), tied_embeddings=body.tied,
        norm_passes=body.norm_passes, max_context=body.max_context, dropout=body.dropout, n_tables=body.n_tables,
        ahead=runs_of(body.ahead), weight_format=stored.spec, left_out=(*body.left_out, *parts),
    )  # fmt: skip
    return Reading(model, kind, stored.method, ignored)


def _quantisation(outer: Fields, inner: Fields) -> dict[str, Any] | None:
    """The object that says how weights are stored, from either level."""
    for f in (outer, inner):
        key = f.key_of("quantization_config", "compression_config")
        if key is not None:
            if not isinstance(f.raw[key], dict):
                raise f.error(key, "an object")
            return f.raw[key]
    return None
