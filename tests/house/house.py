"""house.py — a page of test harness: functions named test_*, one line each, and the line that counts them.

SPDX-License-Identifier: Apache-2.0"""
import subprocess
import sys
import traceback


class Skip(Exception):
    """Raised by a test that cannot run here; its text says why."""


def output_of(command, **options):
    """What a command prints, both streams together; AssertionError when it fails."""
    command = [str(word) for word in command]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}")
    return result.stdout


def run(tests):
    """Runs every test_* of a module's globals(); returns the exit status (77: all were skipped)."""
    passed = failed = skipped = 0
    for name, test in list(tests.items()):
        if not name.startswith("test_") or not callable(test):
            continue
        try:
            test()
        except Skip as reason:
            skipped += 1
            print(f"skipped {name}: {reason}", flush=True)
        except Exception as error:
            failed += 1
            if not isinstance(error, AssertionError) or not str(error):
                traceback.print_exc(file=sys.stdout)
            print(f"  {error}\nFAILED {name}", flush=True)
        else:
            passed += 1
            print(f"ok {name}", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    if failed:
        return 1
    return 77 if not passed and skipped else 0
