"""What the documentation tells people to type runs, in a folder of their own, and answers."""

import contextlib
import importlib.util
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import dse
from dse.cli import main

PAGES = sorted((Path(__file__).parents[2] / "docs" / "howto").glob("*.md"))
LONG = ("gradients", "own_study", "front_and_query", "own_backtest", "cheapest_chip")
"""Pages that solve studies or price many engines."""
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
HERE_FILE = re.compile(r"^cat > (\S+) <<'END'\n(.*?)^END\n", re.MULTILINE | re.DOTALL)
params = [pytest.param(p, marks=[pytest.mark.slow] if p.stem in LONG else [], id=p.stem) for p in PAGES]


def run_line(line: str) -> str:
    """What a line prints: ours in this process, where compiled programs are at hand, others in a shell."""
    if line.startswith("python "):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            runpy.run_path(line.removeprefix("python "), run_name="__main__")
        return said.getvalue()
    if not line.startswith("dse "):
        return subprocess.run(["bash", "-ec", line], check=True, capture_output=True, text=True).stdout
    into = re.search(r" > (\S+)$", line)
    command = line[: into.start()] if into else line
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(shlex.split(command)[1:]) == 0, line
    if into:
        Path(into.group(1)).write_text(said.getvalue())
    return said.getvalue()


@pytest.mark.parametrize("page", params)
def test_commands_of_the_page_answer(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "130")
    lines = 0
    for block in BLOCK.findall(page.read_text()):
        text = block
        for place, content in HERE_FILE.findall(block):
            text = text.replace(f"cat > {place} <<'END'\n{content}END\n", f"test -s {place}\n")
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            Path(place).write_text(content)
        for line in text.splitlines():
            assert run_line(line) or not line.startswith(("dse ", "python "))
            lines += 1
    for block in PYTHON.findall(page.read_text()):
        exec(compile(block, page.name, "exec"), {"dse": dse})
    assert lines >= 1


def test_examples_of_docstrings_and_pages_answer_as_written():
    """What `make docs` runs too."""
    place = PAGES[0].parents[1] / "examples.py"
    spec = importlib.util.spec_from_file_location("examples", place)
    examples = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(examples)
    wrong, n = examples.failures()
    assert wrong == 0 and n >= 15


COMPLETES = """
source "$HOME/.local/share/bash-completion/completions/dse"
complete -p dse | grep -q _tyro_dse
for line in "dse opt" "dse optimize s.toml --ga" "dse evaluate h100 llama-3.1-8b --phase p"; do
    COMP_WORDS=($line); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
    _tyro_dse; echo "${COMPREPLY[@]}"
done
"""
"""What bash does when somebody presses the tabulator behind three lines."""


def test_the_documented_lines_complete_commands_flags_and_values(tmp_path):
    index = (PAGES[0].parents[1] / "index.md").read_text()
    (lines,) = re.findall(r"((?:^    .*\n)+)\n\(fish", index, re.MULTILINE)
    (tmp_path / "dse").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dse.cli "$@"\n')
    (tmp_path / "dse").chmod(0o755)
    home = {**os.environ, "HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-ec", lines + COMPLETES], env=home, cwd=PAGES[0].parents[2], capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["optimize", "--gap", "prefill"], done.stderr


def test_every_page_is_in_the_index_and_shows_figures_that_are_there():
    """What `make docs` would stop at, without building the site."""
    docs = PAGES[0].parents[1]
    pages = {str(p.relative_to(docs).with_suffix("")): p.read_text() for p in docs.rglob("*.md")}
    assert set(pages) - {"index"} <= set(re.findall(r"^([\w/]+)$", pages["index"], re.MULTILINE))
    for name, text in pages.items():
        shown = re.findall(r"!\[[^\]]*\]\(([^):]+)\)", text)
        linked = re.findall(r"(?<!!)\[[^\]]*\]\(([^):#]+\.md)\)", text)
        for place in (*shown, *(x for x in linked if "reference/" not in x)):
            assert ((docs / name).parent / place).is_file(), f"{name}.md: {place}"


def test_every_page_of_a_reader_is_in_the_index():
    index = (PAGES[0].parents[1] / "index.md").read_text()
    assert {p.stem for p in PAGES} == set(re.findall(r"^howto/(\w+)$", index, re.MULTILINE))
