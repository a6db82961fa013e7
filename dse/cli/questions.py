"""`dse questions`: studies with sides, each side certified."""

from __future__ import annotations

import dataclasses
import json as json_reader
from pathlib import Path
from typing import Annotated

import tyro

from ..report.session import start_jax
from ..report.terminal import progress, screen
from .flags import JSON, RESULTS, SECONDS


@dataclasses.dataclass(frozen=True)
class QuestionsCommand:
    """Questions of an architect answered side by side, every side solved and certified for itself."""

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[NAME ...]")] = ()
    """Studies with a table [question]: files, or bare names; left out, all that came along."""
    results: RESULTS = ""
    """Folder that gets a folder "questions" with one JSON file for each."""
    gap: Annotated[float, tyro.conf.arg(metavar="FRAC")] = 0.01
    """Stop a side once no other design can be better by more than this."""
    seconds: SECONDS = 30.0
    """Stop a side after this time with the gap reached; compiling is not counted."""
    page: Annotated[str, tyro.conf.arg(metavar="FILE.md")] = ""
    """Also write all answers in the results folder as a page of text."""
    json: JSON = False

    def run(self) -> int:
        """Solve every side of every question, write, show."""
        start_jax()
        from ..core.files import json_text, results_folder
        from ..explore.questions import question, question_names
        from ..report.questions import question_json, question_view, questions_page, write_question

        folder, answers = results_folder(self.results, "questions"), []
        for name in self.names or question_names():
            with progress() as tell:
                found = question(name, tell, gap_frac=self.gap, limit_s=self.seconds)
            write_question(folder, found)
            answers.append(question_json(found))
            if not self.json:
                screen().print(question_view(answers[-1]))
        if self.json:
            print(json_text(answers))
        if self.page:
            kept = [json_reader.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))]
            Path(self.page).write_text(questions_page(kept), encoding="utf-8")
        return 0
