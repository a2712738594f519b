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
BLOCK = re.compile(r"^```python run\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(page.name, text) for page in PAGES for text in BLOCK.findall(page.read_text())]


def test_readme_shows_python():
    assert "README.md" in [name for name, _ in BLOCKS]


@pytest.mark.parametrize(("page", "text"), BLOCKS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(BLOCKS)])
def test_blocks_of_the_pages_run(page, text, capsys):
    exec(compile(text, page, "exec"), {"__name__": "__main__"})
    said = capsys.readouterr().out
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
