"""
Clusters: handwritten digits without their names
================================================

:class:`fast_kmeans.FastKMeansClusterer` finds groups in rows without being told what to look for. Here the rows are
1,797 images of 8 x 8 pixels. Nobody says which digit an image shows, nor that there are digits at all.
"""

# SPDX-License-Identifier: Apache-2.0
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from fast_kmeans import FastKMeansClusterer, plot

X, digits = load_digits(return_X_y=True)

# %%
# Sixteen groups, squared Euclidean distance. ``labels_`` says which group each row went to, ``inertia_`` is the sum of
# squared distances, which k-means makes small.
clusters = FastKMeansClusterer(k_init=16, distance="euclidean").fit(X)
print(f"{len(clusters.centroids)} prototypes, inertia {clusters.inertia_:,.0f}, passes {clusters.n_iter_}")

# %%
# A prototype is the mean of its rows, so it is an image too. Its mass is the number of rows that it stands for.
plot.images(clusters, shape=(8, 8))
plt.show()

# %%
# The groups agree well with the digits that nobody told:
print(f"adjusted Rand index {adjusted_rand_score(digits, clusters.labels_):.2f}")
print(f"normalised mutual information {normalized_mutual_info_score(digits, clusters.labels_):.2f}")

# %%
# How many groups are there? ``k_init="auto"`` asks the data: few for rows that lie close together, up to
# 3 times the root of their number for rows that are spread out.
auto = FastKMeansClusterer(k_init="auto", distance="cosine").fit(X)
print(f"auto: {len(auto.centroids)} prototypes")

# %%
# In two dimensions one sees what prototypes do: they spread over the rows, denser where rows are dense.
plot.prototypes(clusters, X, digits)
plt.show()
