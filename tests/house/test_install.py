"""test_install.py — what users do: install, build an example against the installed library, run it.

Usage: test_install.py --cmake cmake --build BUILD_DIR --cc gcc

SPDX-License-Identifier: Apache-2.0"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import house

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.c"))
STRICT = ["-std=c11", "-pedantic", "-O2", "-Wall", "-Wextra", "-Werror"]
PROJECT = """
cmake_minimum_required(VERSION 3.22)
project(user C)
find_package(fastkmeans {version} REQUIRED)
add_executable(shared {source})
target_link_libraries(shared PRIVATE fastkmeans::fastkmeans)
add_executable(static {source})
target_link_libraries(static PRIVATE fastkmeans::fastkmeans_static)
"""
PART = """
cmake_minimum_required(VERSION 3.22)
project(user C)
add_subdirectory({root} fastkmeans)
add_executable(program {source})
target_link_libraries(program PRIVATE fastkmeans::fastkmeans)
"""
arguments = prefix = scratch = None


def library_dir():
    return next(prefix.rglob("libfastkmeans.so")).parent


def pkg_config(*words):
    if not shutil.which("pkg-config"):
        raise house.Skip("no pkg-config here")
    environment = dict(os.environ, PKG_CONFIG_PATH=str(library_dir() / "pkgconfig"))
    return house.output_of(["pkg-config", *words, "fastkmeans"], env=environment).split()


def run_installed(program):
    environment = dict(os.environ, LD_LIBRARY_PATH=str(library_dir()))
    return house.output_of([program], env=environment, cwd=scratch)


def test_examples_by_pkg_config():
    """The line at the top of each example builds it; the programs check their own answers."""
    flags = pkg_config("--cflags", "--libs")
    assert len(EXAMPLES) >= 4, EXAMPLES
    for source in EXAMPLES:
        program = scratch / source.stem
        house.output_of([arguments.cc, *STRICT, source, "-o", program, *flags, "-lm"])
        said = run_installed(program)
        assert re.search(r"\d", said), f"{source.name} says nothing: {said!r}"
        print(f"  {source.stem}: {said.strip().splitlines()[-1]}")


def test_example_linked_statically():
    flags = pkg_config("--cflags", "--libs", "--static")
    program = scratch / "static_by_pkg_config"
    house.output_of([arguments.cc, *STRICT, EXAMPLES[0], "-o", program, "-Wl,-Bstatic",
                     *[flag for flag in flags if flag.startswith(("-I", "-L", "-lfast"))], "-Wl,-Bdynamic",
                     *[flag for flag in flags if not flag.startswith(("-I", "-L", "-lfast"))]])
    assert "libfastkmeans" not in house.output_of(["readelf", "-d", program])
    house.output_of([program], cwd=scratch)


def test_example_by_find_package():
    project = scratch / "project"
    project.mkdir()
    version = pkg_config("--modversion")[0]
    (project / "CMakeLists.txt").write_text(PROJECT.format(version=version, source=EXAMPLES[0]))
    house.output_of([arguments.cmake, "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={prefix}",
                     f"-DCMAKE_C_COMPILER={arguments.cc}", "-DCMAKE_BUILD_TYPE=Release"])
    house.output_of([arguments.cmake, "--build", project / "build"])
    for program in ("shared", "static"):
        house.output_of([project / "build" / program], cwd=scratch)


def test_as_a_part_of_another_project_nothing_is_installed():
    project = scratch / "whole"
    project.mkdir()
    (project / "CMakeLists.txt").write_text(PART.format(root=ROOT, source=EXAMPLES[0]))
    house.output_of([arguments.cmake, "-S", project, "-B", project / "build", f"-DCMAKE_C_COMPILER={arguments.cc}",
                     "-DFKM_BUILD_CLI=ON"])
    for script in (project / "build").rglob("cmake_install.cmake"):
        found = re.findall(r'file\(INSTALL[^)]*', script.read_text())
        assert not found, f"{script} installs {found}"


def test_a_moved_installation_still_works():
    moved = scratch / "moved"
    shutil.copytree(prefix, moved, symlinks=True)
    environment = dict(os.environ, PKG_CONFIG_PATH=str(moved / library_dir().relative_to(prefix) / "pkgconfig"))
    if not shutil.which("pkg-config"):
        raise house.Skip("no pkg-config here")
    said = house.output_of(["pkg-config", "--variable=includedir", "fastkmeans"], env=environment).strip()
    assert pathlib.Path(said).resolve() == (moved / "include").resolve(), said


def test_installed_command_runs_from_anywhere():
    command = prefix / "bin/fkm"
    if not command.exists():
        raise house.Skip("built without the command")
    clean = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    said = house.output_of([command, "version"], env=clean, cwd=scratch)
    assert pkg_config("--modversion")[0] in said, said
    for path in (command, arguments.build / "cli/fkm"): # the second decides the build id of the first
        found = re.findall(r"(?:RPATH|RUNPATH).*\[(.*)\]", house.output_of(["readelf", "-d", path]))
        assert all(part.startswith("$ORIGIN") for part in found), f"{path} carries the path {found}"


def test_the_license_is_installed():
    found = list(prefix.rglob("LICENSE"))
    assert len(found) == 1 and found[0].read_bytes() == (ROOT / "LICENSE").read_bytes(), found


def test_nothing_installed_names_the_build():
    for path in prefix.rglob("*"):
        if path.is_file() and path.suffix in {".h", ".pc", ".cmake"}:
            text = path.read_text()
            assert str(ROOT) not in text and str(arguments.build) not in text, f"{path} names the build"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--cmake", required=True)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--cc", default="gcc")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        prefix = scratch / "prefix"
        installed = subprocess.run([arguments.cmake, "--install", str(arguments.build), "--prefix", str(prefix)],
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if installed.returncode != 0:
            sys.exit(f"{installed.stdout}\n0 passed, 1 failed, 0 skipped")
        sys.exit(house.run(globals()))
