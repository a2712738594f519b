# SPDX-License-Identifier: Apache-2.0
"""Calls that teach one estimator from several threads take turns."""

from __future__ import annotations

import functools
import os
import threading

_making = threading.Lock()


def _restart() -> None:
    global _making
    _making = threading.Lock()


os.register_at_fork(after_in_child=_restart)


def _turn_of(estimator) -> threading.RLock:
    """The estimator's lock. A forked child has one of its own: the parent's may be held by a thread that is not there."""
    state, process = vars(estimator), os.getpid()
    with _making:
        if state.get("_turn", (0, None))[0] != process:
            state["_turn"] = (process, threading.RLock())
        return state["_turn"][1]


def in_turn(learn):
    """Only one thread at a time teaches an estimator: what labels mean and what the model learned belong together."""

    @functools.wraps(learn)
    def wait_and_learn(self, *args, **kwargs):
        with _turn_of(self):
            return learn(self, *args, **kwargs)

    return wait_and_learn
