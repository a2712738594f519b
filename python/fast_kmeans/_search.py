"""Approximate search for ``use_faiss``: an HNSW index of the prototypes, made by faiss. The core asks it for
candidates and ranks them by its own distances."""

from __future__ import annotations

import importlib.util
from contextlib import contextmanager

import numpy as np

LINKS = 32  # of each point in the graph
BUILD_WIDTH = 80  # candidates looked at for each link
FIND_WIDTH = 64  # candidates looked at for each row, at least


def is_installed() -> bool:
    """Whether faiss is there; it is imported when it is used."""
    return importlib.util.find_spec("faiss") is not None


@contextmanager
def _threads(faiss, n: int):
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(n)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


class FaissSearch:
    """What ``_core.Context`` takes as its search."""

    def build(self, points: memoryview, k: int, dim: int):
        import faiss

        index = faiss.IndexHNSWFlat(dim, LINKS)
        index.hnsw.efConstruction = BUILD_WIDTH
        with _threads(faiss, 1):  # several would make another graph each time
            index.add(np.frombuffer(points, np.float32).reshape(k, dim))
        return index

    def find(self, index, rows, n_rows, dim, n_wanted, n_threads, numbers) -> None:
        import faiss

        rows = np.frombuffer(rows, np.float32).reshape(n_rows, dim)
        width = faiss.SearchParametersHNSW(efSearch=max(FIND_WIDTH, 2 * n_wanted))
        with _threads(faiss, n_threads):
            _, found = index.search(rows, n_wanted, params=width)
        np.frombuffer(numbers, np.int64).reshape(n_rows, n_wanted)[:] = found
