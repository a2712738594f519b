/* names.c — a hash table from names to numbers; the texts live in chunks, so they never move.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "io/names.h"

#include <stdbool.h>
#include <string.h>

#include "base/memory.h"
#include "io/lines.h"

#define CHUNK_BYTES 65536

struct fkmi_name_chunk {
    struct fkmi_name_chunk *next;
    size_t used;
    char text[CHUNK_BYTES - 2 * sizeof(size_t)];
};

/* FNV-1a with a final mix, so that the low bits depend on every byte. */
static uint64_t hash_of(const char *text, size_t length)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    size_t i;

    for (i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

/* The slot of the name, or the free one where it belongs. */
static int64_t find_slot(const struct fkmi_names *names, const char *text, size_t length)
{
    const uint64_t last = (uint64_t)names->n_slots - 1;
    uint64_t at = hash_of(text, length) & last;

    while (names->slots[at] != 0) {
        const char *other = names->texts[names->slots[at] - 1];

        if (strncmp(other, text, length) == 0 && other[length] == 0)
            break;
        at = (at + 1) & last;
    }
    return (int64_t)at;
}

static fkm_status grow(struct fkmi_names *names)
{
    int64_t i;

    if (names->n == names->room) {
        const int64_t room = names->room > 0 ? 2 * names->room : 64;

        FKMI_TRY(fkmi_resize(&names->texts, room, sizeof *names->texts));
        names->room = room;
    }
    if (2 * (names->n + 1) > names->n_slots) {
        const int64_t n_slots = names->n_slots > 0 ? 2 * names->n_slots : 128;
        int32_t *slots;

        FKMI_TRY(fkmi_alloc(&slots, n_slots, sizeof *slots));
        fkmi_free(names->slots);
        names->slots = slots;
        names->n_slots = n_slots;
        for (i = 0; i < names->n; i++)
            slots[find_slot(names, names->texts[i], strlen(names->texts[i]))] = (int32_t)i + 1;
    }
    return FKM_OK;
}

static fkm_status keep_text(struct fkmi_names *names, const char *text, size_t length, const char **kept)
{
    struct fkmi_name_chunk *chunk = names->chunks;

    if (!chunk || sizeof chunk->text - chunk->used < length + 1) {
        FKMI_TRY(fkmi_alloc(&chunk, 1, sizeof *chunk));
        chunk->next = names->chunks;
        names->chunks = chunk;
    }
    memcpy(chunk->text + chunk->used, text, length);
    *kept = chunk->text + chunk->used;
    chunk->used += length + 1; /* the memory is zeroed, so the text is terminated */
    return FKM_OK;
}

static fkm_status check_name(const char *text, size_t length)
{
    char shown[FKMI_EXCERPT_BYTES];
    size_t i;

    fkmi_excerpt(shown, text, length);
    if (length == 0)
        return fkmi_fail(FKM_EDATA, "a name is empty");
    if (length > FKMI_NAME_BYTES_MAX)
        return fkmi_fail(FKM_EDATA, "the name \"%s\" has %zu bytes, more than %d", shown, length,
                         FKMI_NAME_BYTES_MAX);
    for (i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return fkmi_fail(FKM_EDATA, "the name \"%s\" holds a control character", shown);
    if (!fkmi_is_utf8(text, length))
        return fkmi_fail(FKM_EDATA, "the name \"%s\" is not UTF-8", shown);
    return FKM_OK;
}

fkm_status fkmi_names_number(struct fkmi_names *names, const char *text, size_t length, int64_t *number)
{
    int64_t slot = names->n_slots > 0 ? find_slot(names, text, length) : -1;

    if (slot < 0 || names->slots[slot] == 0) {
        FKMI_TRY(check_name(text, length));
        if (names->n == INT32_MAX - 1)
            return fkmi_fail(FKM_EDATA, "more than %d different names", INT32_MAX - 1);
        FKMI_TRY(grow(names));
        FKMI_TRY(keep_text(names, text, length, &names->texts[names->n]));
        slot = find_slot(names, text, length);
        names->slots[slot] = (int32_t)++names->n;
    }
    *number = names->slots[slot] - 1;
    return FKM_OK;
}

fkm_status fkmi_names_begin(struct fkmi_names *names, const char *const *known, int64_t n)
{
    int64_t i, number;

    for (i = 0; i < n; i++) {
        if (!known || !known[i])
            return fkmi_fail(FKM_EINVAL, "class_names holds no name at %lld of %lld", (long long)i,
                             (long long)n);
        FKMI_TRY(fkmi_names_number(names, known[i], strlen(known[i]), &number));
        if (number != i)
            return fkmi_fail(FKM_EINVAL, "class_names holds \"%s\" twice, at %lld and %lld", known[i],
                             (long long)number, (long long)i);
    }
    return FKM_OK;
}

static bool is_separator(char c) { return c == ';' || c == ',' || c == ' '; }

size_t fkmi_names_next(const char **at, const char *end, const char **name)
{
    while (*at < end && is_separator(**at))
        ++*at;
    *name = *at;
    while (*at < end && !is_separator(**at))
        ++*at;
    return (size_t)(*at - *name);
}

void fkmi_names_free(struct fkmi_names *names)
{
    struct fkmi_name_chunk *chunk, *next;

    for (chunk = names->chunks; chunk; chunk = next) {
        next = chunk->next;
        fkmi_free(chunk);
    }
    fkmi_free(names->texts);
    fkmi_free(names->slots);
    *names = (struct fkmi_names){0};
}
