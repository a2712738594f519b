/* approximate.h — nearest prototypes by a search that somebody else makes (faiss): it proposes, distances decide.
 *
 * The index holds the prototypes as float32 points whose Euclidean order is the model's: cosine as unit vectors, feature
 * weights as scales. What it proposes for a row is ranked by the distances every scan has.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_INDEX_APPROXIMATE_H
#define FKMI_INDEX_APPROXIMATE_H

#include "backends/backend.h"

struct fkmi_approximate;
/* Whether a search is there and can serve the metric. */
bool fkmi_approximate_possible(const struct fkm_context *context, fkm_metric metric);
/* An index of k points. It keeps nothing of them; the space's weights must live as long. */
fkm_status fkmi_approximate_create(struct fkm_context *context, const struct fkmi_space *space,
                                   fkm_dtype dtype, const void *points, int64_t k,
                                   struct fkmi_approximate **out);
void fkmi_approximate_free(struct fkmi_approximate *approximate); /* NULL is fine */
/* Whether rows can be searched: dense, without masks, and few prototypes of many are wanted. */
bool fkmi_approximate_serves(const struct fkmi_approximate *approximate, const struct fkmi_rows *rows,
                             int64_t width);
/* As a scan of kind TOP_K, but for what the search does not find. From the caller's thread only. */
fkm_status fkmi_approximate_nearest(const struct fkmi_approximate *approximate, const struct fkmi_rows *rows,
                                    const struct fkmi_pack *pack, int64_t width, int32_t *index,
                                    double *distance);

#endif
