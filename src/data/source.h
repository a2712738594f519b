/* source.h — the inside of a public fkm_source: a table of functions and their self.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_DATA_SOURCE_H
#define FKMI_DATA_SOURCE_H

#include <stdbool.h>

#include "base/error.h"

#define FKMI_POSITION_BYTES 256 /* a position is text and fits in this, with its zero */

/* What a source that reads files can tell besides rows; every slot may be NULL. */
struct fkmi_source_words {
    int64_t (*class_count)(const void *self);
    const char *(*class_name)(const void *self, int64_t index);
    const char *(*column_name)(const void *self, int64_t index);
    const char *(*note)(const void *self);
    bool read_anywhere; /* next and tell may run on a thread of ours, and seek goes back too */
};
struct fkmi_ahead;
struct fkm_source {
    fkm_source_functions functions;
    struct fkmi_source_words words;
    void *self;
    struct fkmi_ahead *ahead; /* ahead.h; NULL: the functions are asked directly */
    bool foreign;             /* made by fkm_source_create: its failures come without a message */
};
/* For readers in io/; functions->close may be NULL. On failure self is still the caller's. */
fkm_status fkmi_source_create(const fkm_source_functions *functions, const struct fkmi_source_words *words,
                              void *self, fkm_source **out);

/* What the source's own functions say, past what was read ahead. */
fkm_status fkmi_source_next(fkm_source *source, int64_t max_rows, fkm_batch *batch);
fkm_status fkmi_source_seek(fkm_source *source, const char *position);
fkm_status fkmi_source_tell(fkm_source *source, char *position, size_t size);
int64_t fkmi_source_class_count(const fkm_source *source);

#endif
