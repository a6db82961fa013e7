"""Cache of large compiled JAX programs between runs: a warm run neither traces nor compiles them.

The key is the function, the source of its modules, static arguments, shapes, JAX's version and the machine.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import platform
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax.core import Tracer
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache

from .apart import apart
from .kept import ROOMS, UNSAID, is_kept, keep, kept
from .types import SOON_COMPILED

T = TypeVar("T")
SETTINGS = ("jax_enable_x64", "jax_default_matmul_precision")
"""Settings of JAX that change what a program is."""
WATCHED = ("jax_debug_nans", "jax_debug_infs", "jax_disable_jit")
"""Settings under which a program is watched while it runs: none is kept then."""
UNFIT = (ValueError, TypeError, AttributeError, NotImplementedError, pickle.PicklingError, jax.errors.JaxRuntimeError)
"""What a program that cannot be kept, or the form of its results, raises."""
LAPACK = b"lapack_"
"""How names of routines of linear algebra begin in a program."""
AT_ONCE = threading.Semaphore(os.cpu_count() or 1)
"""Programs that are made beside the command at a time, first come first served."""
CACHE = "jax_enable_compilation_cache"
"""Setting of JAX that lets it keep programs by itself."""


class Program(Generic[T]):
    """A function compiled once for every form of its arguments and kept; all but arrays is static, so hashable."""

    def __init__(self, fun: Callable[..., T]) -> None:
        self.fun = fun
        self._made: dict[Any, Future[Callable[..., Any]]] = {}
        self.__doc__, self.__name__, self.__module__ = fun.__doc__, fun.__name__, fun.__module__

    def __call__(self, *args: Any, **kwargs: Any) -> T:
        """What the function returns, as device arrays."""
        made, arrays = self._made_for(args, kwargs)
        return made(*arrays)

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Make the program for arguments of this form, if programs are kept, so that it is there when it is called."""
        if _keeps():
            self._made_for(args, kwargs)

    def _made_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Callable[..., Any], list[Any]]:
        leaves, form = jax.tree.flatten((args, kwargs))
        is_array = [isinstance(x, (jax.Array, np.ndarray, np.generic)) for x in leaves]
        arrays = [x for x, own in zip(leaves, is_array, strict=True) if own]
        rest = tuple(None if own else x for x, own in zip(leaves, is_array, strict=True))
        traced = is_traced(arrays)
        shapes = tuple((x.shape, x.dtype, getattr(x, "weak_type", False)) for x in arrays)
        # 1, 1.0 and True are equal and hash alike, and make different programs: hence the types
        known = (traced, form, tuple(is_array), shapes, rest, tuple(map(type, rest)))
        mine = Future()
        # whoever puts its future there first makes the program, and the other threads wait for it
        if (made := self._made.setdefault(known, mine)) is mine:
            options = {} if traced else SOON_COMPILED  # those of a program hold for all that it calls
            jitted = jax.jit(_flat(self.fun, form, is_array, rest), **options)
            try:
                mine.set_result(jitted if traced else self._compiled(jitted, arrays, (form, shapes), rest))
            except BaseException as error:  # whatever it is, who waits is told, and the next may try again
                del self._made[known]
                mine.set_exception(error)
                raise
        return made.result(), arrays

    def _compiled(
        self, jitted: Any, arrays: list[Any], shape: tuple[Any, ...], rest: tuple[Any, ...]
    ) -> Callable[..., Any]:
        static, room = [_said(x) for x in rest], _last_room([self.fun, *rest])
        if room is None or None in static or not _keeps():
            return jitted
        what = "\n".join(map(str, (self.__module__, self.__name__, SOON_COMPILED, *shape, static, _surroundings())))
        if (body := kept(room, what)) is not None:
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                # what this JAX cannot load is made anew below
                return _loaded(body)
        with _not_from_cache():
            made = jitted.lower(*arrays).compile()
        with contextlib.suppress(*UNFIT):
            keep(room, what, _body(made))
        return made


compiled = Program
"""The decorator that makes one."""


def meanwhile(prepare: Callable[[], None]) -> None:
    """Make programs in a thread, where programs are kept; what fails there fails again, and is told, when called."""
    if _keeps():
        apart(lambda: _in_turn(prepare))


def _in_turn(prepare: Callable[[], None]) -> None:
    with AT_ONCE:
        prepare()


def is_traced(records: Any) -> bool:
    """Whether any number in `records` is one that a program or a gradient is being made of."""
    return any(isinstance(x, Tracer) for x in jax.tree.leaves(records))


def _flat(fun: Callable[..., T], form: Any, is_array: list[bool], rest: tuple[Any, ...]) -> Callable[..., T]:
    """`fun` of its arrays alone."""

    def flat(*arrays: Any) -> T:
        each = iter(arrays)
        args, kwargs = jax.tree.unflatten(
            form, [next(each) if own else x for own, x in zip(is_array, rest, strict=True)]
        )
        return fun(*args, **kwargs)

    flat.__name__ = fun.__name__
    return flat


def _keeps() -> bool:
    """Whether programs are kept: on one processor, where it was tried, and with nobody watching."""
    watched = any(getattr(jax.config, name) for name in WATCHED)
    return is_kept() and not watched and jax.default_backend() == "cpu" and jax.device_count() == 1


def _last_room(things: Sequence[Any]) -> str | None:
    """The room that knows all rooms from which functions and records come; None where one may not keep anything."""
    named = [str(getattr(x, "__module__", "")).split(".") for x in things]
    rooms = {m[1] for m in named if m[0] == "dse" and m[1:]}
    return max(rooms, key=ROOMS.index) if rooms and rooms <= set(ROOMS) else None


def _said(static: Any) -> str | None:
    """All of something static in words; None where they leave something out."""
    if isinstance(static, FunctionType):
        name = f"{static.__module__}.{static.__qualname__}"
        # a function made inside another ("<locals>") may hold anything, which its name does not say
        return name if name.startswith("dse.") and "<" not in name else None
    if type(static).__module__.split(".")[0] not in ("builtins", "dse"):
        return None
    text = repr(static)
    return None if UNSAID in text else text


@cache
def _surroundings() -> tuple[Any, ...]:
    device = jax.devices()[0]
    settings = [getattr(jax.config, name) for name in SETTINGS]
    versions = jax.__version__, jaxlib.__version__, eqx.__version__, device.client.platform_version
    return (*versions, device.platform, device.device_kind, _processor(), *settings, os.environ.get("XLA_FLAGS", ""))


def _processor() -> str:
    """What this machine's processor can do: a program for another may stop it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return f"{platform.machine()} {platform.processor()}"


class _Outside:
    """How many threads compile without JAX's own cache, and whether it is on otherwise."""

    lock, n, usual = threading.Lock(), 0, True


@contextlib.contextmanager
def _not_from_cache() -> Iterator[None]:
    """Without JAX's own cache: what comes out of it cannot be kept, since its functions are lost."""
    with _Outside.lock:
        if _Outside.n == 0:
            _Outside.usual = getattr(jax.config, CACHE)
            _use_cache(False)
        _Outside.n += 1
    try:
        yield
    finally:
        with _Outside.lock:
            _Outside.n -= 1
            if _Outside.n == 0:
                # several threads may compile at once: the last one out gives the cache back
                _use_cache(_Outside.usual)


def _use_cache(is_on: bool) -> None:
    jax.config.update(CACHE, is_on)
    # JAX asks once whether its cache is in use, and remembers until it is reset
    compilation_cache.reset_cache()


def _body(made: jax.stages.Compiled) -> bytes:
    """A program as bytes; the form of its results as a record of them, since marks in a form are lost in pickles."""
    code, taken, given = serialize_executable.serialize(made)
    return pickle.dumps((code, taken, jax.tree.unflatten(given, range(given.num_leaves))))


@cache
def _find_lapack() -> None:
    """Let JAX look up routines of linear algebra, which it does where it lowers one: a kept program only calls them."""
    jax.jit(jnp.linalg.cholesky).lower(np.eye(1))


def _loaded(body: bytes) -> Callable[..., Any]:
    if LAPACK in body:
        _find_lapack()
    code, taken, results = pickle.loads(body)
    return serialize_executable.deserialize_and_load(code, taken, jax.tree.structure(results))
