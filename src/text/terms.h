/* terms.h — a table of terms (words, or several with spaces between), numbered 0, 1, ... in order of appearance.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_TEXT_TERMS_H
#define FKMI_TEXT_TERMS_H

#include "base/error.h"

#define FKMI_TERMS_MAX ((int64_t)1 << 24)

struct fkmi_terms {     /* zeroed: none */
    const char **texts; /* by number; zero-terminated, stable until freed */
    uint64_t *hashes;
    int64_t n, room;
    int32_t *slots; /* open addressing: 1 + number, 0: free; at most half full */
    int64_t n_slots;
    struct fkmi_term_chunk *chunks;
};
/* FNV-1a of 64 bits, mixed by the finish of MurmurHash3. */
uint64_t fkmi_term_hash(const char *text, size_t length);
/* The number of a term, -1 for one that is not there. */
int64_t fkmi_terms_find(const struct fkmi_terms *terms, const char *text, size_t length);
/* A new one goes to the end; FKM_EDATA when there are FKMI_TERMS_MAX. The text holds no zero byte. */
fkm_status fkmi_terms_number(struct fkmi_terms *terms, const char *text, size_t length, int64_t *number);
void fkmi_terms_free(struct fkmi_terms *terms);

#endif
