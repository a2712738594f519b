# SPDX-License-Identifier: Apache-2.0
"""Constructor arguments and the core's one table of parameters: checks, and text both ways."""

from __future__ import annotations

import numbers
import os
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from . import _core
from ._search import FaissSearch, is_installed

TABLE = {row["name"]: row for row in _core.parameters()}
"""The core's parameters by name; 'task' is the estimator's class, the others are constructor arguments."""

LIVE = (
    "top_k soft_type temperature idw_power missing batch_size "  # answers
    "top_k_train learning_rate finetune_batch_size noise label_smoothing negative_sampling diversity_reg l2_reg "
    "asl_gamma_neg asl_gamma_pos asl_clip "  # gradients
    "k_init k_max auto_scale decay repulsion_factor repulsion_mode assignment lambda_penalty min_weight sparse "
    "truncation_threshold merge_threshold relative_merge percentile_threshold target_assignment"  # fit_batch
).split()
"""Parameters that count at once when they are changed after a fit; the others are part of what was learned."""

DEVICES = "cpu, cuda, cuda:0, cuda:1, ..."
STANDARD_RATE = 0.03
"""What learning_rate 'auto' means before a search: docs/models.md."""


def words_of(name: str) -> list[str]:
    """Strings that the parameter may be."""
    choices = TABLE[name]["choices"]
    return choices.split("|") if choices else []


def refusal(name: str, value: object) -> ValueError:
    """In the manner of the core, for a value that is not valid."""
    row, words = TABLE[name], words_of(name)
    if row["kind"] == "choice":
        return ValueError(f"{name} is {value!r}; valid: {', '.join(words)}")
    if row["kind"] == "bool":
        return ValueError(f"{name} is {value!r}; it must be True or False")
    others = "".join(f" or {None if word == 'none' else word!r}" for word in words)
    number = "an integer" if row["kind"] == "int" else "a number"
    return ValueError(f"{name} is {value!r}; it must be {number} {row['valid']}{others}")


def check_words(arguments: dict[str, Any]) -> None:
    """Refuses strings that no parameter can be, so that a typo shows at once; fit checks everything."""
    for name, value in arguments.items():
        if isinstance(value, str) and name in TABLE and (value not in words_of(name) or value == "none"):
            raise refusal(name, value)
    device_of(arguments.get("device"))


def text_of(name: str, value: Any) -> str:
    """The value as the core reads it."""
    kind, valid = TABLE[name]["kind"], TABLE[name]["valid"] or ""
    if value is None and "none" in words_of(name):
        return "none"
    if isinstance(value, str) and value in words_of(name) and value != "none":
        return str(value)
    if kind == "bool" and isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    number = numbers.Integral if kind == "int" else numbers.Real
    if kind in ("int", "real") and isinstance(value, number) and not isinstance(value, bool):
        # to the core, a number outside the range may stand for 'auto' or None: here only the word does
        if value > 0 or f" {value} for " in valid or (value == 0 and (">= 0" in valid or "[0" in valid)):
            return str(int(value)) if kind == "int" else repr(float(value))
    raise refusal(name, value)


def value_of(name: str, text: str) -> Any:
    """The constructor argument that text_of would turn into this text."""
    if text == "none":
        return None
    if text in words_of(name):
        return text
    kind = TABLE[name]["kind"]
    return text == "true" if kind == "bool" else int(text) if kind == "int" else float(text)


def need_kinds(**given: Any) -> None:
    """Refuses arguments of a call that are no integers, or no numbers where their standard is one; the core looks at
    their values."""
    for name, value in given.items():
        is_real = name in ("tol", "eval_fraction", "lr")
        if isinstance(value, bool) or not isinstance(value, numbers.Real if is_real else numbers.Integral):
            raise TypeError(f"{name} is {value!r}; it must be {'a number' if is_real else 'an integer'}")
        if not is_real and not -(2**63) <= value < 2**63:
            raise ValueError(f"{name} is {value}; at most {2**63 - 1} is possible")


def seed_of(random_state) -> int:
    """An int is itself; None gives a fresh seed, a generator its next one."""
    if isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool):
        if not 0 <= random_state < 2**64:
            raise ValueError(f"random_state is {random_state}; it must be in 0 to {2**64 - 1}")
        return int(random_state)
    if random_state is None:
        return int.from_bytes(os.urandom(8), "little") >> 1
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63 - 1))
    return int(check_random_state(random_state).randint(2**31 - 1))


def device_of(device) -> str:
    """'cpu' or 'cuda...'; ValueError for what is neither."""
    text = "cpu" if device is None else str(device)
    kind, colon, number = text.partition(":")
    if kind not in ("cpu", "cuda") or (colon and not number.isdecimal()):
        raise ValueError(f"device is {device!r}; valid: {DEVICES}")
    return kind


def need_device(device) -> None:
    """RuntimeError unless this build can work there."""
    if device_of(device) == "cuda":
        raise RuntimeError(
            f"this build has no CUDA backend; {str(device)!r} is not possible, device='cpu' is"
        )


_contexts: dict[int, _core.Context] = {}


def context_of(n_threads) -> _core.Context:
    """Threads are shared by all estimators that ask for the same number."""
    if isinstance(n_threads, bool) or not isinstance(n_threads, numbers.Integral) or n_threads < -1 or n_threads == 0:
        raise ValueError(f"n_threads is {n_threads!r}; it must be >= 1, or -1 for one per core")
    n_threads = int(n_threads)
    if n_threads not in _contexts:
        search = FaissSearch() if is_installed() else None
        _contexts.setdefault(n_threads, _core.Context(n_threads, search=search))
    return _contexts[n_threads]
