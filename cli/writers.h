/* writers.h — rows into files: one table per format.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_WRITERS_H
#define FKM_CLI_WRITERS_H

#include "options.h"
#include "output.h"
#include "schema.h"

struct writing {
    const struct writer *writer;
    const struct options *options;
    struct schema *schema; /* names as known so far */
    struct output output;
    struct output beside; /* npy: the targets; file NULL when there are none */
    int64_t n_rows, n_cols, n_targets, n_tags;
    double *row;   /* npy: a sparse row, dense */
    int64_t *tags; /* npy: all tags, row by row; they are written when their number is known */
    int64_t *tag_ends;
    int64_t n_all_tags, tag_capacity, row_capacity;
    bool numbers_said;
};
struct writer {
    const char *name;
    int (*begin)(struct writing *writing, const fkm_batch *first);
    int (*rows)(struct writing *writing, const fkm_batch *batch);
    int (*end)(struct writing *writing);
};
extern const struct writer *const writers[]; /* ends with NULL */
extern const struct writer csv_writer, tsv_writer, libsvm_writer, npy_writer;
void writing_free(struct writing *writing);

/* Whether the rows come with targets of the schema's task. */
bool has_targets(const fkm_batch *batch);

#endif
