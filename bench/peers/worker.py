# SPDX-License-Identifier: Apache-2.0
"""One measurement in a process of its own: `python -m peers.worker SPECIFICATION`, from ../peers.py.

Prints one JSON line. An engine called probe measures a library's matrix product instead.
"""

import importlib
import json
import os
import sys
import time

from . import workloads
from .clock import Clock


def probe(library, superkmeans):
    """GFLOP/s and processor second of 2048^3, or of the same work in a search."""
    import numpy as np

    side = 2048
    if library == "superkmeans":
        return float(os.popen(f"'{superkmeans}' sgemm").read())
    a = np.ones((side, side), np.float32)
    if library == "faiss":
        import faiss

        faiss.omp_set_num_threads(1)
        index = faiss.IndexFlatL2(side)
        index.add(a)

        def product():
            index.search(a, 1)
    elif library == "torch":
        import torch

        torch.set_num_threads(1)
        t = torch.from_numpy(a)

        def product():
            return t @ t
    else:

        def product():
            return a @ a

    best = float("inf")
    for _ in range(6):
        start = time.process_time()
        product()
        best = min(best, time.process_time() - start)
    return 2 * side**3 / best / 1e9


def versions():
    found = {}
    for name in ("fast_kmeans", "numpy", "sklearn", "faiss", "torch"):
        try:
            found[name] = importlib.import_module(name).__version__
        except ImportError:
            found[name] = None
    return found


def main():
    spec = json.loads(sys.argv[1])
    if spec["engine"] == "versions":
        print(json.dumps(versions()))
        return
    if spec["engine"] == "probe":
        print(json.dumps({"gflops": probe(spec["library"], spec["superkmeans"])}))
        return
    workload = next(w for w in workloads.WORKLOADS if w.name == spec["workload"])
    settings = {name: spec[name] for name in ("threads", "judge", "superkmeans")}
    case = workloads.Case(workloads.sized(workload, spec["quick"]), spec["folder"], **settings)
    clock = Clock()
    quality = getattr(
        importlib.import_module(f".{case.module}", __package__), f"{case.task}_{spec['engine']}"
    )(case, clock)
    print(json.dumps(clock.report() | {"input_mb": case.input_mb(), "quality": quality}))


if __name__ == "__main__":
    main()
