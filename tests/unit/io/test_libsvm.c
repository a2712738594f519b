/* test_libsvm.c — libsvm and XMC text: labels, index bases, widths, headers, positions, and what is refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "unit/io/source_tools.h"

static fkm_source_options libsvm(fkm_task task, int64_t n_cols)
{
    fkm_source_options options = options_of(FKM_FORMAT_LIBSVM, task, NULL);

    options.n_cols = n_cols;
    return options;
}

static double entry(const fkm_batch *batch, int64_t row, int32_t column)
{
    for (int64_t i = batch->indptr[row]; i < batch->indptr[row + 1]; i++)
        if (batch->indices[i] == column)
            return (double)((const float *)batch->values)[i];
    return 0;
}

TEST(rows_with_labels_comments_and_qid)
{
    const fkm_source_options options = libsvm(FKM_TASK_CLASSIFY, 0);
    fkm_source *source = source_of("# a comment\n"
                                   "+1 1:0.5 3:2 # said\n"
                                   "\n"
                                   "-1 qid:7 5:-1e2\t2:3\r\n"
                                   "+1\n"
                                   "1 1:1",
                                   &options);
    fkm_batch batch;

    CHECK_SAYS("index base 1 (no index 0 was found); 5 columns (largest index of a first pass)",
               fkm_source_note(source));
    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(4, batch.n_rows);
    CHECK_INT(5, batch.n_cols);
    CHECK(batch.x == NULL);
    CHECK_INT(2, batch.indptr[1]);
    CHECK_INT(4, batch.indptr[2]);
    CHECK_INT(4, batch.indptr[3]);
    CHECK_INT(5, batch.indptr[4]);
    CHECK_INT(1, batch.indices[2]); /* sorted */
    CHECK_INT(4, batch.indices[3]);
    CHECK_NEAR(0.5, entry(&batch, 0, 0), 0);
    CHECK_NEAR(2, entry(&batch, 0, 2), 0);
    CHECK_NEAR(3, entry(&batch, 1, 1), 0);
    CHECK_NEAR(-100, entry(&batch, 1, 4), 0);
    CHECK_INT(0, batch.labels[0]);
    CHECK_INT(1, batch.labels[1]);
    CHECK_INT(0, batch.labels[2]);
    CHECK_INT(2, batch.labels[3]);
    CHECK_TEXT("+1", fkm_source_class_name(source, 0));
    CHECK_TEXT("-1", fkm_source_class_name(source, 1));
    CHECK_TEXT("1", fkm_source_class_name(source, 2));
    fkm_source_close(source);
    CHECK_INT(0, fkmi_memory_held());
}

TEST(the_index_base_is_found_said_and_kept)
{
    fkm_source_options options = libsvm(FKM_TASK_CLASSIFY, 0);
    fkm_source *source = source_of("1 1:1\n1 0:2\n", &options);
    fkm_batch batch;

    CHECK_SAYS("index base 0 (an index 0 was found); 2 columns", fkm_source_note(source));
    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_NEAR(2, entry(&batch, 1, 0), 0);
    fkm_source_close(source);
    options.n_cols = 4;
    source = source_of("1 1:1\n1 0:2\n", &options);
    CHECK_SAYS("index base 0 (an index 0 was found); 4 columns (as told)", fkm_source_note(source));
    fkm_source_close(source);
    options.index_base = 0;
    source = source_of("1 1:1\n", &options);
    CHECK_SAYS("index base 0 (as told)", fkm_source_note(source));
    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(1, batch.indices[0]);
    fkm_source_close(source);
}

TEST(an_index_0_behind_the_look_is_an_error)
{
    static char text[200000];
    const fkm_source_options options = libsvm(FKM_TASK_CLASSIFY, 9);
    size_t at = 0;

    while (at < 100000)
        at += (size_t)sprintf(text + at, "1 1:1 2:2\n");
    sprintf(text + at, "1 0:1\n");
    check_refused(FKM_EDATA, "line 10001: index 0, but indices begin at 1", text, &options);
}

TEST(tags_with_an_xmc_header)
{
    const fkm_source_options options = libsvm(FKM_TASK_MULTILABEL, 0);
    fkm_source *source = source_of("3 10 20\n17,3 0:1 9:2\n 4:1\n0 1:1\n", &options);
    fkm_batch batch;

    CHECK_SAYS("index base 0 (XMC header); 10 columns (XMC header)", fkm_source_note(source));
    CHECK_OK(fkm_source_next(source, 2, &batch));
    CHECK_INT(2, batch.n_rows);
    CHECK_INT(10, batch.n_cols);
    CHECK_INT(20, batch.n_tags);
    CHECK_INT(2, batch.tag_indptr[1]);
    CHECK_INT(2, batch.tag_indptr[2]);
    CHECK_INT(3, batch.tags[0]);
    CHECK_INT(17, batch.tags[1]);
    CHECK_INT(0, fkm_source_class_count(source));
    CHECK_OK(fkm_source_next(source, 2, &batch));
    CHECK_INT(1, batch.n_rows);
    CHECK_OK(fkm_source_next(source, 2, &batch));
    CHECK_INT(0, batch.n_rows);
    fkm_source_close(source);
    check_refused(FKM_EDATA, "the header promises 3 rows, there are 2", "3 10 20\n17,3 0:1 9:2\n 4:1\n",
                  &options);
    check_refused(FKM_EDATA, "tag 20, but the header promises 20", "1 10 20\n20 0:1\n", &options);
    check_refused(FKM_EDATA, "index 10, the largest of 10 columns is 9", "1 10 20\n2 10:1\n", &options);
}

TEST(tags_without_a_header_are_counted_as_they_come)
{
    const fkm_source_options options = libsvm(FKM_TASK_MULTILABEL, 3);
    const char *text = "0 1:1\n \n5,2 1:1\n1:4\n1 1:1\n";
    char position[FKMI_POSITION_BYTES];
    fkm_source *source = source_of(text, &options), *second;
    fkm_batch batch;

    CHECK_OK(fkm_source_next(source, 2, &batch));
    CHECK_INT(1, batch.n_tags);
    CHECK_INT(1, batch.tag_indptr[2]); /* a blank line is a row without anything */
    CHECK_INT(1, batch.indptr[2]);
    CHECK_OK(fkm_source_next(source, 1, &batch));
    CHECK_INT(6, batch.n_tags);
    CHECK_OK(fkm_source_next(source, 1, &batch));
    CHECK_INT(0, batch.tag_indptr[1]);
    CHECK_OK(fkm_source_tell(source, position, sizeof position));
    second = source_of(text, &options);
    CHECK_OK(fkm_source_seek(second, position));
    CHECK_OK(fkm_source_next(second, 9, &batch));
    CHECK_INT(1, batch.n_rows);
    CHECK_INT(6, batch.n_tags); /* as in a source that never stopped */
    fkm_source_close(source);
    fkm_source_close(second);
}

TEST(regression_targets)
{
    const fkm_source_options options = libsvm(FKM_TASK_REGRESS, 0);
    fkm_source *source = source_of("\n#\n1.5,-2 1:1\n3,4e1 1:2\n", &options);
    fkm_batch batch;

    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(2, batch.n_rows);
    CHECK_INT(2, batch.n_targets);
    CHECK_NEAR(-2, batch.targets[1], 0);
    CHECK_NEAR(40, batch.targets[3], 0);
    CHECK_OK(fkm_source_seek(source, NULL));
    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(2, batch.n_rows);
    fkm_source_close(source);
    check_refused(FKM_EDATA, "line 2: 1 targets, the first row has 2", "1,2 1:1\n1 1:1\n", &options);
    check_refused(FKM_EDATA, "line 2: 3 targets, the first row has 2", "1,2 1:1\n1,2,3 1:1\n", &options);
    check_refused(FKM_EDATA, "\"\" is not a finite number", "1, 1:1\n", &options);
}

TEST(bad_rows_are_refused)
{
    fkm_source_options options = libsvm(FKM_TASK_CLASSIFY, 4);

    check_refused(FKM_EDATA, "memory, line 2: there is no label", "1 1:1\n1:2\n", &options);
    check_refused(FKM_EDATA, "line 1: index 2 is there twice", "1 2:1 1:1 2:3\n", &options);
    check_refused(FKM_EDATA, "index 5, the largest of 4 columns is 4", "1 5:1\n", &options);
    check_refused(FKM_EDATA, "\"2;1\" is not index:value", "1 2;1\n", &options);
    check_refused(FKM_EDATA, "\"-2:1\" is not index:value", "1 -2:1\n", &options);
    check_refused(FKM_EDATA, "is not index:value", "1 99999999999999999999999:1\n", &options);
    check_refused(FKM_EDATA, "\"2:\" holds no finite number", "1 2:\n", &options);
    check_refused(FKM_EDATA, "\"2:nan\" holds no finite number", "1 2:nan\n", &options);
    check_refused(FKM_EDATA, "\"2:1e39\" is out of the range of float32", "1 2:1e39\n", &options);
    check_refused(FKM_EDATA, "\"1,2\" is more than one label", "1,2 2:1\n", &options);
    check_refused(FKM_EDATA, "memory is empty", "", &options);
    options.task = FKM_TASK_MULTILABEL;
    check_refused(FKM_EDATA, "tag 3 is there twice", "3,1,3 2:1\n", &options);
    check_refused(FKM_EDATA, "\"x\" is not a tag", "x 2:1\n", &options);
    check_refused(FKM_EDATA, "\"-1\" is not a tag", "-1 2:1\n", &options);
    check_refused(FKM_EDATA, "\"\" is not a tag", "1,,2 2:1\n", &options);
    options.n_cols = 0;
    check_refused(FKM_EDATA, "no line has a feature (index:value)", "1\n2\n", &options);
    check_refused(FKM_EDATA, "no line has a feature (index:value)", "1 x:1\n", &options);
    check_refused(FKM_EDATA, "valid: 1 to 2147483647", "1 3000000000:1\n", &options);
    options.task = FKM_TASK_CLUSTER; /* labels are left out, if there are any */
    {
        fkm_source *source = source_of("whatever,1 2:1\n1:3\n", &options);
        fkm_batch batch;

        CHECK_OK(fkm_source_next(source, 9, &batch));
        CHECK_INT(2, batch.n_rows);
        CHECK(batch.labels == NULL && batch.tags == NULL);
        fkm_source_close(source);
    }
}

/* Random rows in random order of indices, and what they should read as. */
#define N_ROWS 500
#define N_COLS 60
static char text[400000];
static double expected[N_ROWS][N_COLS];
static int label[N_ROWS];

static void make_rows(void)
{
    uint32_t state = 3;
    size_t at = 0;

    memset(expected, 0, sizeof expected);
    for (int i = 0; i < N_ROWS; i++) {
        state = state * 1664525u + 1013904223u;
        label[i] = (int)(state >> 16) % 9;
        at += (size_t)sprintf(text + at, "c%d", label[i]);
        for (int n = (int)(state >> 24) % 30, j = (int)(state >> 8) % N_COLS; n > 0;
             n--, j = (j + 37) % N_COLS) {
            state = state * 1664525u + 1013904223u;
            expected[i][j] = (double)((int)(state >> 12) % 1000 - 500) / 8;
            at += (size_t)sprintf(text + at, " %d:%g", j + 1, expected[i][j]);
        }
        at += (size_t)sprintf(text + at, "\n");
    }
}

static void check_rows(const fkm_source *source, const fkm_batch *batch, int64_t first)
{
    char name[16];

    for (int64_t r = 0; r < batch->n_rows; r++) {
        snprintf(name, sizeof name, "c%d", label[first + r]);
        CHECK_TEXT(name, fkm_source_class_name(source, batch->labels[r]));
        for (int64_t i = batch->indptr[r] + 1; i < batch->indptr[r + 1]; i++)
            CHECK(batch->indices[i - 1] < batch->indices[i]);
        for (int32_t j = 0; j < N_COLS; j++)
            CHECK_NEAR(expected[first + r][j], entry(batch, r, j), 0);
    }
}

TEST(batches_of_any_size_and_resumed_sources_see_the_same_rows)
{
    static const int64_t sizes[] = {1, 3, 64, 257, 500, INT64_MAX};
    fkm_source_options options = libsvm(FKM_TASK_CLASSIFY, N_COLS);
    char position[FKMI_POSITION_BYTES];

    make_rows();
    options.index_base = 1;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        fkm_source *source = source_of(text, &options), *second = source_of(text, &options);
        fkm_batch batch;
        int64_t row = 0;

        for (;;) {
            CHECK_OK(fkm_source_tell(source, position, sizeof position));
            CHECK_OK(fkm_source_next(source, sizes[s], &batch));
            check_rows(source, &batch, row);
            if (batch.n_rows == 0)
                break;
            row += batch.n_rows;
            CHECK_OK(fkm_source_seek(second, position));
            CHECK_OK(fkm_source_next(second, sizes[s], &batch));
            check_rows(second, &batch, row - batch.n_rows);
        }
        CHECK_INT(N_ROWS, row);
        fkm_source_close(source);
        fkm_source_close(second);
    }
}

TEST(a_steady_stream_allocates_nothing)
{
    fkm_source_options options = libsvm(FKM_TASK_CLASSIFY, N_COLS);
    fkm_source *source;
    fkm_batch batch;

    make_rows();
    source = source_of(text, &options);
    do
        CHECK_OK(fkm_source_next(source, 100, &batch));
    while (batch.n_rows > 0);
    CHECK_OK(fkm_source_seek(source, NULL));
    fkmi_memory_fail(0, 0);
    do
        CHECK_OK(fkm_source_next(source, 100, &batch));
    while (batch.n_rows > 0);
    CHECK_INT(0, fkmi_memory_fail(0, 0));
    fkm_source_close(source);
}
