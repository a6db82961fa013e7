"""Reads a Hugging Face `config.json` into a `Model`, or refuses it with one line. Structure is never guessed.

The `model_type` selects the reader (see `families`); a key that is neither read nor listed in `harmless_keys.toml` is
an error.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
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
from .gguf_file import COUNT, by_count, from_gguf, is_header, read_header
from .params_file import OTHERS, translated
from .quantised import stored_as
from .quantisers import cache_note
from .transformer import Model, total_parameters

_NOT_READ = Path(__file__).parent / "data" / "not_read.toml"
_HARMLESS = Path(__file__).parent / "data" / "harmless_keys.toml"


@dataclasses.dataclass(frozen=True)
class Reading:
    """A model read from a file, with the keys that were ignored."""

    model: Model
    model_type: str
    """The `model_type` that selected the reader."""
    method: str
    """Quantisation method of the checkpoint, "none" for 16-bit weights; the format is `Model.weight_format`."""
    ignored: tuple[tuple[str, str], ...]
    """Keys that do not affect the model here, each with the reason."""
    filled: tuple[tuple[str, int], ...] = ()
    """Sizes missing in the file, with the defaults of its type."""
    source: str = ""
    """Source of a preset's sizes; empty for a user's file."""


INSIDES = (*INSIDE, "thinker_config", "thinker_config.text_config", "attn_config", "ffn_config")
"""Objects whose keys are as harmless as those outside."""
NEAR = 0.6
"""How alike two types must be for one to be meant by the other, from 0 to 1."""


@cache
def _groups() -> dict[str, dict[str, Any]]:
    return tomllib.loads(_HARMLESS.read_text(encoding="utf-8"))


@cache
def harmless_keys() -> dict[str, str]:
    """Keys that change no layer, head, expert, width or pattern of any type, each with why."""
    return {key: group["why"] for group in _groups().values() for key in group["keys"]}


def _by_form(key: str) -> str | None:
    """Why a key changes nothing by how its name begins or ends."""
    begins = (g["why"] for g in _groups().values() if key.startswith(tuple(g.get("begins", ()))))
    ends = (g["why"] for g in _groups().values() if key.endswith(tuple(g.get("ends", ()))))
    return next(begins, None) or next(ends, None)


def _why(key: str) -> str | None:
    """Why a key changes nothing; nested keys by the name of their object or their own."""
    known = harmless_keys()
    outer, _, last = key.rpartition(".")
    if outer in ("", *INSIDES):
        return known.get(key) or known.get(last) or _by_form(last)
    return known.get(key) or known.get(outer.split(".")[-1]) or _by_form(outer.split(".")[-1])


@cache
def _not_read() -> dict[str, dict[str, Any]]:
    """Types that are refused, by kind, each kind with why."""
    return tomllib.loads(_NOT_READ.read_text(encoding="utf-8"))


def _classes(f: Fields) -> list[str]:
    """Names in `architectures`; none where it is no list."""
    said = f.raw.get("architectures")
    return [x for x in said if isinstance(x, str)] if isinstance(said, list) else []


def _by_architecture(f: Fields) -> str | None:
    """The longest type with which a name in `architectures` begins, if any."""
    names = [x.lower() for x in _classes(f)]
    return max((t for t in TYPES if any(n.startswith(t.replace("_", "")) for n in names)), key=len, default=None)


def _instead(f: Fields) -> str:
    """What to give in place of a file without a type."""
    whose = next((f"{said}: " for key, said in OTHERS.items() if key in f.raw), "")
    kind = _by_architecture(f)
    return f'add "model_type": {show(kind)}' if kind else f"{whose}give the model's Hugging Face config.json"


def _refused(f: Fields) -> None:
    """SpecError for a type that is known not to be counted, with why."""
    kind = f.model_type
    why = next((g["why"] for g in _not_read().values() if kind in g["types"]), None)
    if why:
        raise SpecError(f"{f.place}: model_type = {show(kind)} is not known, so what its keys mean is not: it is {why}")


UNLIKE = ("pairs", "senses", "recurrent", "diffusion")
"""Groups whose models no sizes of a decoder describe; encoders of text are as large as BERT of their sizes."""


def unlike(name: str) -> str:
    """Why a model of that name is none of attention and MLPs over one text, by its first words; empty if it may be."""
    words = re.findall("[a-z0-9]+", name.rsplit("/", 1)[-1].lower())
    starts = {"".join(words[:n]) for n in range(1, 4)} | ({"t5"} if "t5" in words else set())
    groups = (_not_read()[group] for group in UNLIKE)
    return next(
        (g["why"] for g in groups if starts & {t.lower().replace("_", "").replace("-", "") for t in g["types"]}), ""
    )


def _builder_type(f: Fields) -> str:
    """The type that reads the language model, or SpecError with the nearest known ones."""
    kind = f.model_type
    if kind in FAMILIES:
        return kind
    if not kind:
        raise SpecError(f"{f.place}: model_type = null is not known, so what its keys mean is not; {_instead(f)}")
    _refused(f)
    named = _by_architecture(f)
    near = [named] if named else difflib.get_close_matches(kind, TYPES, n=3, cutoff=NEAR)
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
    """The model described by a `config.json`, the storage of its checkpoint, and the ignored keys.

    Assumes: vectors other than norms of the model's width (biases, head norms, sinks) are below 0.1 % and left out.
    SpecError names file, key, value and what is allowed: unreadable file, unknown type or key, value out of range.
    """
    path = Path(path)
    path = path / "config.json" if is_there(path) and path.is_dir() else path
    # all are called config.json: the folder tells them apart
    name = path.resolve().parent.name if path.name == "config.json" else path.stem
    beside = path.with_name(path.name.replace("config.json", "hf_quant_config.json"))
    raw = read_header(path) if is_header(path) else read(path)
    return reading(raw, str(path), name, read(beside) if beside != path and is_there(beside) else {})


def reading(raw: Config, place: str, name: str, beside: Config | None = None) -> Reading:
    """As `read_config` for a configuration in memory; `beside` is ModelOpt's file if `raw` has no storage format."""
    raw = from_gguf(raw, place)
    if COUNT in raw:
        return by_count(raw, place, lambda x: reading(x, place, name, beside), lambda x: total_parameters(x.model))
    return _read(Fields(translated(raw, place), place), place, name, beside)


def _read(outer: Fields, place: str, name: str, beside: Config | None) -> Reading:
    if outer.flag("is_encoder_decoder", default=False):
        raise SpecError(f"{place}: is_encoder_decoder = true: an encoder with a decoder is not supported")
    parts = towers(outer)  # first: what it takes is no key of the language model, also where that stands outside
    _refused(outer)
    inner = text_fields(outer, FAMILIES)
    kind = _builder_type(inner)
    for f in (outer, inner):
        f.skip("model_type", "is_encoder_decoder")
        if not f.raw.get("use_sliding_window", f.raw.get("sliding_window")):  # nothing has windows but by its type
            f.skip("use_sliding_window", "sliding_window", "max_window_layers")
    quantised = _quantisation(outer, inner)
    quantised = Fields(beside or {}, place).object("quantization") if quantised is None else quantised
    body: Body = FAMILIES[kind](inner)
    # an object inside reports its keys to the outer one; beside towers `inner` is a copy that does not
    seen = outer if inner is outer or is_inside(outer) else inner
    stored = stored_as(quantised, place, body, _expert_dtype(inner, outer))
    headless = _without_head(outer, kind)
    ignored = (*_ignored(seen, kind), *cache_note(quantised), *stored.notes, *(("architectures", x) for x in headless))
    model = Model(
        name=name, hidden=body.hidden, vocab=body.vocab, runs=runs_of(body.blocks), tied_embeddings=body.tied,
        norm_passes=body.norm_passes, max_context=body.max_context, dropout=body.dropout, n_tables=body.n_tables,
        ahead=runs_of(body.ahead), weight_format=stored.spec, left_out=(*body.left_out, *parts),
        headless=bool(headless),
    )  # fmt: skip
    return Reading(
        model, kind, stored.method, ignored, tuple((f"{inner.inside}{k}", v) for k, v in inner.filled.items())
    )


SCORES = ("ForSequenceClassification", "ForTokenClassification", "RewardModel")
"""Ends of the names of classes that give a score or a label for a text instead of words."""
OWN_HEADS = ("bert", "roberta", "xlm-roberta", "camembert", "chatglm")
"""Types of which a class named so has its head for words, or one that is counted with the body (encoders)."""


def _without_head(outer: Fields, kind: str) -> list[str]:
    """What is said of classes without a head for words: those that score, and a type's bare model (embeddings)."""
    names = _classes(outer)
    bare = kind.replace("_", "").replace("-", "").lower() + "model"
    found = [x for x in names if x.endswith(SCORES) or x.lower() == bare]
    if is_inside(outer) or kind in OWN_HEADS or len(found) < len(names):
        return []
    return [f"{x} has no head for words: one score is counted" for x in found]


def _expert_dtype(*levels: Fields) -> str:
    """The width of experts alone, which DeepSeek states outside the object of the storage; else nothing."""
    return next((f.text("expert_dtype", default="") for f in levels if f.has("expert_dtype")), "")


def _quantisation(outer: Fields, inner: Fields) -> dict[str, Any] | None:
    """The object that says how weights are stored, from either level."""
    found = None
    for f in (outer, inner):
        for keys in (("quantization_config", "compression_config"), ("quantization",)):  # MLX says it under both names
            said = f.object(*keys)
            found = said if found is None else found
    return found
