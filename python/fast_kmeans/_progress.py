# SPDX-License-Identifier: Apache-2.0
"""What a learning call shows and tells while it works: a bar, and the caller's functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

Callback = Callable[[dict[str, Any]], Any]


class Watcher:
    """Shows a bar when verbose and calls the callbacks; calling it is what the core does between batches.

    Use as a context manager: the bar closes whatever happens.
    """

    def __init__(self, verbose, callbacks: Callback | Iterable[Callback] | None, what: str):
        self.callbacks = [callbacks] if callable(callbacks) else list(callbacks or ())
        for callback in self.callbacks:
            if not callable(callback):
                raise TypeError(f"callbacks holds {callback!r}, which cannot be called")
        self.what = what
        self.verbose = bool(verbose)
        self.bar: Any = None

    def __enter__(self):
        if self.verbose:
            from tqdm.auto import tqdm

            self.bar = tqdm(desc=self.what, unit="step", leave=True)
        return self if self.bar is not None or self.callbacks else None

    def __exit__(self, error, *_):
        if self.bar is None:
            return
        if error is None and self.bar.total:  # rest came before all the passes that were allowed
            self.bar.total = self.bar.n
            self.bar.refresh()
        self.bar.close()

    def __call__(self, progress: dict[str, Any]) -> bool:
        if self.bar is not None:
            self.show(progress)
        stops = [callback(dict(progress)) for callback in self.callbacks]
        return any(stop is not None and bool(stop) for stop in stops)

    def show(self, progress: dict[str, Any]) -> None:
        total = progress["steps"] or progress["epochs"]
        done = progress["step"] if progress["steps"] else progress["epoch"]
        shown = {
            name: f"{progress[name]:.4g}"
            for name in ("loss", "shift", "eval")
            if not math.isnan(progress[name])
        }
        self.bar.total = total or None
        self.bar.set_postfix(shown | {"K": progress["k"]}, refresh=False)
        self.bar.update(done - self.bar.n)
