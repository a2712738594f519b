"""count.py RESULTS — adds up what the tests printed, says who failed, and writes the sum to RESULTS/summary.txt.

A test program ends with "N passed, N failed, N skipped"; one that does not say so counts as one test. The Python tests
(pytest-*.xml) count one by one. A fuzz target counts as one test, a build or a run of tests only when it fails. Exit status 1 when anything failed or nothing passed.

SPDX-License-Identifier: Apache-2.0"""
import pathlib
import re
import sys
import xml.etree.ElementTree as xml

COUNTS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)
NAMED = re.compile(r"^(FAILED|skipped):? (.*)$", re.MULTILINE)


def count_program(label, case):
    """(passed, failed) of one test program, and its failures by name."""
    text = case.findtext("system-out") or ""
    found = COUNTS.findall(text)
    passed, failed = (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)
    for word, what in NAMED.findall(text):
        print(f"{word} {label}: {what}")
    if case.get("status") == "fail" and failed == 0:
        print(f"FAILED {label}: ended badly")
        failed = 1
    elif not found and case.get("status") == "run":
        passed = 1
    return passed, failed


def count_python(label, case):
    """(passed, failed) of one Python test; expected failures count as neither."""
    for word in ("failure", "error", "skipped"):
        found = case.find(word)
        if found is not None:
            print(f"{'skipped' if word == 'skipped' else 'FAILED'} {label}: {found.get('message', '').splitlines()[:1]}")
            return 0, int(word != "skipped")
    return 1, 0


def main(results):
    passed = failed = 0
    for path in sorted(results.glob("*.xml")):
        count = count_python if path.stem.startswith("pytest-") else count_program
        for case in xml.parse(path).iter("testcase"):
            more = count(f"{path.stem}/{case.get('name')}", case)
            passed, failed = passed + more[0], failed + more[1]
    for line in (results / "steps.txt").read_text().splitlines():
        passed += line.startswith("ok ") and not line.startswith(("ok build-", "ok tests-"))
        failed += line.startswith("FAILED ")
        if not line.startswith("ok "):
            print(line)
    summary = f"{passed} passed, {failed} failed"
    (results / "summary.txt").write_text(summary + "\n")
    print(f"in all: {summary}")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
