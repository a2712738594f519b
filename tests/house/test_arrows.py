"""test_arrows.py — the arrows between rooms, drawn from the #includes, go one way.

cmake/arrows.txt lists the rooms of src/ in order: each may use the rooms above it. Folders named `outside` there
see only the public header.

SPDX-License-Identifier: Apache-2.0"""
import pathlib
import re
import shutil
import sys
import tempfile

import house

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]')
SOURCES = {".c", ".h", ".cu", ".cuh"}


def read_list(root):
    rooms, outside = [], []
    for line in (root / "cmake/arrows.txt").read_text().splitlines():
        words = line.split("#")[0].split()
        if words and words[0] == "outside":
            outside.append(words[1])
        elif words:
            rooms.append(words[0])
    return rooms, outside


def includes_of(folder):
    for path in sorted(folder.rglob("*")):
        if path.suffix in SOURCES and path.is_file():
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                found = INCLUDE.match(line)
                if found:
                    yield path, number, found.group(1)


def room_violations(root, rooms):
    for folder in sorted((root / "src").iterdir()):
        if folder.is_dir() and folder.name not in rooms:
            yield f"src/{folder.name} is not in cmake/arrows.txt"
    for place, room in enumerate(rooms):
        for path, number, header in includes_of(root / "src" / room):
            used = header.split("/")[0]
            where = f"{path.relative_to(root)}:{number}"
            if used in rooms and rooms.index(used) > place:
                yield f"{where}: {room} may not use {used} ({header})"
            elif ".." in header.split("/"):
                yield f"{where}: {header} climbs out of its folder"
            elif header.endswith(".h") and "/" in header and (root / header.split("/")[0]).is_dir():
                yield f"{where}: {header} is not in src/ or include/"


def outside_violations(root, rooms, outside):
    for name in outside:
        for path, number, header in includes_of(root / name):
            if header.split("/")[0] in rooms + ["src"] or ".." in header.split("/"):
                yield f"{path.relative_to(root)}:{number}: {name} sees only the public header, not {header}"


def cmake_violations(root, rooms):
    """The USES of each room's CMakeLists.txt name rooms above it, and every room that it includes."""
    for place, room in enumerate(rooms):
        listing = root / "src" / room / "CMakeLists.txt"
        if not listing.is_file():
            continue
        found = re.search(r"fkm_room\(\s*\w+\s*(?:USES\s+([\w\s]*?))?\s*SOURCES", listing.read_text())
        uses = (found.group(1) or "").split() if found else []
        for used in uses:
            if used not in rooms[:place]:
                yield f"{listing.relative_to(root)}: {room} may not use {used}"
        for path, number, header in includes_of(root / "src" / room):
            used = header.split("/")[0]
            if used in rooms[:place] and used not in uses:
                yield f"{path.relative_to(root)}:{number}: {listing.relative_to(root)} does not say USES {used}"


def violations(root):
    rooms, outside = read_list(root)
    return [*room_violations(root, rooms), *outside_violations(root, rooms, outside), *cmake_violations(root, rooms)]


def violations_after(path, text):
    """What is found in a copy of the tree with one more line in one file."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = pathlib.Path(scratch)
        for folder in ("src", "cmake", "cli"):
            shutil.copytree(ROOT / folder, copy / folder)
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        with open(copy / path, "a") as file:
            file.write(text)
        return violations(copy)


def check_found(path, text, part):
    found = violations_after(path, text)
    assert any(part in line for line in found), f"{text.strip()} in {path} was not found: {found}"


def test_every_arrow_goes_up():
    found = violations(ROOT)
    assert not found, "\n  ".join(found)


def test_an_arrow_downwards_is_found():
    check_found("src/base/error.c", '\n#include "estimators/model.h"\n', "base may not use estimators")
    check_found("src/prototypes/below.c", '#  include "train/loss.h"\n', "prototypes may not use train")


def test_the_command_seeing_the_inside_is_found():
    check_found("cli/inside.c", '#include "base/memory.h"\n', "cli sees only the public header")
    check_found("cli/inside.c", '#include "../src/base/memory.h"\n', "cli sees only the public header")


def test_an_unknown_room_is_found():
    check_found("src/cellar/wine.c", "int wine;\n", "src/cellar is not in cmake/arrows.txt")


def test_a_build_that_hides_an_arrow_is_found():
    check_found("src/data/rows.h", '\n#include "base/error.h"\n#include "cli/talk.h"\n', "is not in src/ or include/")
    check_found("src/kernels/extra.c", '#include "data/rows.h"\n', "does not say USES data")


if __name__ == "__main__":
    sys.exit(house.run(globals()))
