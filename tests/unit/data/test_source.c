/* test_source.c — a source made of the caller's functions.
 * SPDX-License-Identifier: Apache-2.0 */
#include "data/source.h"

#include "base/memory.h"
#include "support/test.h"

struct counter {
    int64_t at, n;
    float rows[8];
    int closed;
    fkm_status fails;
    bool speaks; /* a failing call of ours leaves a message */
    bool greedy; /* gives more rows than asked for */
};

static fkm_status next(void *self, int64_t max_rows, fkm_batch *batch)
{
    struct counter *counter = self;
    fkm_params params = FKM_PARAMS_INIT;
    int64_t n = counter->n - counter->at < max_rows ? counter->n - counter->at : max_rows;

    if (counter->fails != FKM_OK)
        return counter->speaks ? fkm_params_set(&params, "k_init", "x") : counter->fails;
    if (counter->greedy)
        n = max_rows + 1;
    batch->n_rows = n;
    batch->n_cols = 1;
    batch->x = counter->rows;
    counter->at += n;
    return FKM_OK;
}

static fkm_status seek(void *self, const char *position)
{
    struct counter *counter = self;

    counter->at = position ? position[0] - '0' : 0;
    return counter->fails;
}

static fkm_status tell(void *self, char *position, size_t size)
{
    const struct counter *counter = self;

    if (counter->greedy)
        memset(position, 'x', size);
    else
        snprintf(position, size, "%lld", (long long)counter->at);
    return counter->fails;
}

static void close_counter(void *self) { ((struct counter *)self)->closed++; }

static const fkm_source_functions functions = {.struct_size = sizeof(fkm_source_functions),
                                               .next = next,
                                               .seek = seek,
                                               .tell = tell,
                                               .close = close_counter};

TEST(rows_positions_and_the_end)
{
    struct counter counter = {.n = 5};
    const size_t before = fkmi_memory_held();
    fkm_source *source;
    fkm_batch batch;
    char position[FKMI_POSITION_BYTES];

    CHECK_OK(fkm_source_create(&functions, &counter, &source));
    CHECK_OK(fkm_source_next(source, 3, &batch));
    CHECK_INT(3, batch.n_rows);
    CHECK_INT(sizeof batch, batch.struct_size);
    CHECK_OK(fkm_source_tell(source, position, sizeof position));
    CHECK_TEXT("3", position);
    CHECK_OK(fkm_source_next(source, 3, &batch));
    CHECK_INT(2, batch.n_rows);
    CHECK_OK(fkm_source_next(source, 3, &batch));
    CHECK_INT(0, batch.n_rows);
    CHECK_OK(fkm_source_seek(source, position));
    CHECK_OK(fkm_source_next(source, 8, &batch));
    CHECK_INT(2, batch.n_rows);
    CHECK_OK(fkm_source_seek(source, NULL));
    CHECK_INT(0, counter.at);
    CHECK_INT(0, counter.closed);
    fkm_source_close(source);
    CHECK_INT(1, counter.closed);
    CHECK_INT(before, fkmi_memory_held());
    fkm_source_close(NULL);
}

TEST(incomplete_functions_are_refused)
{
    struct counter counter = {0};
    fkm_source_functions wrong = functions;
    fkm_source *source;

    wrong.struct_size = 8;
    CHECK_STATUS(FKM_EINVAL, fkm_source_create(&wrong, &counter, &source));
    CHECK_SAYS("struct_size is 8", fkm_last_error());
    wrong = functions;
    wrong.seek = NULL;
    CHECK_STATUS(FKM_EINVAL, fkm_source_create(&wrong, &counter, &source));
    CHECK_SAYS("seek is NULL", fkm_last_error());
    CHECK(!source);
    CHECK_STATUS(FKM_EINVAL, fkm_source_create(NULL, &counter, &source));
    CHECK_STATUS(FKM_EINVAL, fkm_source_create(&functions, &counter, NULL));
    CHECK_INT(0, counter.closed);
    wrong = functions;
    wrong.close = NULL;
    CHECK_OK(fkm_source_create(&wrong, &counter, &source));
    fkm_source_close(source);
}

TEST(failures_of_the_callers_functions_are_explained)
{
    struct counter counter = {.n = 5, .fails = FKM_EIO};
    fkm_source *source;
    fkm_batch batch;
    char position[8];

    CHECK_OK(fkm_source_create(&functions, &counter, &source));
    fkmi_fail(FKM_EINVAL, "an old message");
    CHECK_STATUS(FKM_EIO, fkm_source_next(source, 3, &batch));
    CHECK_TEXT("the source's next function returned FKM_EIO", fkm_last_error());
    CHECK_INT(0, batch.n_rows);
    CHECK_STATUS(FKM_EIO, fkm_source_seek(source, NULL));
    CHECK_STATUS(FKM_EIO, fkm_source_tell(source, position, sizeof position));
    CHECK_TEXT("", position);
    counter.speaks = true;
    CHECK_STATUS(FKM_EINVAL, fkm_source_next(source, 3, &batch));
    CHECK_SAYS("k_init is 'x'", fkm_last_error()); /* what it called of ours has said more */
    counter = (struct counter){.n = 5, .greedy = true};
    CHECK_STATUS(FKM_EINVAL, fkm_source_next(source, 3, &batch));
    CHECK_TEXT("the source gave 4 rows, at most 3 were asked for", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkm_source_tell(source, position, sizeof position));
    CHECK_STATUS(FKM_EINVAL, fkm_source_next(source, 0, &batch));
    CHECK_STATUS(FKM_EINVAL, fkm_source_next(NULL, 1, &batch));
    CHECK_STATUS(FKM_EINVAL, fkm_source_next(source, 1, NULL));
    fkm_source_close(source);
}

static int64_t two(const void *self)
{
    (void)self;
    return 2;
}

static const char *name(const void *self, int64_t index)
{
    (void)self;
    return index == 0 ? "cat" : index == 1 ? "dog" : NULL;
}

static const char *no_note(const void *self)
{
    (void)self;
    return NULL;
}

TEST(words_of_a_reader)
{
    const struct fkmi_source_words words = {
        .class_count = two, .class_name = name, .column_name = name, .note = no_note};
    struct counter counter = {0};
    fkm_source *source;

    CHECK_OK(fkm_source_create(&functions, &counter, &source));
    CHECK_INT(0, fkm_source_class_count(source));
    CHECK(!fkm_source_class_name(source, 0));
    CHECK(!fkm_source_column_name(source, 0));
    CHECK_TEXT("", fkm_source_note(source));
    fkm_source_close(source);
    CHECK_OK(fkmi_source_create(&functions, &words, &counter, &source));
    CHECK_INT(2, fkm_source_class_count(source));
    CHECK_TEXT("dog", fkm_source_class_name(source, 1));
    CHECK(!fkm_source_class_name(source, 2));
    CHECK(!fkm_source_class_name(source, -1));
    CHECK_TEXT("cat", fkm_source_column_name(source, 0));
    CHECK_TEXT("", fkm_source_note(source));
    fkm_source_close(source);
    CHECK_TEXT("", fkm_source_note(NULL));
    CHECK_INT(0, fkm_source_class_count(NULL));
}

static int64_t two_names(void *self)
{
    (void)self;
    return 2;
}
static const char *name_of(void *self, int64_t index)
{
    (void)self;
    return index == 0 ? "cat" : "dog";
}

TEST(names_from_the_callers_functions)
{
    struct counter counter = {0};
    fkm_source_functions named = functions;
    fkm_source *source;

    named.class_count = two_names;
    CHECK_STATUS(FKM_EINVAL, fkm_source_create(&named, &counter, &source));
    CHECK_SAYS("class_name is NULL", fkm_last_error());
    named.class_name = name_of;
    CHECK_OK(fkm_source_create(&named, &counter, &source));
    CHECK_INT(2, fkm_source_class_count(source));
    CHECK_TEXT("dog", fkm_source_class_name(source, 1));
    CHECK(!fkm_source_class_name(source, 2));
    fkm_source_close(source);
}
