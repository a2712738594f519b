/* source.c — a source of rows behind a table of functions, ours or the user's.
 * SPDX-License-Identifier: Apache-2.0 */
#include "data/source.h"

#include <string.h>

#include "base/memory.h"
#include "data/ahead.h"

static fkm_status create(const fkm_source_functions *functions, const struct fkmi_source_words *words,
                         void *self, bool foreign, fkm_source **out)
{
    static const struct fkmi_source_words silent;
    fkm_source *source;

    *out = NULL;
    FKMI_TRY(fkmi_alloc(&source, 1, sizeof *source));
    source->functions = *functions;
    source->words = words ? *words : silent;
    source->self = self;
    source->foreign = foreign;
    *out = source;
    return FKM_OK;
}

fkm_status fkmi_source_create(const fkm_source_functions *functions, const struct fkmi_source_words *words,
                              void *self, fkm_source **out)
{
    return create(functions, words, self, false, out);
}

fkm_status fkm_source_create(const fkm_source_functions *functions, void *self, fkm_source **out)
{
    if (!out)
        return fkmi_fail(FKM_EINVAL, "out is NULL");
    *out = NULL;
    if (!functions)
        return fkmi_fail(FKM_EINVAL, "functions is NULL");
    if (functions->struct_size != sizeof *functions)
        return fkmi_fail(FKM_EINVAL, "fkm_source_functions.struct_size is %zu, this library expects %zu",
                         functions->struct_size, sizeof *functions);
    if (!functions->next || !functions->seek || !functions->tell)
        return fkmi_fail(FKM_EINVAL, "fkm_source_functions.%s is NULL",
                         !functions->next   ? "next"
                         : !functions->seek ? "seek"
                                            : "tell");
    if (!functions->class_count != !functions->class_name)
        return fkmi_fail(FKM_EINVAL, "fkm_source_functions.%s is NULL, the other is not",
                         functions->class_count ? "class_name" : "class_count");
    return create(functions, NULL, self, true, out);
}

/* The user's functions cannot leave a message of their own, but what they call of ours may have. */
static void forget_message(const fkm_source *source)
{
    if (source->foreign)
        fkmi_fail(FKM_OK, "%s", "");
}

static fkm_status explain(const fkm_source *source, fkm_status status, const char *function)
{
    if (status != FKM_OK && source->foreign && fkm_last_error()[0] == '\0')
        return fkmi_fail(status, "the source's %s function returned %s", function, fkm_status_name(status));
    return status;
}

fkm_status fkmi_source_next(fkm_source *source, int64_t max_rows, fkm_batch *batch)
{
    fkm_status status;

    *batch = (fkm_batch)FKM_BATCH_INIT;
    forget_message(source);
    status = explain(source, source->functions.next(source->self, max_rows, batch), "next");
    if (status == FKM_OK && (batch->n_rows < 0 || batch->n_rows > max_rows))
        status = fkmi_fail(FKM_EINVAL, "the source gave %lld rows, at most %lld were asked for",
                           (long long)batch->n_rows, (long long)max_rows);
    if (status != FKM_OK)
        *batch = (fkm_batch)FKM_BATCH_INIT;
    return status;
}

fkm_status fkmi_source_seek(fkm_source *source, const char *position)
{
    forget_message(source);
    return explain(source, source->functions.seek(source->self, position), "seek");
}

fkm_status fkmi_source_tell(fkm_source *source, char *position, size_t size)
{
    fkm_status status;

    memset(position, 0, size);
    forget_message(source);
    status = explain(source, source->functions.tell(source->self, position, size), "tell");
    if (status == FKM_OK && position[size - 1] != '\0')
        status = fkmi_fail(FKM_EINVAL, "the source's position is longer than %zu bytes", size - 1);
    if (status != FKM_OK)
        position[0] = '\0';
    return status;
}

int64_t fkmi_source_class_count(const fkm_source *source)
{
    if (source->words.class_count)
        return source->words.class_count(source->self);
    return source->functions.class_count ? source->functions.class_count(source->self) : 0;
}

/* ---- the public face: batches that were read ahead come first */

fkm_status fkm_source_next(fkm_source *source, int64_t max_rows, fkm_batch *batch)
{
    if (!source || !batch)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", source ? "batch" : "source");
    if (max_rows < 1)
        return fkmi_fail(FKM_EINVAL, "max_rows is %lld; it must be >= 1", (long long)max_rows);
    return source->ahead ? fkmi_ahead_next(source->ahead, max_rows, batch)
                         : fkmi_source_next(source, max_rows, batch);
}

fkm_status fkm_source_seek(fkm_source *source, const char *position)
{
    if (!source)
        return fkmi_fail(FKM_EINVAL, "source is NULL");
    return source->ahead ? fkmi_ahead_seek(source->ahead, position) : fkmi_source_seek(source, position);
}

fkm_status fkm_source_tell(fkm_source *source, char *position, size_t size)
{
    if (!source || !position || size == 0)
        return fkmi_fail(FKM_EINVAL, "%s", source ? "there is no room for a position" : "source is NULL");
    return source->ahead ? fkmi_ahead_tell(source->ahead, position, size)
                         : fkmi_source_tell(source, position, size);
}

void fkm_source_close(fkm_source *source)
{
    if (!source)
        return;
    fkmi_ahead_free(source->ahead);
    if (source->functions.close)
        source->functions.close(source->self);
    fkmi_free(source);
}

int64_t fkm_source_class_count(const fkm_source *source)
{
    if (!source)
        return 0;
    return source->ahead ? fkmi_ahead_class_count(source->ahead) : fkmi_source_class_count(source);
}

const char *fkm_source_class_name(const fkm_source *source, int64_t index)
{
    if (!source || index < 0 || index >= fkm_source_class_count(source))
        return NULL;
    return source->words.class_name ? source->words.class_name(source->self, index)
                                    : source->functions.class_name(source->self, index);
}

const char *fkm_source_column_name(const fkm_source *source, int64_t index)
{
    if (!source || !source->words.column_name || index < 0)
        return NULL;
    if (source->ahead)
        fkmi_ahead_rest(source->ahead);
    return source->words.column_name(source->self, index);
}

const char *fkm_source_note(const fkm_source *source)
{
    const char *note;

    if (source && source->ahead)
        fkmi_ahead_rest(source->ahead);
    note = source && source->words.note ? source->words.note(source->self) : NULL;
    return note ? note : "";
}
