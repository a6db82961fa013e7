"""The terminal: where answers, progress and complaints go. Light, so that `dse --help` is quick."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PAGE = 120
"""Columns of output that goes to no terminal."""


def screen() -> Console:
    """Where results are shown: the terminal, or a wide page where there is none."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PAGE
    return Console(file=sys.stdout, width=wide, highlight=False)


@contextlib.contextmanager
def progress(begin: str = "reading the study") -> Iterator[Callable[[str], None]]:
    """What long work is doing, on stderr: a spinner in a terminal, lines elsewhere."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda line: print(line, file=sys.stderr, flush=True)
        return
    with console.status(begin) as status:
        yield status.update


def complaint(boxed: str) -> str:
    """The parser's boxed message in one line: what is wrong, the nearest spelling, where to read more."""
    text = " ".join(re.sub("[╭╮╰╯│]", " ", boxed).split())
    more = re.findall(r"dse[a-z ]*--help", text)[-1]
    near = re.search(r"Perhaps you meant: (--[a-z-]+)", text)
    value = re.search(r"Error parsing (--[a-z]+): .*? from \['(.*?)'\]", text)
    missing = re.search(r"Missing from [a-z ]+:", text)
    what = re.split("─{2,}|-{8,}", text)[1].strip(" .")
    if value:
        what = f"{value[1]} {value[2]}: not a value it can take"
    elif missing:
        what = f"missing {', '.join(re.findall(r'([A-Z][A-Za-z.]+) [A-Z]', what)[:2]) or 'arguments'}"
    return f"{what}; {f'perhaps you meant {near[1]}; ' if near else ''}see {more}"
