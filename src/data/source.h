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
};
struct fkm_source {
    fkm_source_functions functions;
    struct fkmi_source_words words;
    void *self;
    bool foreign; /* made by fkm_source_create: its failures come without a message */
};
/* For readers in io/; functions->close may be NULL. On failure self is still the caller's. */
fkm_status fkmi_source_create(const fkm_source_functions *functions, const struct fkmi_source_words *words,
                              void *self, fkm_source **out);

#endif
