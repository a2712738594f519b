"""quickstart.py — the Python quick start on data that comes with scikit-learn: phase 1, phase 2, answers, a file.

SPDX-License-Identifier: Apache-2.0"""

import tempfile
from pathlib import Path

from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import fast_kmeans
from fast_kmeans import FastKMeansClassifier, FastKMeansRegressor

# A classifier: ten prototypes for each digit.
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
model = FastKMeansClassifier(k_init=10, distance="euclidean", soft_type="softmax_scaled")
model.fit(X_train, y_train)
print(f"digits, phase 1: {model.score(X_test, y_test):.1%} with {len(model.centroids)} prototypes of {len(X_train)} rows")
model.finetune(X_train, y_train, epochs=30)
print(f"digits, phase 2: {model.score(X_test, y_test):.1%}, learning rate {model.learning_rate_:.3g} found by search")

# An answer names the prototypes behind it.
why = model.explain(X_test[:1])
print(why.describe(0))

# The file is read by the command fkm and by the C library too.
path = Path(tempfile.mkdtemp()) / "digits.fkm"
model.save(path)
assert (fast_kmeans.load(path).predict(X_test) == model.predict(X_test)).all()
print(f"digits.fkm: {path.stat().st_size:,} bytes")

# A regressor, as the second quick start of the documents has it.
X, y = load_diabetes(return_X_y=True)
X = StandardScaler().fit_transform(X)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
reg = FastKMeansRegressor(k_targets="auto", k_features=2, distance="euclidean", soft_type="softmax_scaled", top_k=-1)
reg.fit(X_train, y_train, max_iters=20)
reg.finetune(X_train, y_train, epochs=30, eval_fraction=0.2, early_stopping_rounds=5)
print(f"diabetes: R2 {reg.score(X_test, y_test):.3f} with {len(reg.centroids)} prototypes of {len(X_train)} rows")
