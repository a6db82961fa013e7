"""How long `dse explore` takes from an input to an answer and to a picture, to another metric, and to a new optimum.

    python tests/bench/bench_page.py [STUDY.toml]

In the process: the model alone. In Chromium, where there is one (`CHROMIUM` says where), at 1,280 pixels: a slider
moved by key a hundred times, one every tenth of a second; lists and ticks of figures changed twenty times; then
"Re-optimise" three times, the first from nothing. Times run from the time that the browser gives an input to the frame
after what it draws.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dse.explorer.subject import first_chip

STUDY = sys.argv[1] if len(sys.argv) > 1 else "sweeps/trainium4.toml"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
MOVES, PAUSE_MS = 100, 100
SWITCHES = {
    "Front": ("front-y", "front-log", "front-beneath"), "Serving": ("serving-y", "serving-log", "serving-labels"),
    "Truth": ("truth-by",),
}  # fmt: skip
"""Lists and ticks of a view that draw its figure anew."""
SWITCHED = """async (id) => {
  const node = document.getElementById(id), began = performance.now();
  if (node.type === "checkbox") node.checked = !node.checked;
  else node.selectedIndex = (node.selectedIndex + 1) % node.options.length;
  node.dispatchEvent(new Event("change"));
  const after = new MessageChannel(), shown = new Promise((done) => { after.port1.onmessage = done; });
  requestAnimationFrame(() => after.port2.postMessage(0));
  await shown;
  return performance.now() - began;
}"""


def said(words: str, values: list[float], unit: str = "ms") -> None:
    """Median and 95th percentile in one line."""
    ordered = sorted(values)
    p95 = ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)]
    print(f"{words:<44} p50 {statistics.median(ordered):8.2f} {unit}   p95 {p95:8.2f} {unit}   n {len(ordered)}")


def in_process() -> Path:
    """The model alone, everything that the page shows with all plans searched; returns an offline page."""
    from dse.report.terminal import start_jax

    start_jax()
    from dse.explorer.ask import ask_of
    from dse.explorer.offline import write_page
    from dse.explorer.session import study_answers

    began = time.perf_counter()
    answers = study_answers(STUDY, (Path("results"),), (), lambda _: None)
    print(f"{'made ready':<44} {time.perf_counter() - began:12.1f} s")
    names, first = [f.name for f in answers.subject.study.free], first_chip(answers.subject)
    times = []
    for k in range(200):
        began = time.perf_counter()
        moved = dict(zip(names, (first.x * (1 + 1e-6 * k)).tolist(), strict=True))
        answers.evaluate(ask_of(answers.subject, {"x": moved, "choice": first.choice}))
        times.append(1e3 * (time.perf_counter() - began))
    said("evaluate, all plans searched", times)
    return write_page(answers, Path(tempfile.mkdtemp()) / "page.html")


def in_browser(offline: Path) -> None:
    """From a key to an answer and to a picture, with a server and without."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "dse.cli", "explore", STUDY, "--no-open"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = opened(browser, server.stdout.readline().strip())
            page.check("#auto")
            moved(page)
            switched(page)
            page.click("#tab-Design")
            optimised(page)
            print(f"offline page, {offline.stat().st_size / 1e6:.1f} MB")
            page = opened(browser, offline.as_uri())
            moved(page)
            switched(page)
            browser.close()
    finally:
        server.terminate()
        server.wait(20)


def opened(browser, address: str):
    """A page, once it is drawn."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    began = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("body[data-ready]", timeout=120_000)
    print(f"{'first picture':<44} {time.perf_counter() - began:12.1f} s")
    return page


def moved(page) -> None:
    """A slider, moved by key there and back."""
    page.wait_for_timeout(1000)
    page.locator("input[type=range]").nth(1).focus()
    for k in range(MOVES):
        page.keyboard.press("ArrowLeft" if k < MOVES // 2 else "ArrowRight")
        page.wait_for_timeout(PAUSE_MS)
    times = page.evaluate("globalThis.explorerTimes")[-MOVES + 5 :]
    names = {
        "handler_ms": "  in the handler", "answer_ms": "input to answer (asked, answered, parsed)",
        "draw_ms": "  drawing", "total_ms": "input to picture (next frame shown)",
    }  # fmt: skip
    for key, words in names.items():
        said(words, [t[key] for t in times])


def switched(page) -> None:
    """Every list and tick of the figures, twenty times."""
    for view, controls in SWITCHES.items():
        page.click(f"#tab-{view}")
        page.wait_for_selector(".figure svg")
        page.wait_for_timeout(12_000 if view == "Front" else 1000)  # chips and the designs beneath a front come later
        for control in controls:
            times = []
            for _ in range(20):
                times.append(page.evaluate(SWITCHED, control))
                page.wait_for_timeout(PAUSE_MS)
            said(f"  {view}, #{control}", times)


def optimised(page) -> None:
    """The optimum, three times."""
    for k in range(3):
        page.evaluate("explorer.progress.textContent = ''")
        page.click("text=Re-optimise")
        page.wait_for_selector("text=Whole counts", timeout=300_000)
        spent = re.search(r"in ([\d.]+) s", page.evaluate("explorer.progress.textContent"))
        print(f"{'re-optimise, ' + ('from nothing' if k == 0 else 'warm'):<44} {spent[1] if spent else '?':>12} s")


if __name__ == "__main__":
    written = in_process()
    if CHROMIUM:
        in_browser(written)
    else:
        print("no Chromium: nothing was measured in a browser")
