/* terms.c — a hash table of terms; the texts live in chunks, so they never move.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/terms.h"

#include <string.h>

#include "base/memory.h"

#define CHUNK_BYTES 65536 /* longer than any term */

struct fkmi_term_chunk {
    struct fkmi_term_chunk *next;
    size_t used;
    char text[CHUNK_BYTES - 2 * sizeof(size_t)];
};

uint64_t fkmi_term_hash(const char *text, size_t length)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 33;
}

/* The slot of the term, or the free one where it belongs. */
static int64_t find_slot(const struct fkmi_terms *terms, uint64_t hash, const char *text, size_t length)
{
    const uint64_t last = (uint64_t)terms->n_slots - 1;
    uint64_t at = hash & last;

    for (; terms->slots[at] != 0; at = (at + 1) & last) {
        const int32_t other = terms->slots[at] - 1;

        if (terms->hashes[other] == hash && strncmp(terms->texts[other], text, length) == 0 &&
            terms->texts[other][length] == 0)
            break;
    }
    return (int64_t)at;
}

static fkm_status grow(struct fkmi_terms *terms)
{
    if (terms->n == terms->room) {
        const int64_t room = terms->room > 0 ? 2 * terms->room : 512;

        FKMI_TRY(fkmi_resize(&terms->texts, room, sizeof *terms->texts));
        FKMI_TRY(fkmi_resize(&terms->hashes, room, sizeof *terms->hashes));
        terms->room = room;
    }
    if (2 * (terms->n + 1) > terms->n_slots) {
        const int64_t n_slots = terms->n_slots > 0 ? 2 * terms->n_slots : 1024;
        int32_t *slots;

        FKMI_TRY(fkmi_alloc(&slots, n_slots, sizeof *slots));
        fkmi_free(terms->slots);
        terms->slots = slots;
        terms->n_slots = n_slots;
        for (int64_t i = 0; i < terms->n; i++) { /* all differ: only the free slot is looked for */
            uint64_t at = terms->hashes[i] & ((uint64_t)n_slots - 1);

            while (slots[at] != 0)
                at = (at + 1) & ((uint64_t)n_slots - 1);
            slots[at] = (int32_t)i + 1;
        }
    }
    return FKM_OK;
}

static fkm_status keep_text(struct fkmi_terms *terms, const char *text, size_t length, const char **kept)
{
    struct fkmi_term_chunk *chunk = terms->chunks;

    if (!chunk || sizeof chunk->text - chunk->used < length + 1) {
        FKMI_TRY(fkmi_alloc(&chunk, 1, sizeof *chunk));
        chunk->next = terms->chunks;
        terms->chunks = chunk;
    }
    memcpy(chunk->text + chunk->used, text, length);
    *kept = chunk->text + chunk->used;
    chunk->used += length + 1; /* the memory is zeroed, so the text is terminated */
    return FKM_OK;
}

int64_t fkmi_terms_find(const struct fkmi_terms *terms, const char *text, size_t length)
{
    return terms->n > 0 ? terms->slots[find_slot(terms, fkmi_term_hash(text, length), text, length)] - 1 : -1;
}

fkm_status fkmi_terms_number(struct fkmi_terms *terms, const char *text, size_t length, int64_t *number)
{
    const uint64_t hash = fkmi_term_hash(text, length);
    const int64_t slot = terms->n_slots > 0 ? find_slot(terms, hash, text, length) : -1;

    if (slot >= 0 && terms->slots[slot] != 0) {
        *number = terms->slots[slot] - 1;
        return FKM_OK;
    }
    if (terms->n == FKMI_TERMS_MAX)
        return fkmi_fail(FKM_EDATA, "the texts have more than %lld different terms: hash them",
                         (long long)FKMI_TERMS_MAX);
    FKMI_TRY(grow(terms));
    FKMI_TRY(keep_text(terms, text, length, &terms->texts[terms->n]));
    terms->hashes[terms->n] = hash;
    *number = terms->n;
    terms->slots[find_slot(terms, hash, text, length)] = (int32_t)++terms->n;
    return FKM_OK;
}

void fkmi_terms_free(struct fkmi_terms *terms)
{
    struct fkmi_term_chunk *chunk, *next;

    for (chunk = terms->chunks; chunk; chunk = next) {
        next = chunk->next;
        fkmi_free(chunk);
    }
    fkmi_free(terms->texts);
    fkmi_free(terms->hashes);
    fkmi_free(terms->slots);
    *terms = (struct fkmi_terms){0};
}
