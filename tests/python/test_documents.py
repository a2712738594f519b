"""test_documents.py — what the pages show for Python runs: blocks marked `python run`, the tutorials, the quick start.

SPDX-License-Identifier: Apache-2.0"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python run\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d+(?:\.\d+)?")
BLOCKS = [(page.name, *found) for page in PAGES for found in BLOCK.findall(page.read_text())]


def test_readme_shows_python():
    assert "README.md" in [block[0] for block in BLOCKS]


def is_close(said, shown):
    """Of text that shows what a block says: the same words, and figures that differ by a fiftieth at most."""
    figures = [list(map(float, NUMBER.findall(text))) for text in (said, shown)]
    return NUMBER.sub("#", said) == NUMBER.sub("#", shown) and figures[0] == pytest.approx(figures[1], rel=0.02, abs=0.02)


def test_other_figures_are_not_close():
    assert is_close("0.981 with 100: {'k': 10}\n", "0.975 with 100: {'k': 10}\n")
    assert not is_close("0.981 with 100\n", "0.95 with 100\n")
    assert not is_close("0.981 with 100\n", "0.981 of 100\n")


@pytest.mark.parametrize(("page", "text", "shown"), BLOCKS, ids=[f"{b[0]}-{i}" for i, b in enumerate(BLOCKS)])
def test_blocks_of_the_pages_run(page, text, shown, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(compile(text, page, "exec"), {"__name__": "__main__"})
    said = capsys.readouterr().out
    assert not shown or is_close(said, shown), said
    share = re.search(r"([\d.]+)% of", said)
    assert share is None or float(share[1]) > 94, said


@pytest.mark.parametrize("script", sorted((ROOT / "examples/python").glob("*.py")), ids=lambda path: path.stem)
def test_examples_run(script, tmp_path):
    if "plot" in script.stem:
        pytest.importorskip("matplotlib")
    environment = dict(os.environ, MPLBACKEND="Agg", TMPDIR=str(tmp_path))
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
