"""conf.py — how Sphinx builds these pages: `make docs` writes build/docs/index.html.

SPDX-License-Identifier: Apache-2.0"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

project = "FastKMeans"
author = "The FastKMeans developers"
copyright = author
release = re.search(r"^project\(fastkmeans VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE)[1]
version = release

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx_gallery.gen_gallery"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["tutorials/sg_execution_times.rst", "sg_execution_times.rst"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing", "config.cache"]  # links out of docs/ lead to files of the repository

templates_path = ["_templates"]
autosummary_generate = True
autodoc_default_options = {"members": True, "inherited-members": False}
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": str(ROOT / "examples/python"),
    "gallery_dirs": "tutorials",
    "filename_pattern": "/plot_",
    "ignore_pattern": r"quickstart\.py",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "remove_config_comments": True,
}

html_theme = "pydata_sphinx_theme"
html_title = f"FastKMeans {release}"
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False, "secondary_sidebar_items": ["page-toc"]}
html_show_sphinx = False


def leave_out(app, what, name, member, skip, options):
    """scikit-learn's own methods for metadata routing, which its pages describe."""
    return True if name.startswith("set_") and name.endswith("_request") else None


def setup(app):
    app.connect("autodoc-skip-member", leave_out)
