"""
Classes: many prototypes for each digit
=======================================

:class:`fast_kmeans.FastKMeansClassifier` keeps several prototypes for each class, because a class is rarely one lump:
a seven is written with a bar or without. Phase 1 places the prototypes, phase 2 moves them by gradient to where
answers get better, and an answer blends the nearest ones.
"""

# SPDX-License-Identifier: Apache-2.0
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from fast_kmeans import FastKMeansClassifier, plot

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)

# %%
# Phase 1. ``softmax_scaled`` routing has a temperature that phase 2 can learn, which makes it the best choice where
# fine-tuning follows.
model = FastKMeansClassifier(k_init=10, distance="euclidean", soft_type="softmax_scaled")
model.fit(X_train, y_train)
print(f"after phase 1: {model.score(X_test, y_test):.1%} with {len(model.centroids)} prototypes")

# %%
# Phase 2. Without ``lr`` a search finds the learning rate first, on a copy of the model.
model.finetune(X_train, y_train, epochs=30)
print(f"after phase 2: {model.score(X_test, y_test):.1%}, learning rate {model.learning_rate_:.3g}")

# %%
# For comparison: all 1,257 rows kept.
print(f"5 nearest neighbours: {KNeighborsClassifier().fit(X_train, y_train).score(X_test, y_test):.1%}")

# %%
# What the learning-rate search saw, and how the loss went down.
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
plot.learning_rate(model, ax=left)
plot.history(model, ax=right)
plt.show()

# %%
# The prototypes themselves, a row of images for each class.
plot.images(model, shape=(8, 8))
plt.show()

# %%
# Every answer can name the prototypes behind it. Here is the test row that was least clear.
why = model.explain(X_test)
print(why.describe(int(why.margin.argmin())))
