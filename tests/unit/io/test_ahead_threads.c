/* test_ahead_threads.c — a source that is read ahead answers as one that is not: batches, positions, names, failures.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "data/ahead.h"
#include "unit/io/source_tools.h"

#define ROWS 103

struct file {
    fkm_source_options options;
    char text[16384];
};

/* Rows of three numbers, with what each format and task can have besides. */
static struct file file_of(fkm_format format, fkm_task task)
{
    struct file file = {options_of(format, task, format == FKM_FORMAT_CSV ? "y" : NULL), ""};
    size_t at = 0;

    file.options.dtype = FKM_DTYPE_F64;
    if (format == FKM_FORMAT_CSV) {
        at += (size_t)sprintf(file.text + at, "a,b,y,c,w\n");
        file.options.weight = "w";
    }
    for (int i = 0; i < ROWS; i++) {
        char target[64];

        if (task == FKM_TASK_MULTILABEL)
            sprintf(target, format == FKM_FORMAT_CSV ? "t%d;t%d" : "%d,%d", i % 3, 3 + i / 10);
        else if (task == FKM_TASK_REGRESS)
            sprintf(target, "%d.25", i);
        else
            sprintf(target, format == FKM_FORMAT_CSV ? "class %d" : "%d", i / 9);
        if (format == FKM_FORMAT_CSV)
            at += (size_t)sprintf(file.text + at, "%d,%s,%s,%d.5,%d\n", i, i % 7 ? "1" : "NA", target, -i,
                                  i % 4);
        else
            at += (size_t)sprintf(file.text + at, "%s 1:%d %s3:0.5\n", target, i, i % 2 ? "2:-1 " : "");
    }
    return file;
}

/* Everything a batch says, as one number that moves with each byte. */
static uint64_t hash(uint64_t seed, const void *bytes, int64_t count, size_t size)
{
    for (size_t i = 0; bytes && i < (size_t)count * size; i++)
        seed = (seed ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
    return seed + (bytes != NULL);
}
static uint64_t hash_of(const fkm_batch *batch)
{
    const int64_t n = batch->n_rows;
    uint64_t h = hash(1, &n, 1, sizeof n);

    CHECK(batch->row_stride == 0 || batch->row_stride == batch->n_cols);
    h = hash(h, batch->x, n * batch->n_cols, 8);
    h = hash(h, batch->indptr, n + 1, sizeof *batch->indptr);
    h = hash(h, batch->indices, batch->indptr ? batch->indptr[n] : 0, sizeof *batch->indices);
    h = hash(h, batch->values, batch->indptr ? batch->indptr[n] : 0, 8);
    h = hash(h, batch->weight, n, sizeof *batch->weight);
    h = hash(h, batch->mask, n * batch->n_cols, sizeof *batch->mask);
    h = hash(h, batch->labels, n, sizeof *batch->labels);
    h = hash(h, batch->tag_indptr, n + 1, sizeof *batch->tag_indptr);
    h = hash(h, batch->tags, batch->tag_indptr ? batch->tag_indptr[n] : 0, sizeof *batch->tags);
    return hash(h, batch->targets, n * batch->n_targets, sizeof *batch->targets);
}

/* Both give the same next batch and say the same of themselves; false at the end. Who asks for another number of rows
 * than before makes the source go back, but it knows the names that it has met (met_more). */
static bool same_next(fkm_source *plain, fkm_source *ahead, int64_t max_rows, bool met_more)
{
    fkm_batch a, b;
    char place[FKMI_POSITION_BYTES], other[FKMI_POSITION_BYTES];

    CHECK_OK(fkm_source_next(plain, max_rows, &a));
    CHECK_OK(fkm_source_next(ahead, max_rows, &b));
    CHECK_INT(a.n_rows, b.n_rows);
    if (a.n_rows > 0)
        CHECK(hash_of(&a) == hash_of(&b));
    CHECK_OK(fkm_source_tell(plain, place, sizeof place));
    CHECK_OK(fkm_source_tell(ahead, other, sizeof other));
    CHECK_TEXT(place, other);
    CHECK(fkm_source_class_count(ahead) >= fkm_source_class_count(plain));
    CHECK(met_more || fkm_source_class_count(ahead) == fkm_source_class_count(plain));
    for (int64_t c = 0; c < fkm_source_class_count(plain); c++)
        CHECK_TEXT(fkm_source_class_name(plain, c), fkm_source_class_name(ahead, c));
    CHECK(fkm_source_class_name(ahead, fkm_source_class_count(ahead)) == NULL);
    CHECK_TEXT(fkm_source_note(plain), fkm_source_note(ahead));
    return a.n_rows > 0;
}

TEST(every_batch_is_the_one_that_reading_gives)
{
    const fkm_format formats[] = {FKM_FORMAT_CSV, FKM_FORMAT_LIBSVM};

    for (int f = 0; f < 2; f++)
        for (fkm_task task = FKM_TASK_CLUSTER; task <= FKM_TASK_REGRESS; task++)
            for (int64_t max_rows = 1; max_rows <= 120; max_rows = max_rows * 3 + 1) {
                const struct file file = file_of(formats[f], task);
                fkm_source *plain = source_of(file.text, &file.options),
                           *ahead = source_of(file.text, &file.options);

                for (int epoch = 0; epoch < 2; epoch++) {
                    CHECK_OK(fkmi_ahead_begin(ahead));
                    CHECK(ahead->ahead != NULL);
                    while (same_next(plain, ahead, max_rows, false))
                        ;
                    CHECK_OK(fkm_source_seek(plain, NULL));
                    CHECK_OK(fkm_source_seek(ahead, NULL));
                    fkmi_ahead_end(ahead);
                }
                fkm_source_close(plain);
                fkm_source_close(ahead);
            }
    CHECK_INT(0, fkmi_memory_held());
}

TEST(what_waits_is_not_lost_whatever_is_asked_next)
{
    const struct file file = file_of(FKM_FORMAT_CSV, FKM_TASK_CLASSIFY);

    for (int after = 1; after < 9; after++)
        for (int how = 0; how < 4; how++) {
            fkm_source *plain = source_of(file.text, &file.options),
                       *ahead = source_of(file.text, &file.options);
            char place[FKMI_POSITION_BYTES];

            CHECK_OK(fkmi_ahead_begin(ahead));
            for (int i = 0; i < after; i++)
                CHECK(same_next(plain, ahead, 10, false));
            if (how < 2)
                fkmi_ahead_end(ahead);
            CHECK_OK(fkm_source_tell(plain, place, sizeof place));
            if (how % 2)
                CHECK_OK(fkm_source_seek(ahead, place));
            for (int64_t rows = how % 2 ? 10 : 7; same_next(plain, ahead, rows, how % 2 == 0); rows += 2)
                ;
            CHECK_OK(fkm_source_seek(ahead, place)); /* back, past the end */
            CHECK_OK(fkm_source_seek(plain, place));
            CHECK(same_next(plain, ahead, 10, false));
            fkmi_ahead_end(ahead);
            fkmi_ahead_end(ahead); /* nothing more to end */
            CHECK(same_next(plain, ahead, 10, false));
            fkm_source_close(plain);
            fkm_source_close(ahead);
        }
    CHECK_INT(0, fkmi_memory_held());
}

TEST(a_failure_comes_when_its_batch_would_have)
{
    fkm_source_options options = options_of(FKM_FORMAT_CSV, FKM_TASK_CLASSIFY, "y");
    fkm_source *source = source_of("a,y\n1,u\n2,v\n3,u\n4,w\nfive,u\n6,u\n", &options);
    fkm_batch batch;

    CHECK_OK(fkmi_ahead_begin(source));
    CHECK_OK(fkm_source_next(source, 2, &batch));
    CHECK_INT(2, batch.n_rows);
    CHECK_INT(2, fkm_source_class_count(source));
    CHECK_OK(fkm_source_next(source, 2, &batch));
    CHECK_INT(2, batch.n_rows);
    CHECK_NEAR(4, value_at(&batch, 1, 0), 0);
    CHECK_INT(3, fkm_source_class_count(source));
    CHECK_STATUS(FKM_EDATA, fkm_source_next(source, 2, &batch));
    CHECK_SAYS("\"five\" is not a finite number", fkm_last_error());
    CHECK_INT(0, batch.n_rows);
    fkmi_ahead_end(source);
    fkm_source_close(source);
    CHECK_INT(0, fkmi_memory_held());
}

TEST(without_memory_reading_ahead_fails_as_reading_does)
{
    const struct file file = file_of(FKM_FORMAT_LIBSVM, FKM_TASK_MULTILABEL);

    for (int64_t n = 1;; n++) {
        fkm_source *source = source_of(file.text, &file.options);
        fkm_status status;
        fkm_batch batch = FKM_BATCH_INIT;
        int64_t rows = 0;

        fkmi_memory_fail(n, 0);
        status = fkmi_ahead_begin(source);
        while (status == FKM_OK && (status = fkm_source_next(source, 40, &batch)) == FKM_OK &&
               batch.n_rows > 0)
            rows += batch.n_rows;
        fkmi_ahead_end(source);
        fkmi_memory_fail(0, 0);
        fkm_source_close(source);
        if (status == FKM_OK) {
            CHECK_INT(ROWS, rows);
            CHECK(n > 5);
            break;
        }
        CHECK_STATUS(FKM_ENOMEM, status);
    }
    CHECK_INT(0, fkmi_memory_held());
}

TEST(sources_that_want_their_caller_are_left_alone)
{
    const struct file file = file_of(FKM_FORMAT_CSV, FKM_TASK_CLUSTER);
    fkm_source *source = source_of(file.text, &file.options);
    fkm_batch batch;

    source->words.read_anywhere = false;
    CHECK_OK(fkmi_ahead_begin(source));
    CHECK(source->ahead == NULL);
    CHECK_OK(fkm_source_next(source, 5, &batch));
    CHECK_INT(5, batch.n_rows);
    fkmi_ahead_end(source);
    fkm_source_close(source);
}
