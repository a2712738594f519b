# SPDX-License-Identifier: Apache-2.0
"""Clustering, search and seeding: each function measures one engine at one case.

case: the workload's numbers as attributes, its arrays by case.array(name), case.judge: whether to look at the
quality of the result, which is never part of the time.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

WARM = 2048  # rows of the small call that warms an engine up
JUDGED_QUERIES = 500
AS_GOOD = 1e-5  # relative: no worse than exact passes
HNSW_LINKS, HNSW_RECALL = 32, 0.997


# ---- quality, by numpy alone


def nearest(x, centres, block=8192):
    norms = np.einsum("kd,kd->k", centres, centres)
    return np.concatenate(
        [np.argmin(norms - 2 * (x[i : i + block] @ centres.T), 1) for i in range(0, len(x), block)]
    )


def inertia(x, centres, block=8192):
    """Sum of squared distances to the nearest centre, each in float64."""
    centres = np.asarray(centres, np.float32)
    label = nearest(x, centres)
    total = 0.0
    for i in range(0, len(x), block):
        gap = x[i : i + block].astype(np.float64) - centres[label[i : i + block]]
        total += np.einsum("nd,nd->", gap, gap)
    return float(total)


def recall(queries, points, found):
    """Share of the found neighbours that are as near as the true ones, of a sample of the queries."""
    few = np.linspace(0, len(queries) - 1, min(JUDGED_QUERIES, len(queries))).astype(int)
    found = found.reshape(len(queries), -1)[few]
    points, queries, right = points.astype(np.float64), queries[few].astype(np.float64), 0
    for query, answer in zip(queries, found, strict=True):
        gap = points - query
        distance = np.einsum("kd,kd->k", gap, gap)
        best = np.sort(np.partition(distance, answer.size - 1)[: answer.size])
        right += np.count_nonzero(np.sort(distance[answer]) <= best * (1 + 1e-6))
    return right / found.size


# ---- k-means from a given start


def judged(case, centres, **more):
    return {"inertia": inertia(case.array("x"), centres), **more} if case.judge else {}


def our_fit(case, x, start, passes):
    from fast_kmeans import FastKMeansClusterer

    return FastKMeansClusterer(
        k_init=len(start), distance="euclidean", init_mode=start, n_threads=case.threads, min_weight=0
    ).fit(x, max_iters=passes, tol=0)


def lloyd_fastkmeans(case, clock):
    """As many passes; those of fit also swap prototypes, so that it usually ends lower than the others."""
    x, start = case.array("x"), case.array("start")
    our_fit(case, x[:WARM], x[: min(len(start), WARM // 8)], 2)
    model = clock.run(lambda: our_fit(case, x, start, case.passes))
    return judged(case, model.centroids, passes=model.n_iter_)


def lloyd_fewer(case, clock):
    """The fewest passes that end as low as scikit-learn's; how many is found out beforehand."""
    x, start, path = case.array("x"), case.array("start"), case.path("fewer.json")
    if not os.path.exists(path):
        with open(case.path("lloyd.json")) as file:
            enough = json.load(file) * (1 + AS_GOOD)
        too_few, passes = 0, case.passes
        while passes - too_few > 1:
            middle = (passes + too_few) // 2
            if inertia(x, our_fit(case, x, start, middle).centroids) <= enough:
                passes = middle
            else:
                too_few = middle
        with open(path, "w") as file:
            json.dump(passes, file)
    with open(path) as file:
        passes = json.load(file)
    our_fit(case, x[:WARM], x[: min(len(start), WARM // 8)], 2)
    model = clock.run(lambda: our_fit(case, x, start, passes))
    return judged(case, model.centroids, passes=model.n_iter_)


def lloyd_sklearn(case, clock):
    from sklearn.cluster import KMeans

    def fit(x, start, passes):
        return KMeans(len(start), init=start, n_init=1, max_iter=passes, tol=0, algorithm="lloyd").fit(x)

    x, start = case.array("x"), case.array("start")
    fit(x[:WARM], x[: min(len(start), WARM // 8)], 2)
    model = clock.run(lambda: fit(x, start, case.passes))
    quality = judged(case, model.cluster_centers_, passes=model.n_iter_)
    if quality:
        with open(case.path("lloyd.json"), "w") as file:
            json.dump(quality["inertia"], file)
    return quality


def lloyd_faiss(case, clock):
    import faiss

    faiss.omp_set_num_threads(case.threads)

    def fit(x, start, passes):
        model = faiss.Kmeans(
            x.shape[1], len(start), niter=passes, max_points_per_centroid=len(x), min_points_per_centroid=1
        )
        model.train(x, init_centroids=start)
        return model

    x, start = case.array("x"), case.array("start")
    fit(x[:WARM], x[: min(len(start), WARM // 8)], 2)
    model = clock.run(lambda: fit(x, start, case.passes))
    return judged(case, model.centroids, passes=case.passes)


def lloyd_superkmeans(case, clock):
    x, start = case.array("x"), case.array("start")
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: os.path.join(folder, name) for name in ("x", "start", "centres")}
        x.tofile(paths["x"])
        start.tofile(paths["start"])
        numbers = [str(n) for n in (*x.shape, len(start), case.passes, case.threads)]
        command = [case.superkmeans, paths["x"], *numbers[:2], paths["start"], *numbers[2:], paths["centres"]]
        said = json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        )
        centres = np.fromfile(paths["centres"], np.float32).reshape(start.shape)
    clock.note(said["seconds"], said["cpu_s"])
    clock.need = said["need_mb"]
    return judged(case, centres, passes=said["iterations"])


# ---- the nearest of given points


def holder_of(points, threads):
    """A fitted clusterer whose centroids are the points: each is the mean of itself."""
    from fast_kmeans import FastKMeansClusterer

    model = FastKMeansClusterer(
        k_init=len(points), distance="euclidean", init_mode=points, n_threads=threads, min_weight=0
    )
    model.fit(points, max_iters=1, tol=0)
    if not np.array_equal(model.centroids, points):  # rows that are there twice
        print("points moved", file=sys.stderr)
    return model


def search_fastkmeans(case, clock):
    queries, points = case.array("queries"), case.array("points")
    model = holder_of(points, case.threads)
    if case.top == 1:
        model.predict(queries[:16])
        found = clock.run(lambda: model.predict(queries))
    else:
        # explain() adds text to every answer: what it is made of gives the numbers alone
        from fast_kmeans import _core

        def ask(rows):
            index, distance = (np.empty((len(rows), case.top), kind) for kind in (np.int64, np.float64))
            model._model.nearest(_core.Batch(rows), case.top, index=index, distance=distance)
            return index

        ask(queries[:16])
        found = clock.run(lambda: ask(queries))
    return {"recall": recall(queries, model.centroids, found)} if case.judge else {}


def search_faiss(case, clock):
    import faiss

    faiss.omp_set_num_threads(case.threads)
    queries, points = case.array("queries"), case.array("points")
    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points)
    index.search(queries[:64], case.top)
    found = clock.run(lambda: index.search(queries, case.top)[1])
    return {"recall": recall(queries, points, found)} if case.judge else {}


def search_sklearn(case, clock):
    from sklearn.metrics import pairwise_distances_argmin

    queries, points = case.array("queries"), case.array("points")
    pairwise_distances_argmin(queries[:64], points)
    found = clock.run(lambda: pairwise_distances_argmin(queries, points))
    return {"recall": recall(queries, points, found)} if case.judge else {}


def search_hnsw(case, clock):
    """Smallest efSearch that reaches the recall; the index is built once and kept in a file."""
    import faiss

    faiss.omp_set_num_threads(case.threads)
    queries, points = case.array("queries"), case.array("points")
    path = case.path(f"hnsw-{HNSW_LINKS}.index")
    if not os.path.exists(path):
        index = faiss.IndexHNSWFlat(points.shape[1], HNSW_LINKS)
        start, cpu = time.perf_counter(), time.process_time()
        index.add(points)
        built = {"build_s": time.perf_counter() - start, "build_cpu_s": time.process_time() - cpu}
        flat = faiss.IndexFlatL2(points.shape[1])
        flat.add(points)
        truth = flat.search(queries, 1)[1]
        for ef in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024):
            index.hnsw.efSearch = ef
            share = float((index.search(queries, 1)[1] == truth).mean())
            if share >= HNSW_RECALL:
                break
        faiss.write_index(index, path)
        with open(path + ".json", "w") as file:
            json.dump(built | {"ef": ef, "recall": share}, file)
    with open(path + ".json") as file:
        facts = json.load(file)
    index = faiss.read_index(path)
    index.hnsw.efSearch = facts["ef"]
    index.search(queries[:64], 1)
    clock.run(lambda: index.search(queries, 1))
    return facts


# ---- k-means++


def seed_fastkmeans(case, clock):
    """fit with one pass: seeding, the pass, the final labels. seeding_s: until the pass is over, less a pass."""
    from fast_kmeans import FastKMeansClusterer

    def fit(x, k, start="kmeans++"):
        ends = []
        FastKMeansClusterer(
            k_init=k, distance="euclidean", init_mode=start, n_threads=case.threads, min_weight=0
        ).fit(
            x,
            max_iters=1,
            tol=0,
            callbacks=lambda progress: ends.append((time.perf_counter(), progress["loss"])) and None,
        )
        return ends[0]

    x = case.array("x")
    fit(x[:WARM], 16)
    begins, done = [], []

    def call():
        begins.append(time.perf_counter())
        done.append(fit(x, case.k))

    clock.run(call)
    start = time.perf_counter()
    pass_over, _ = fit(x, case.k, x[: case.k])
    one_pass = pass_over - start
    seeding = sorted(end - begin - one_pass for begin, (end, _) in zip(begins, done, strict=True))
    return {"inertia": done[-1][1] * len(x), "seeding_s": max(0.0, seeding[len(seeding) // 2])}


def seed_sklearn(case, clock):
    from sklearn.cluster import kmeans_plusplus

    x = case.array("x")
    kmeans_plusplus(x[:WARM], 16, random_state=0)
    centres, _ = clock.run(lambda: kmeans_plusplus(x, case.k, random_state=0))
    return {"inertia": inertia(x, centres)} if case.judge else {}
