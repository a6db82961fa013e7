"""Terminal output: results, progress, errors; JAX configuration of commands. Fast to import for `dse --help`."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import platformdirs

from ..core.apart import Done
from ..core.files import json_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text


PAGE = 120
"""Columns of output that goes to no terminal."""


def screen() -> Console:
    """Where results are shown: the terminal, or a wide page where there is none."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PAGE
    return Console(file=sys.stdout, width=wide, highlight=False)


def unfinished(undone: Sequence[str]) -> list[Text]:
    """What an answer lacks because time was up, in one line; no line where it lacks nothing."""
    from rich.text import Text

    said = f"Unfinished: time was up. Left out: {'; '.join(undone)}. More --seconds go on."
    return [Text(said, style="yellow")] if undone else []


def show(
    as_json: bool, answer: Callable[[], Any], view: Callable[[int], RenderableType], written: str = "",
    undone: Sequence[str] = (),
) -> None:  # fmt: skip
    """An answer on stdout, as JSON, all of it, or as people see it on a page of so many columns.

    People alone are told where files were `written`, and what was left `undone` because time was up.
    """
    if as_json:
        print(json_text(answer()))
        return
    console = screen()
    console.print(view(console.width), *unfinished(undone))
    if written:
        console.print(f"Written to {written}", markup=False)


@contextlib.contextmanager
def progress(begin: str = "reading the study") -> Iterator[Callable[[str], None]]:
    """What long work is doing and for how long, on stderr: a spinner in a terminal, lines elsewhere."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    with contextlib.ExitStack() as open_:
        if console.is_terminal:
            beat = Beat(begin, open_.enter_context(console.status(begin)).update, 1.0)
        else:
            beat = Beat(begin, lambda line: print(line, file=sys.stderr, flush=True), BEAT_S)
        open_.callback(beat.stop)
        yield beat.tell


BEAT_S = 5.0
"""Longest silence where there is no terminal: people wonder after ten seconds."""


class Beat:
    """Tells what is being done, again with the time that it has taken where nothing new is told for a while."""

    def __init__(self, line: str, say: Callable[[str], None], every_s: float):
        self.line, self.say, self.every_s = line, say, every_s
        self.begin = self.spoken = time.monotonic()
        self.ended = threading.Event()
        # a daemon keeps no program alive that ends without `stop`
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def tell(self, line: str) -> None:
        """Something new, with the time left where it says what share is done."""
        self.line, self.spoken = line, time.monotonic()
        self.say(line + left_text(line, self.spoken - self.begin))

    def stop(self) -> None:
        """Nothing is told from here on."""
        self.ended.set()
        self.thread.join()

    def _run(self) -> None:
        # an event, where sleep would let `stop` wait for its end
        while not self.ended.wait(self.every_s / 4):
            now = time.monotonic()
            if now - self.spoken >= self.every_s:
                self.spoken = now
                self.say(f"{self.line}, {duration(now - self.begin)} so far")


def left_text(line: str, spent_s: float) -> str:
    """Time left at the pace so far, of work that is counted; empty for a line that counts none."""
    if not isinstance(line, Done) or not 0 < line.n < line.total:
        return ""
    return f", about {duration(spent_s * (line.total - line.n) / line.n)} left"


EVERY_S = 30.0
"""Seconds between lines of progress that goes to no terminal."""


@contextlib.contextmanager
def points_progress(total: int) -> Iterator[Callable[[int, int, bool], None]]:
    """How far a sweep is, on stderr: a bar in a terminal, a line every `EVERY_S` elsewhere.

    Yields a function that takes points done, points failed among them, and whether an earlier run did them.
    """
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    tally = Tally(total)
    if not console.is_terminal:
        yield tally.tell
        print(tally.text(), file=sys.stderr, flush=True)
        return
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(BarColumn(None), TextColumn("{task.description}"), console=console) as bar:
        task = bar.add_task(tally.text(), total=total)

        def move(done: int, failed: int, before: bool) -> None:
            tally.add(done, failed, before)
            bar.update(task, completed=tally.done, description=tally.text())

        yield move


class Tally:
    """Points done and failed, and how fast."""

    def __init__(self, total: int):
        self.total, self.done, self.failed, self.mine = total, 0, 0, 0
        self.begin = self.spoken = time.monotonic()

    def add(self, done: int, failed: int, before: bool) -> None:
        """Count `done` points, `failed` among them; those of an earlier run say nothing about the pace."""
        self.done, self.failed = self.done + done, self.failed + failed
        self.mine += 0 if before else done

    def tell(self, done: int, failed: int, before: bool) -> None:
        """As `add`, and a line on stderr every `EVERY_S`."""
        self.add(done, failed, before)
        if time.monotonic() - self.spoken >= EVERY_S:
            self.spoken = time.monotonic()
            print(self.text(), file=sys.stderr, flush=True)

    def text(self) -> str:
        """One line: points, pace, failures and time left."""
        spent = max(time.monotonic() - self.begin, 1e-9)
        pace = self.mine / spent
        fast = f"{pace:,.0f}" if pace >= 10 else f"{pace:.2g}"
        words = [f"{self.done:,} of {self.total:,} points", f"{fast} points/s", f"{self.failed:,} failed"]
        if self.mine and self.done < self.total:
            words.append(f"{duration((self.total - self.done) / pace)} left")
        return ", ".join(words)


def duration(spent_s: float) -> str:
    """Seconds as "40 s", "12 min" or "3.5 h"."""
    if spent_s < 100:
        return f"{spent_s:.0f} s"
    return f"{spent_s / 60:.0f} min" if spent_s < 100 * 60 else f"{spent_s / 3600:.1f} h"


def complaint(boxed: str, more: str) -> str:
    """The parser's boxed message in one line: what is wrong, the nearest spelling, and what tells `more`."""
    # the parser says it only in a box drawn for people; it has no message of its own to read
    text = " ".join(re.sub("[╭╮╰╯│]", " ", boxed).split())
    near = re.search(r"Perhaps you meant: (--[a-z-]+)", text)
    value = re.search(r"Error parsing (--[a-z]+): .*? from \['(.*?)'\]", text)
    missing = "Missing from " in text
    what = re.split("─{2,}|-{8,}| Arguments are applied to", text)[1].strip(" .")
    what = re.sub(r" \(applied to [a-z ]*\)", "", what)
    if value:
        what = f"{value[1]} {value[2]}: not a value it can take"
    elif missing:
        *names, _ = re.findall(r"^. {5}(\S+)", boxed, re.MULTILINE)  # what each is for stands further in; help is last
        what = f"missing {', '.join(n[1:-1].replace(',', ' or ') if n[0] == '{' else n for n in names)}"
    for listed in re.findall(r"\(('[^()]*')\)", what):  # the parser lists choices as Python writes a tuple
        choices = [c for c in re.findall(r"'([^']*)'", listed) if c != "None"]
        what = what.replace(f"({listed})", ", ".join(choices))
    return f"{what}; {f'perhaps you meant {near[1]}; ' if near and near[1] not in what else ''}see {more}"


def start_jax() -> None:
    """Switch JAX to float64 and keep compiled programs where the home can be written, so that runs start warm."""
    import jax

    jax.config.update("jax_enable_x64", True)
    folder = platformdirs.user_cache_path("dse") / "jax"  # such as `$XDG_CACHE_HOME/dse/jax` or `~/.cache/dse/jax`
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # else JAX keeps what took a second to compile, and forgets the many that took less
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    # it writes no file whole: one that another command is writing, or was killed over, is compiled again
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry", UserWarning)

    from ..core.kept import keep_in

    keep_in(folder.parent / "kept")
