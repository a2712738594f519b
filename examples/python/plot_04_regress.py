"""
Numbers: the progression of diabetes
====================================

:class:`fast_kmeans.FastKMeansRegressor` predicts one number or several. It first groups the targets into strata, then
places prototypes among the rows of each stratum; an answer blends the targets of the nearest prototypes. The data are
442 patients with ten measurements each, few and noisy: the mean squared error of the best methods is about half the
variance.
"""

# SPDX-License-Identifier: Apache-2.0
import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fast_kmeans import FastKMeansRegressor, plot

X, y = load_diabetes(return_X_y=True, scaled=False, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
scaler = StandardScaler().set_output(transform="pandas").fit(X_train)
X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)

# %%
# Few rows, so few prototypes; ``top_k=-1`` blends all of them, which makes the answer smooth.
model = FastKMeansRegressor(
    k_targets=4, k_features=3, distance="euclidean", soft_type="softmax_scaled", top_k=-1, auto_feature_weights=True
)
model.fit(X_train, y_train)
print(f"after phase 1: R2 {model.score(X_test, y_test):.3f} with {len(model.centroids)} prototypes")

# %%
# A part of the rows is held out to see when to stop; the best state is kept.
model.finetune(X_train, y_train, epochs=60, eval_fraction=0.2, early_stopping_rounds=10, lr=0.03)
print(f"after phase 2: R2 {model.score(X_test, y_test):.3f}")

# %%
# For comparison.
for other in (LinearRegression(), KNeighborsRegressor(10), RandomForestRegressor(random_state=0)):
    print(f"{type(other).__name__}: R2 {other.fit(X_train, y_train).score(X_test, y_test):.3f}")

# %%
# With ``auto_feature_weights`` the model says which measurements matter. Fine-tuning has tuned the weights by gradient.
plot.feature_weights(model)
plt.show()

# %%
# It stands in a scikit-learn pipeline like any other estimator.
pipeline = make_pipeline(StandardScaler(), FastKMeansRegressor(k_targets=4, k_features=3, distance="euclidean", top_k=-1))
print(f"pipeline: R2 {pipeline.fit(X_train, y_train).score(X_test, y_test):.3f}")
