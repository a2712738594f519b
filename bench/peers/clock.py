# SPDX-License-Identifier: Apache-2.0
"""Wall time, processor time and peak memory of calls, in this process."""

import statistics
import time

MB = 1e6
SHORT = 1.0  # seconds: a call that takes less is repeated until it has run so long ...
MOST_CALLS = 7  # ... or so often


def resident(name):
    """VmRSS or VmHWM, in MB; 0 where the system does not tell."""
    try:
        with open("/proc/self/status") as status:
            lines = [line.split() for line in status if line.startswith(name + ":")]
        return 1024 * int(lines[0][1]) / MB
    except (OSError, IndexError):
        return 0.0


def forget_peak():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


class Clock:
    """Measures one process's calls of the same work."""

    def __init__(self):
        self.walls, self.cpus, self.need = [], [], 0.0

    def run(self, call, per=1, once=False):
        """The result of call(), repeated when short unless once; per: what one call's time is divided by.
        Memory is that of the first call, when nothing of it is there yet."""
        while True:
            if not self.walls:
                forget_peak()
            before, cpu, wall = resident("VmRSS"), time.process_time(), time.perf_counter()
            result = call()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if not self.walls:
                self.need = max(0.0, resident("VmHWM") - before)
            self.note(wall / per, cpu / per)
            if once or per * sum(self.walls) >= SHORT or len(self.walls) >= MOST_CALLS:
                return result

    def note(self, wall, cpu):
        """Times that were measured elsewhere."""
        self.walls.append(wall)
        self.cpus.append(cpu)

    def report(self):
        later = slice(1, None) if len(self.walls) > 2 else slice(None)  # the first call also warms up
        return {
            "seconds": statistics.median(self.walls[later]),
            "cpu_s": statistics.median(self.cpus[later]),
            "need_mb": self.need,
        }
