"""
Tags: several answers for each row
==================================

:class:`fast_kmeans.FastMultiLabelKMeansClassifier` gives each tag prototypes of its own and decides about every tag
by itself. The images of digits get four tags here: the digit is even, it is prime, it is larger than four, its shape
has a closed loop. Most digits carry several of them, the digit one carries none.
"""

# SPDX-License-Identifier: Apache-2.0
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

from fast_kmeans import FastMultiLabelKMeansClassifier

X, digits = load_digits(return_X_y=True)
names = ["even", "prime", "large", "loop"]
tags = np.column_stack(
    [digits % 2 == 0, np.isin(digits, [2, 3, 5, 7]), digits > 4, np.isin(digits, [0, 6, 8, 9])]
).astype(int)
X_train, X_test, tags_train, tags_test = train_test_split(X, tags, test_size=0.3, random_state=0)

# %%
# A tag such as "even" covers five different shapes, so it needs more prototypes than a digit would.
model = FastMultiLabelKMeansClassifier(
    k_init=20, distance="euclidean", soft_type="softmax_scaled", asl_gamma_neg=0, asl_gamma_pos=0, asl_clip=0
)
model.fit(X_train, tags_train).finetune(X_train, tags_train, epochs=30, lr=0.1)

# %%
# Three ways to decide. ``adaptive`` has learned a threshold for each tag, ``gap`` cuts the sorted probabilities at
# their largest drop (and so always gives at least one tag), ``top_k`` takes as many as you ask for.
for strategy in ("adaptive", "gap"):
    answer = model.predict(X_test, strategy=strategy)
    print(f"{strategy}: micro-F1 {f1_score(tags_test, answer, average='micro'):.3f}")
best = model.predict(X_test, strategy="top_k", top_k=1)
has_tags = tags_test.any(axis=1)
print(f"the most probable tag is right for {(best & tags_test).any(axis=1)[has_tags].mean():.1%} of the rows with tags")

# %%
# One row in detail.
for name, p, true in zip(names, model.predict_proba(X_test)[0], tags_test[0]):
    print(f"{name:6} {p:.2f} {'(true)' if true else ''}")
