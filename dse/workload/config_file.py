"""Typed reading of a JSON configuration file; each error is one line with file, key and value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..core.errors import SpecError

Config = dict[str, Any]

MOST_LAYERS = 10_000
"""Most layers: each is looked at one by one."""
MOST_WHOLE = 2**40
"""Largest of every other whole number: far above any model, far below what overflows when two are multiplied."""


def _no_repeats(pairs: list[tuple[str, Any]]) -> Config:
    """JSON object as a dict; the json module would silently keep the last of two equal keys."""
    keys = [k for k, _ in pairs]
    repeated = next((k for k in keys if keys.count(k) > 1), None)
    if repeated is not None:
        raise SpecError(f"key '{repeated}' appears twice; keep one")
    return dict(pairs)


def read(path: Path) -> Config:
    """The JSON object in `path`, or SpecError."""
    try:
        # sig: editors of Windows put a mark before the text, which json refuses
        raw = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_no_repeats)
    except OSError as e:
        raise SpecError(f"{path}: cannot be read ({e.strerror}); give the path of a Hugging Face config.json") from None
    except json.JSONDecodeError as e:
        remedy = "is the file truncated?" if path.suffix == ".json" else "give the path of a Hugging Face config.json"
        raise SpecError(f"{path}: not valid JSON at line {e.lineno}: {e.msg}; {remedy}") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: not UTF-8 text; give the path of a Hugging Face config.json") from None
    except RecursionError:
        raise SpecError(f"{path}: nested too deeply; give the path of a Hugging Face config.json") from None
    # after its subclasses: a repeated key, or a number of more digits than Python reads
    except (SpecError, ValueError) as e:
        raise SpecError(f"{path}: {e}") from None
    if not isinstance(raw, dict):
        raise SpecError(f"{path}: holds {show(raw)}, expected an object with keys such as hidden_size")
    return raw


def show(value: Any) -> str:
    """`value` as short text on one line."""
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


class AbstractKeys:
    """The keys of a configuration, those that were read among them, so that unknown ones can be refused."""

    def __init__(self, raw: Config, place: str, inside: str = "") -> None:
        self.raw, self.place, self.inside = raw, place, inside
        self.filled: dict[str, int] = {}
        """Sizes that the file leaves to its type, with what they are there."""
        self.seen: set[str] = set()
        """Keys that were read."""
        self.inner: list[AbstractKeys] = []
        """Objects inside, whose keys are read too."""

    @property
    def model_type(self) -> str:
        """The type that the file names, or nothing."""
        return str(self.raw.get("model_type") or "")

    def error(self, key: str, expected: str) -> SpecError:
        """The error of a key with a value that is not allowed."""
        return SpecError(f"{self.place}: {self.inside}{key} = {show(self.raw.get(key))}, expected {expected}")

    def key_of(self, *keys: str) -> str | None:
        """The one of `keys` that the file has, marked as read; SpecError where two of them disagree."""
        self.seen.update(keys)
        # a null is as good as absent here; where it says something else, `optional` and `own` read it
        found = [k for k in keys if self.raw.get(k) is not None]
        # as texts: lists have no hash, and to Python true equals 1
        if len({show(self.raw[k]) for k in found}) > 1:
            said = " and ".join(f"{self.inside}{k} = {show(self.raw[k])}" for k in found)
            raise SpecError(f"{self.place}: {said} mean the same and differ; keep one")
        return found[0] if found else None

    def has(self, *keys: str) -> bool:
        """Whether the file has one of `keys` with a value."""
        return self.key_of(*keys) is not None

    def object(self, *keys: str) -> Config | None:
        """The object of the first of `keys` that the file has, as it is, or None."""
        key = self.key_of(*keys)
        if key is not None and not isinstance(self.raw[key], dict):
            raise self.error(key, "an object")
        return None if key is None else self.raw[key]

    def skip(self, *keys: str) -> None:
        """Mark `keys` as read: the caller knows that they change nothing."""
        self.seen.update(keys)

    def fixed(self, key: str, *allowed: Any) -> None:
        """SpecError unless `key` is missing or one of `allowed`: another value would be another model."""
        if self.key_of(key) is not None and self.raw[key] not in allowed:
            raise SpecError(
                f"{self.place}: {self.inside}{key} = {show(self.raw[key])} is not supported for {self.model_type}; "
                f"allowed: {', '.join(show(a) for a in allowed)}"
            )

    def fill(self, usual: dict[str, int]) -> None:
        """Take the sizes that the file lacks from `usual`; a null is not missing."""
        self.filled = {k: v for k, v in usual.items() if k not in self.raw}
        whole: Config = {**usual, **self.raw}
        self.raw = whole

    def unread(self) -> dict[str, Any]:
        """Keys with a value that nobody read, nested ones with the name of their object."""
        # a null says that there is none of something, which changes no model
        own = {f"{self.inside}{k}": v for k, v in self.raw.items() if k not in self.seen and v is not None}
        for part in self.inner:
            own |= part.unread()
        return own


class Fields(AbstractKeys):
    """A configuration read key by key, each as the kind of value that it must hold."""

    def whole(self, *keys: str, default: int | None = None, least: int = 1) -> int:
        """The whole number of the first of `keys` that the file has, else `default`, else SpecError."""
        key = self.key_of(*keys)
        if key is None:
            if default is None:
                named = " or ".join(f"{self.inside}{k}" for k in keys)
                raise SpecError(f"{self.place}: no {named}; add it, a whole number, at least {least}")
            return default
        value = self.raw[key]
        # True is an int to Python, and no size of anything
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.error(key, f"a whole number, at least {least}")
        if value > MOST_WHOLE:
            raise self.error(key, f"at most {MOST_WHOLE:,}: no such model exists")
        return value

    def layers(self, *keys: str, default: int | None = None, least: int = 1) -> int:
        """A count of layers, which become a list: as `whole`, and at most `MOST_LAYERS`."""
        n = self.whole(*keys, default=default, least=least)
        if n > MOST_LAYERS:
            raise self.error(str(self.key_of(*keys)), f"at most {MOST_LAYERS:,}: no such model exists")
        return n

    def optional(self, key: str, default: int) -> int:
        """The whole number of `key`: 0 where it is null, `default` where the file lacks it."""
        self.seen.add(key)
        if key in self.raw and self.raw[key] is None:
            return 0
        return self.whole(key, default=default)

    def number(self, key: str, default: float | None = None) -> float:
        """The number of `key`, above 0 and no larger than a whole number may be; SpecError without it or `default`."""
        value = default if self.key_of(key) is None else self.raw[key]
        # Python's json reads NaN and Infinity, of which neither passes this comparison
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST_WHOLE:
            raise self.error(key, f"a number, above 0 and at most {MOST_WHOLE:,}")
        return value

    def flag(self, *keys: str, default: bool) -> bool:
        """True or false of the first of `keys` that the file has, `default` where it has none."""
        key = self.key_of(*keys)
        if key is None:
            return default
        if not isinstance(self.raw[key], bool):
            raise self.error(key, "true or false")
        return self.raw[key]

    def text(self, *keys: str, default: str, allowed: tuple[str, ...] = ()) -> str:
        """A word, one of `allowed` where they are given."""
        key = self.key_of(*keys)
        if key is None:
            return default
        value = self.raw[key]
        if not isinstance(value, str) or (allowed and value not in allowed):
            raise self.error(key, f"one of {', '.join(allowed)}" if allowed else "a word")
        return value

    def items(self, *keys: str, length: int | None = None) -> list[Any] | None:
        """The list of the first of `keys` that the file has, of `length` entries, or None."""
        key = self.key_of(*keys)
        if key is None:
            return None
        value = self.raw[key]
        if not isinstance(value, list):
            raise self.error(key, "a list")
        if length is not None and len(value) != length:
            raise self.error(key, f"one entry for each of {length} layers, got {len(value)}")
        return value

    def words(self, *keys: str, length: int, allowed: tuple[str, ...]) -> list[str] | None:
        """A list with a word of `allowed` for each layer, or None."""
        value = self.items(*keys, length=length)
        odd = next((x for x in value or [] if x not in allowed), None)
        if odd is not None:
            key = self.key_of(*keys)
            raise SpecError(f"{self.place}: {self.inside}{key} has an entry {show(odd)}; allowed: {', '.join(allowed)}")
        return value

    def indices(self, *keys: str, below: int) -> list[int] | None:
        """A list of indices of layers from 0, each below `below`, or None."""
        value = self.items(*keys)
        if not all(isinstance(x, int) and not isinstance(x, bool) and 0 <= x < below for x in value or []):
            raise self.error(str(self.key_of(*keys)), f"indices of layers from 0 to {below - 1}")
        return value

    def nested(self, *keys: str) -> Fields | None:
        """The object of the first of `keys` that the file has, its keys to be read too, or None."""
        value = self.object(*keys)
        if value is None:
            return None
        found = Fields(value, self.place, f"{self.inside}{self.key_of(*keys)}.")
        self.inner.append(found)
        return found


def wholes(f: Fields, key: str, default: list[int]) -> list[int]:
    """A list of whole numbers, or one alone, each at least 1."""
    value = f.raw.get(key)
    if not isinstance(value, list):
        return default if f.key_of(key) is None else [f.whole(key)]
    # one by one through `whole`, for its checks and its words
    return [Fields({key: x}, f.place, f.inside).whole(key) for x in value] or default


def without(f: Fields, *keys: str) -> Fields:
    """The same fields but `keys`; what is read of them counts as read in `f`."""
    other = Fields({k: v for k, v in f.raw.items() if k not in keys}, f.place, f.inside)
    # one set of both, so that keys read through the copy are not refused as unread
    other.seen, other.inner = f.seen, f.inner
    f.seen.update(keys)
    return other
