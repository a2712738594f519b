"""
Streams: more rows than memory, and classes that appear later
=============================================================

``fit_batch`` learns from one batch and may be called for ever; a class first seen in some batch gets its prototypes
there. ``fit_stream`` reads files, Arrow streams or any iterable, keeps checkpoints and goes on exactly where a
checkpoint left it.
"""

# SPDX-License-Identifier: Apache-2.0
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fast_kmeans
from fast_kmeans import FastKMeansClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0)

# %%
# Batches of 100 rows. The digits from five upwards do not appear before the second half of the stream.
order = np.argsort(y_train >= 5, kind="stable")
X_train, y_train = X_train[order], y_train[order]
model = FastKMeansClassifier(k_init=5, distance="euclidean", soft_type="softmax_scaled")
for begin in range(0, len(X_train), 100):
    shift = model.fit_batch(X_train[begin : begin + 100], y_train[begin : begin + 100])
    print(f"row {begin:4}: classes {len(model.classes_):2}, prototypes {len(model.centroids):3}, shift {shift:6.2f}")

# %%
# The same call with ``gradient_step=True`` is one step of phase 2.
for epoch in range(10):
    for begin in range(0, len(X_train), 100):
        loss = model.fit_batch(X_train[begin : begin + 100], y_train[begin : begin + 100], gradient_step=True)
print(f"last loss {loss:.3f}, {model.score(X_test, y_test):.1%} right")

# %%
# From a file, with a checkpoint after every second batch. The place in the stream is part of the checkpoint: after a
# crash, ``fast_kmeans.load(checkpoint).fit_stream(..., resume=True)`` ends bit for bit where an undisturbed run ends.
folder = Path(tempfile.mkdtemp())
np.savetxt(folder / "digits.csv", np.column_stack([X_train, y_train]), delimiter=",", fmt="%d")
model = FastKMeansClassifier(k_init=5, distance="euclidean", batch_size=256)
model.fit_stream(str(folder / "digits.csv"), target="64", epochs=2, checkpoint=str(folder / "digits.fkm"), checkpoint_batches=2)
again = fast_kmeans.load(folder / "digits.fkm")
print(f"{len(again.centroids)} prototypes in the checkpoint, {again.score(X_test, y_test):.1%} right")
