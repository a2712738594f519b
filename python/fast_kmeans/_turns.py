# SPDX-License-Identifier: Apache-2.0
"""Calls that teach one estimator from several threads take turns."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, cast

Learn = TypeVar("Learn", bound=Callable[..., Any])


def _restart() -> None:
    """A forked child starts with locks of its own: the parent's may be held by threads that are not there."""
    global _making, _turns
    _making = threading.Lock()
    _turns = weakref.WeakKeyDictionary()  # estimator -> lock; beside it, so that no copy or file takes a lock along


_restart()
os.register_at_fork(after_in_child=_restart)


def _turn_of(estimator) -> threading.RLock:
    with _making:
        return _turns.setdefault(estimator, threading.RLock())


def in_turn(learn: Learn) -> Learn:
    """Only one thread at a time teaches an estimator: what labels mean and what the model learned belong together."""

    @functools.wraps(learn)
    def wait_and_learn(self, *args, **kwargs):
        with _turn_of(self):
            return learn(self, *args, **kwargs)

    return cast(Learn, wait_and_learn)
