# SPDX-License-Identifier: Apache-2.0
"""The C extension: each function checks its arguments, borrows buffers, releases the GIL and calls one function of
fastkmeans.h. Arrays are anything with the buffer protocol or DLPack on the CPU; nothing is converted here, so a wrong
type or shape is a TypeError or ValueError. Outputs are writable C-contiguous buffers that the caller made.

Status -> exception: FKM_EINVAL, FKM_EDATA ValueError; FKM_ENOMEM MemoryError; FKM_EIO OSError; FKM_ESTATE RuntimeError;
FKM_EUNSUPPORTED NotImplementedError (a RuntimeError); FKM_EINTERRUPTED the pending exception (KeyboardInterrupt, or what
the progress callback raised), else InterruptedByCallback; FKM_EINTERNAL SystemError.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any, Protocol

__version__: str

class Buffer(Protocol): ...

class InterruptedByCallback(Exception):
    """The progress callback asked to stop; the model is usable."""

def isa() -> str: ...
def parameters() -> list[dict[str, Any]]:
    """The table of parameters: name, kind ('choice', 'int', 'real', 'bool'), choices (text or None), default (text),
    valid, help, tasks (tuple of 'clusterer', 'classifier', 'multilabel', 'regressor')."""

def asymmetric_loss(
    probability: Buffer,  # float64, n
    positive: Buffer,  # uint8 or bool, n
    gamma_pos: float,
    gamma_neg: float,
    clip: float,
    loss: Buffer | None = None,  # float64, n
    gradient: Buffer | None = None,  # float64, n
) -> None: ...

class Context:
    """Threads and memory limit; shared by any number of models and threads. memory_limit: bytes that all models and
    calls of the process may hold, 0 for none; the context made last decides. search: what models with use_faiss ask:
    build(points, k, dim) gives an index, find(index, rows, n_rows, dim, n_wanted, n_threads, numbers) fills numbers."""

    def __init__(
        self, n_threads: int = -1, device: str = "cpu", memory_limit: int = 0, search: Any = None
    ) -> None: ...
    @property
    def n_threads(self) -> int: ...

class Batch:
    """Rows with optional targets, weights and mask, borrowed for the life of the object.

    x: (n_rows, n_cols) of float16, bfloat16 (DLPack only), float32 or float64; rows may be strided, the columns of a row
    are adjacent. CSR: x=None and csr=(values, indptr int64, indices int32, n_cols).
    """

    def __init__(
        self,
        x: Buffer | None = None,
        *,
        csr: tuple[Buffer, Buffer, Buffer, int] | None = None,
        weight: Buffer | None = None,  # float32, n_rows
        mask: Buffer | None = None,  # float32, n_rows x n_cols
        labels: Buffer | None = None,  # int64, n_rows
        tags: tuple[Buffer, Buffer, int] | None = None,  # indptr int64, tags int32, n_tags
        targets: Buffer | None = None,  # float64, n_rows x n_targets
    ) -> None: ...
    @property
    def n_rows(self) -> int: ...
    @property
    def n_cols(self) -> int: ...

Progress = Callable[[dict[str, Any]], Any]
"""Called between batches with phase, step, steps, epoch, epochs, rows, loss, shift, eval, k (NaN where there is none);
a true result stops the call."""

class Model:
    """One model of any task. predict and its kin: any number of threads; a call that learns waits for them, and they for
    it. A call from inside a progress callback of the same model is a RuntimeError."""

    def __init__(self, context: Context, params: dict[str, str]) -> None:
        """params: names and values of the table, as text, with 'task' among them."""
    @classmethod
    def load(cls, context: Context, path: str | os.PathLike[str]) -> Model: ...
    @classmethod
    def from_bytes(cls, context: Context, data: Buffer) -> Model: ...
    def save(self, path: str | os.PathLike[str]) -> None: ...
    def to_bytes(self) -> bytes: ...
    def copy(self) -> Model:
        """In the same context; copy.copy and copy.deepcopy do the same. A pickle holds to_bytes() and the number of
        threads that was asked of the context; unpickled models share one context for each such number."""
    # before the first fit
    def set_start(self, points: Buffer, labels: Buffer | None = None) -> None: ...  # float32 or float64 k x dim, int64 k
    def set_feature_weights(self, weights: Buffer) -> None: ...  # float64, dim
    def set_class_k(self, label: int, k: int) -> None: ...
    # any time
    def freeze(self, frozen: Buffer | None = None) -> None: ...  # uint8 or bool, k; None: all
    def set_param(self, name: str, value: str) -> None: ...
    def set_note(self, name: str, value: str | None) -> None: ...
    def note(self, name: str) -> str | None: ...
    # values (float32), indptr (int64), indices (int32), n_cols; None without a vectorizer
    def rows_of_texts(self, texts: list[str]) -> tuple[bytes, bytes, bytes, int] | None: ...
    # learning
    def fit(
        self,
        batch: Batch,
        max_iters: int = 100,
        tol: float = 1e-4,
        eval: Batch | None = None,
        eval_fraction: float = 0.0,
        progress: Progress | None = None,
        nearest: Buffer | None = None,  # int64, n
        distance: Buffer | None = None,  # float64, n
    ) -> bool: ...
    def fit_batch(self, batch: Batch) -> float: ...
    def last_merged(self) -> int: ...
    def gradient_step(self, batch: Batch) -> float: ...
    def finetune(
        self,
        batch: Batch,
        epochs: int = 10,
        lr: float = 0.0,
        search: bool = False,
        early_stopping_rounds: int = 0,
        eval: Batch | None = None,
        eval_fraction: float = 0.0,
        progress: Progress | None = None,
    ) -> None: ...
    def find_learning_rate(self, batch: Batch) -> float: ...
    def feature_importance(self, batch: Batch, out: Buffer) -> None: ...  # float64, dim
    def fit_source(
        self,
        source: Source,
        epochs: int = 1,
        gradient_step: bool = False,
        checkpoint: str | None = None,
        checkpoint_batches: int = 0,
        resume: bool = False,
        progress: Progress | None = None,
    ) -> None: ...
    # answers
    def predict_labels(self, batch: Batch, out: Buffer) -> None: ...  # int64, n
    def predict_proba(self, batch: Batch, out: Buffer) -> None: ...  # float32, n x n_classes
    def predict_top(
        self,
        batch: Batch,
        m: int,
        labels: Buffer,  # int64, n x m
        proba: Buffer,  # float32, n x m
    ) -> None: ...
    def predict_tags(self, batch: Batch, strategy: str, top_k: int, out: Buffer) -> None: ...  # uint8 or bool, n x n_classes
    def predict_values(self, batch: Batch, out: Buffer) -> None: ...  # float64, n x n_targets
    def nearest(
        self,
        batch: Batch,
        top_k: int,
        index: Buffer | None = None,  # int64, n x top_k
        distance: Buffer | None = None,  # float64, n x top_k
        routing: Buffer | None = None,  # float64, n x top_k
    ) -> None: ...
    def transform(self, batch: Batch, out: Buffer) -> None: ...  # float32, n x k
    def scores(self, batch: Batch, strategy: str = "adaptive", top_k: int = 1) -> dict[str, Any]:
        """accuracy, macro_f1, micro_f1, log_loss, precision_at (tuple of 5), rmse, r2, sse, nearest_accuracy, n_rows; NaN
        where it does not fit the task."""
    # looking inside
    def describe(self) -> dict[str, Any]:
        """params (dict of text), fitted, has_ages, has_optimizer (bool), k, dim, n_classes, n_targets, batches,
        iterations, gradient_steps, n_history, learning_rate, scale, temperature, idw_power, bytes."""
    def get(self, name: str, out: Buffer) -> None:
        """Fills out with centroids (float64 k x dim), centroid_weights (float64 k), centroid_ages (float64 k x dim),
        centroid_labels (int64 k), centroid_targets (float64 k x n_targets), centroid_gradients (float64 k x dim),
        centroid_routing (float64 k x 2: temperature, bias), frozen (uint8 or bool k), feature_weights (float64 dim),
        classes (int64 n_classes), tag_scores (float64 n_classes x 3: alpha, beta, threshold of 'adaptive')."""
    def centroids_csr(
        self,
        indptr: Buffer,  # int64, k + 1
        indices: Buffer | None = None,  # int32, indptr[k]
        values: Buffer | None = None,  # float64, indptr[k]
    ) -> None:
        """Centroids without zeros: indptr alone, then all three; a ValueError when there are not as many any more."""
    def history(self, begin: int = 0) -> list[dict[str, Any]]:
        """phase, epoch, loss, shift, eval, lr, k; oldest first, from line `begin` on."""

class Source:
    """Where rows come from; one thread: a call while another is at work is a RuntimeError."""

    @staticmethod
    def open(
        path: str,
        *,
        task: str,
        format: str = "auto",  # csv, tsv, libsvm, npy
        target: str | None = None,
        weight: str | None = None,
        header: int = -1,
        n_cols: int = 0,
        index_base: int = -1,
        missing: str = "mask",
        dtype: str = "float32",
        class_names: list[str] | None = None,
    ) -> Source: ...
    @staticmethod
    def from_arrow(
        stream: object,  # has __arrow_c_stream__, or the capsule itself; the stream is moved out of the capsule
        *,
        task: str,
        target: str | None = None,
        weight: str | None = None,
        missing: str = "mask",
        dtype: str = "float32",
        class_names: list[str] | None = None,
    ) -> Source: ...
    @staticmethod
    def from_batches(
        start: Callable[[], Iterator[Batch]], again: bool = True, class_names: list[str] | None = None
    ) -> Source:
        """start() gives an iterator over dense or CSR Batches of any size, which go out in pieces of at most the rows
        asked for; again: it may be called more than once. What it raises comes out of the call that asked for rows.
        class_names: names of the labels 0, 1, ..., a list that may grow while batches are made; they go into the file."""
    def next(self, max_rows: int) -> dict[str, Any] | None:
        """The next rows, copied, as memoryviews: x (n_rows x n_cols) or csr (values, indptr, indices, n_cols), weight,
        mask, labels, tags (indptr, tags, n_tags), targets; None for what is not there. dtype: of x or the values;
        those of float16 and bfloat16 are seen as uint16. None at the end."""
    def tell(self) -> str:
        """The position of the next row. From an Arrow stream or batches: the number of rows handed out."""
    def seek(self, position: str | None = None) -> None:
        """To a position of tell(); None: to the start. NotImplementedError where there is no way back: an Arrow stream
        or batches that cannot be started again, once rows were handed out."""
    def class_names(self) -> list[str]: ...
    def column_name(self, index: int) -> str | None: ...
    def note(self) -> str: ...
