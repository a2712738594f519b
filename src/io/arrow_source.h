/* arrow_source.h — the inside of an Arrow source: arrow.c (the stream), arrow_columns.c (what its columns are),
 * arrow_rows.c (its rows).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_IO_ARROW_SOURCE_H
#define FKMI_IO_ARROW_SOURCE_H

#include "io/arrow_values.h"
#include "io/columns.h"
#include "io/gather.h"
#include "io/names.h"

#define FKMI_ARROW_TABLE      "the Arrow stream" /* in messages */
#define FKMI_ARROW_BLOCK_ROWS 256 /* converted column by column, so that the rows being written stay near */
#define FKMI_ARROW_MESSAGE    256 /* bytes of the last part of a message */

struct fkmi_arrow {
    struct ArrowArrayStream stream;
    struct ArrowSchema schema;
    struct ArrowArray array; /* the record batch at hand; released: none */
    struct fkmi_arrow_column batch, *column;
    int64_t row;  /* the next one in it */
    int64_t rows; /* handed out */
    struct fkmi_columns columns;
    int64_t *first; /* by column: its first feature, or target; a fixed-size list has several */
    char *feature_text;
    const char **feature_names;
    struct fkmi_names names;
    struct fkmi_gather gather;
    bool handed_out; /* the gathered rows; else an interrupted call left them */
    bool by_name;    /* integers are labels by their texts */
    int64_t n_tags;  /* numbered tags that are known to exist */
    fkm_task task;
    fkm_missing missing;
    bool ended;
    fkm_status failed; /* what the stream said once it says for ever */
    char message[FKMI_MESSAGE_BYTES];
    char *note;
};

/* Roles of the columns by the options, what each holds, names of features and tags. The schema is read. */
fkm_status fkmi_arrow_decide(struct fkmi_arrow *arrow, const fkm_source_options *options);
/* Gathers n <= FKMI_ARROW_BLOCK_ROWS rows of the batch at hand, or those before a bad one, which stays next. */
fkm_status fkmi_arrow_read_block(struct fkmi_arrow *arrow, int64_t n, int64_t max_rows);
/* "the Arrow stream: column 3 (width): message"; returns status. */
fkm_status fkmi_arrow_column_fail(const struct fkmi_arrow *arrow, fkm_status status, int32_t column,
                                  const char *format, ...) FKMI_PRINTF(4, 5);

#endif
