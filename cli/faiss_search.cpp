/* faiss_search.cpp — an HNSW index of the prototypes, by faiss. It lives in memory alone: no index is ever read from a
 * file.
 * SPDX-License-Identifier: Apache-2.0 */
#include "faiss_search.h"

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

#include <faiss/IndexHNSW.h>
#include <omp.h>

namespace {

/* As in fast_kmeans/_search.py. */
constexpr int links = 32;          /* of each point in the graph */
constexpr int build_width = 80;    /* candidates looked at for each link */
constexpr int64_t find_width = 64; /* candidates looked at for each row, at least */

class Threads {
    const int before = omp_get_max_threads();

  public:
    explicit Threads(int n) { omp_set_num_threads(n); }
    ~Threads() { omp_set_num_threads(before); }
    Threads(const Threads &) = delete;
    Threads &operator=(const Threads &) = delete;
};

/* No exception leaves for C. */
template <class Body> fkm_status guarded(Body body)
{
    try {
        body();
        return FKM_OK;
    } catch (const std::bad_alloc &) {
        return FKM_ENOMEM;
    } catch (...) {
        return FKM_EINTERNAL;
    }
}

fkm_status build(void *, const float *points, int64_t k, int64_t dim, void **index)
{
    return guarded([&] {
        const Threads one(1); /* several would make another graph each time */
        auto made = std::make_unique<faiss::IndexHNSWFlat>(static_cast<int>(dim), links);

        made->hnsw.efConstruction = build_width;
        made->add(k, points);
        *index = made.release();
    });
}

fkm_status search(void *, void *index, const float *rows, int64_t n_rows, int64_t, int64_t n_wanted,
                  int32_t n_threads, int64_t *numbers)
{
    return guarded([&] {
        const Threads some(n_threads);
        std::vector<float> distances(static_cast<size_t>(n_rows * n_wanted));
        faiss::SearchParametersHNSW parameters;

        parameters.efSearch = static_cast<int>(std::max(find_width, 2 * n_wanted));
        static_cast<const faiss::IndexHNSWFlat *>(index)->search(n_rows, rows, n_wanted, distances.data(),
                                                                 numbers, &parameters);
    });
}

void drop(void *, void *index) { delete static_cast<faiss::IndexHNSWFlat *>(index); }

} // namespace

fkm_status faiss_search_set(fkm_context *context)
{
    const fkm_search_functions functions = {sizeof functions, build, search, drop};

    return fkm_context_set_search(context, &functions, nullptr);
}
