"""test_public_header.py — the header compiles everywhere it is promised to, and the libraries hold what it says.

Usage: test_public_header.py --library libfastkmeans.so --archive libfastkmeans.a --cc gcc

SPDX-License-Identifier: Apache-2.0"""
import argparse
import pathlib
import re
import shutil
import sys
import tempfile

import house

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADER = ROOT / "include/fastkmeans/fastkmeans.h"
USUAL_LIBRARIES = re.compile(r"lib(c|m|pthread|z)\.so\.\d+|ld-linux.*")
ZLIB_FUNCTIONS = re.compile(r"gz\w+|inflate\w*|deflate\w*|crc32\w*|zlibVersion|zError")
USE_OF_EVERY_MACRO = """
#include <fastkmeans/fastkmeans.h>
int main(void)
{
    fkm_params params = FKM_PARAMS_INIT;
    fkm_context_options context = FKM_CONTEXT_OPTIONS_INIT;
    fkm_batch batch = FKM_BATCH_INIT;
    fkm_fit_options fit = FKM_FIT_OPTIONS_INIT;
    fkm_finetune_options finetune = FKM_FINETUNE_OPTIONS_INIT;
    fkm_vectorizer_options vectorizer = FKM_VECTORIZER_OPTIONS_INIT;
    fkm_source_options source = FKM_SOURCE_OPTIONS_INIT;
    fkm_stream_options stream = FKM_STREAM_OPTIONS_INIT;
    return params.struct_size == sizeof params && context.struct_size == sizeof context &&
           batch.struct_size == sizeof batch && fit.struct_size == sizeof fit &&
           finetune.struct_size == sizeof finetune && vectorizer.struct_size == sizeof vectorizer &&
           source.struct_size == sizeof source && stream.struct_size == sizeof stream ? 0 : 1;
}
"""
arguments = None


def compile_text(compiler, suffix, *flags):
    if not shutil.which(compiler):
        raise house.Skip(f"no {compiler} here")
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / f"use{suffix}"
        path.write_text(USE_OF_EVERY_MACRO)
        house.output_of([compiler, *flags, "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror",
                         f"-I{ROOT / 'include'}", "-fsyntax-only", path])


def declared_functions():
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    text = re.sub(r"#define[^\n]*(?:\\\n[^\n]*)*", "", text)
    return {re.search(r"\b(fkm_\w+)\s*\(", found).group(1) for found in re.findall(r"FKM_API\s([^;]*);", text)}


def symbols(*flags):
    """(name, kind) of each line of nm."""
    for line in house.output_of(["nm", *flags]).splitlines():
        words = line.split()
        if len(words) >= 2 and len(words[-2]) == 1:
            yield words[-1], words[-2]


def test_header_is_plain_c():
    for standard in ("-std=c99", "-std=c11", "-std=c17"):
        compile_text(arguments.cc, ".c", standard)


def test_header_is_cpp():
    for standard in ("-std=c++11", "-std=c++17", "-std=c++20"):
        compile_text("g++", ".cpp", standard)


def test_library_exports_the_header_and_nothing_else():
    exported = {name.split("@")[0] for name, kind in symbols("-D", "--defined-only", arguments.library)}
    declared = declared_functions()
    assert len(declared) > 50, f"only {len(declared)} functions were found in the header"
    assert not declared - exported, f"declared, not exported: {sorted(declared - exported)}"
    assert not exported - declared, f"exported, not declared: {sorted(exported - declared)}"


def test_library_needs_libc_alone():
    """No OpenMP, no BLAS, nothing undefined: every symbol comes from glibc, or from zlib."""
    dynamic = house.output_of(["readelf", "-dW", arguments.library])
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    unusual = [name for name in needed if not USUAL_LIBRARIES.fullmatch(name)]
    assert needed and not unusual, f"the library needs {unusual}"
    assert not re.search(r"RPATH|RUNPATH|TEXTREL", dynamic), f"the library carries a path or relocations:\n{dynamic}"
    for name, kind in symbols("-D", "--undefined-only", arguments.library):
        assert kind in "wv" or "@GLIBC_" in name or ZLIB_FUNCTIONS.fullmatch(name.split("@")[0]), f"undefined: {name}"


def test_library_never_prints_aborts_or_exits():
    forbidden = {"printf", "puts", "putchar", "perror", "exit", "_exit", "abort", "stdout", "stderr", "__printf_chk"}
    used = {name.split("@")[0] for name, kind in symbols("-D", "--undefined-only", arguments.library)}
    assert not used & forbidden, f"the library uses {sorted(used & forbidden)}"


def test_library_has_its_soname():
    assert "[libfastkmeans.so.0]" in house.output_of(["readelf", "-dW", arguments.library])


def test_archive_keeps_to_its_names():
    """Whoever links the archive meets only fkm_ and fkmi_."""
    strange = {name for name, kind in symbols("--defined-only", "--extern-only", arguments.archive)
               if kind != "U" and not name.startswith(("fkm_", "fkmi_"))}
    assert not strange, f"global names of the archive: {sorted(strange)}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", required=True)
    parser.add_argument("--archive", required=True)
    parser.add_argument("--cc", default="gcc")
    arguments = parser.parse_args()
    sys.exit(house.run(globals()))
