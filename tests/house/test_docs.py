"""test_docs.py — what the documents show is true: blocks marked `run` are run, tables are compared with the library.

Usage: test_docs.py --library libfastkmeans.so --cc gcc [--fkm fkm]

SPDX-License-Identifier: Apache-2.0"""
import argparse
import ctypes
import os
import pathlib
import re
import sys
import tempfile

import house

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+) run\n(.*?)^```$", re.MULTILINE | re.DOTALL)
arguments = None


class ParamInfo(ctypes.Structure):
    """fkm_param_info."""
    _fields_ = [("name", ctypes.c_char_p), ("kind", ctypes.c_int), ("choices", ctypes.c_char_p),
                ("standard", ctypes.c_char_p), ("valid", ctypes.c_char_p), ("help", ctypes.c_char_p),
                ("tasks", ctypes.c_uint)]


def blocks(language):
    for document in DOCUMENTS:
        for found in BLOCK.finditer(document.read_text()):
            if found.group(1) == language:
                yield document.name, found.group(2)


def run_shell(text, scratch):
    """Runs a block as a reader would from the checkout's folder, with fkm on the path; stops at the first failure."""
    if not (scratch / "examples").exists():
        (scratch / "examples").symlink_to(ROOT / "examples")
    environment = dict(os.environ, PATH=f"{arguments.fkm.parent}:{os.environ['PATH']}")
    return house.output_of(["bash", "-euo", "pipefail", "-c", text], cwd=scratch, env=environment)


def test_shell_blocks_run():
    if not arguments.fkm:
        raise house.Skip("built without the command")
    ran = 0
    with tempfile.TemporaryDirectory() as scratch:
        for document, text in blocks("sh"):
            said = run_shell(text, pathlib.Path(scratch))
            print(f"  {document}: {len(text.splitlines())} lines run, {len(said.splitlines())} lines said")
            ran += 1
    assert ran, "no block is marked `sh run`"


def test_c_blocks_run():
    ran = 0
    with tempfile.TemporaryDirectory() as folder:
        for document, text in blocks("c"):
            source, program = pathlib.Path(folder) / "start.c", pathlib.Path(folder) / "start"
            source.write_text(text)
            house.output_of([arguments.cc, "-std=c11", "-Wall", "-Wextra", "-Werror", source, "-o", program,
                             f"-I{ROOT / 'include'}", arguments.library, f"-Wl,-rpath,{arguments.library.parent}"])
            said = house.output_of([program]).split()
            assert document != "README.md" or (said[0] == said[1] != said[2] == said[3]), said
            ran += 1
    assert ran, "no block is marked `c run`"


def test_parameters_are_those_of_the_library():
    library = ctypes.CDLL(str(arguments.library))
    library.fkm_param_count.restype = ctypes.c_size_t
    library.fkm_param_at.restype = ctypes.POINTER(ParamInfo)
    library.fkm_param_at.argtypes = [ctypes.c_size_t]
    infos = [library.fkm_param_at(i).contents for i in range(library.fkm_param_count())]
    real = {(info.name.decode(), info.standard.decode()) for info in infos}
    table = (ROOT / "docs/models.md").read_text().split("## Parameters")[1]
    told = set(re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", table, re.MULTILINE))
    assert told == real, f"only in the library: {sorted(real - told)}; only told: {sorted(told - real)}"


def test_tensors_are_those_of_the_code():
    code = "".join(path.read_text() for path in (ROOT / "src/estimators").glob("file*.c"))
    real = set(re.findall(r'\badd\(fields, "([^"]+)"', code)) | set(re.findall(r'tensor_of\("([^"]+)"', code))
    tables = (ROOT / "docs/model-file.md").read_text().split("## Tensors")[1]
    told = {name for line in re.findall(r"^\| (`[^|]*) \|", tables, re.MULTILINE)
            for name in re.findall(r"`([^`]+)`", line)}
    assert told == real, f"only in the code: {sorted(real - told)}; only told: {sorted(told - real)}"


def test_links_lead_somewhere():
    for document in [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
            assert "://" in target or (document.parent / target).exists(), f"{document.name}: {target}"


def test_folders_on_the_map_exist():
    map_ = (ROOT / "CONTRIBUTING.md").read_text().split("## Where things are")[1].split("```")[1]
    for line in map_.strip().splitlines():
        for word in line.split("   ")[0].split():
            assert (ROOT / word).is_dir(), f"CONTRIBUTING.md: {word} is not there"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", required=True, type=pathlib.Path)
    parser.add_argument("--cc", default="gcc")
    parser.add_argument("--fkm", type=pathlib.Path)
    arguments = parser.parse_args()
    sys.exit(house.run(globals()))
