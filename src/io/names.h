/* names.h — class and tag names as numbers 0, 1, ... in order of appearance.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_IO_NAMES_H
#define FKMI_IO_NAMES_H

#include "base/error.h"

#define FKMI_NAME_BYTES_MAX 4096

struct fkmi_names {     /* zeroed: none */
    const char **texts; /* by number; zero-terminated, stable until freed */
    int64_t n, room;
    int32_t *slots; /* open addressing: 1 + number, 0: free; at most half full */
    int64_t n_slots;
    struct fkmi_name_chunk *chunks;
};
/* The number of a name, a new one at the end for a new name. FKM_EDATA when it is no name: empty, over
 * FKMI_NAME_BYTES_MAX bytes, not UTF-8, or with control characters. */
fkm_status fkmi_names_number(struct fkmi_names *names, const char *text, size_t length, int64_t *number);
/* Known names, in order; FKM_EINVAL when one comes twice. */
fkm_status fkmi_names_begin(struct fkmi_names *names, const char *const *known, int64_t n);
/* The next of a list of names separated by ';', ',' or ' ' in [*at, end): its length, 0 when there is none. */
size_t fkmi_names_next(const char **at, const char *end, const char **name);
void fkmi_names_free(struct fkmi_names *names);

#endif
