/* test_csv.c — CSV and TSV: quoting, headers, roles of columns, missing values, positions, and what is
 * refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "unit/io/source_tools.h"

static fkm_source_options csv(fkm_task task, const char *target)
{
    return options_of(FKM_FORMAT_CSV, task, target);
}

TEST(a_table_with_header_labels_and_weights)
{
    const fkm_source_options options = {.struct_size = sizeof options,
                                        .format = FKM_FORMAT_CSV,
                                        .task = FKM_TASK_CLASSIFY,
                                        .target = "kind",
                                        .weight = "w",
                                        .header = -1,
                                        .missing = FKM_MISSING_MASK,
                                        .dtype = FKM_DTYPE_F64};
    fkm_source *source = source_of("\xef\xbb\xbf"
                                   "a,kind,\"b \"\"x\"\"\",w\r\n"
                                   "1.5,cat,-2e3,1\r\n"
                                   "\r\n"
                                   " 0.1 ,\"dog, big\",+7,0.25\r\n"
                                   ".5,cat,1e-5,0",
                                   &options);
    fkm_batch batch;

    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(3, batch.n_rows);
    CHECK_INT(2, batch.n_cols);
    CHECK_INT(FKM_DTYPE_F64, batch.dtype);
    CHECK_NEAR(1.5, value_at(&batch, 0, 0), 0);
    CHECK_NEAR(-2000, value_at(&batch, 0, 1), 0);
    CHECK_NEAR(0.1, value_at(&batch, 1, 0), 0);
    CHECK_NEAR(7, value_at(&batch, 1, 1), 0);
    CHECK_NEAR(1e-5, value_at(&batch, 2, 1), 0);
    CHECK_INT(0, batch.labels[0]);
    CHECK_INT(1, batch.labels[1]);
    CHECK_INT(0, batch.labels[2]);
    CHECK_NEAR(0.25, batch.weight[1], 0);
    CHECK(batch.mask == NULL && batch.targets == NULL && batch.tags == NULL);
    CHECK_INT(2, fkm_source_class_count(source));
    CHECK_TEXT("dog, big", fkm_source_class_name(source, 1));
    CHECK_TEXT("b \"x\"", fkm_source_column_name(source, 1));
    CHECK(fkm_source_column_name(source, 2) == NULL && fkm_source_class_name(source, 2) == NULL);
    CHECK_SAYS("header: yes", fkm_source_note(source));
    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(0, batch.n_rows);
    fkm_source_close(source);
    CHECK_INT(0, fkmi_memory_held());
}

TEST(headers_are_looked_for)
{
    static const struct {
        const char *text, *target, *note;
        int64_t n_rows;
    } cases[] = {
        {"a,b\n1,2\n", NULL, "header: yes", 1},     {"1,2\n3,4\n", NULL, "header: no", 2},
        {"a,b,k\n1,2,x\n", "-1", "header: yes", 1}, {"1,2,x\n3,4,y\n", "-1", "header: no", 2},
        {",b\n1,2\n", NULL, "header: yes", 1},      {"?,NA\n1,2\n", NULL, "header: no", 2},
        {"0,1,k\n1,2,x\n", "k", "header: yes", 1},  {",,x\n1,2,y\n", "2", "header: no", 2},
        {"nan,2\n3,4\n", NULL, "header: no", 2},    {"a\n1\n", NULL, "header: yes", 1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const fkm_source_options options = csv(FKM_TASK_CLASSIFY, cases[i].target);
        fkm_source *source = source_of(cases[i].text, &options);
        fkm_batch batch;

        CHECK_SAYS(cases[i].note, fkm_source_note(source));
        CHECK_OK(fkm_source_next(source, 10, &batch));
        CHECK_INT(cases[i].n_rows, batch.n_rows);
        fkm_source_close(source);
    }
}

TEST(missing_values_become_mask_zero_or_an_error)
{
    fkm_source_options options = csv(FKM_TASK_CLUSTER, NULL);
    const char *text = "a,b,c\n1,2,3\n,NA,nan\n?,null,7\n8,NaN,-nan\n1,2,3\n";
    static const float expected[] = {1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1};
    fkm_source *source = source_of(text, &options);
    fkm_batch batch;

    CHECK_OK(fkm_source_next(source, 100, &batch));
    CHECK_INT(5, batch.n_rows);
    for (int i = 0; i < 15; i++) {
        CHECK_NEAR(expected[i], batch.mask[i], 0);
        if (expected[i] == 0)
            CHECK_NEAR(0, value_at(&batch, i / 3, i % 3), 0);
    }
    CHECK_NEAR(7, value_at(&batch, 2, 2), 0);
    CHECK_OK(fkm_source_seek(source, NULL));
    CHECK_OK(fkm_source_next(source, 1, &batch)); /* nothing is missing in this batch */
    CHECK(batch.mask == NULL);
    fkm_source_close(source);
    options.missing = FKM_MISSING_ERROR;
    check_refused(FKM_EDATA, "memory, line 3: column 0 (a): the value is missing", text, &options);
}

TEST(tag_lists_and_tag_columns)
{
    fkm_source_options options = csv(FKM_TASK_MULTILABEL, "tags");
    fkm_source *source = source_of("x,tags\n1,rock;jazz\n2,\n3,\"jazz,pop\"\n4,pop rock\n", &options);
    fkm_batch batch;

    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(4, batch.n_rows);
    CHECK_INT(3, batch.n_tags);
    CHECK_INT(0, batch.tag_indptr[0]);
    CHECK_INT(2, batch.tag_indptr[1]);
    CHECK_INT(2, batch.tag_indptr[2]);
    CHECK_INT(4, batch.tag_indptr[3]);
    CHECK_INT(6, batch.tag_indptr[4]);
    CHECK_INT(1, batch.tags[2]); /* jazz */
    CHECK_INT(2, batch.tags[3]); /* pop */
    CHECK_INT(0, batch.tags[4]); /* ascending: rock, pop */
    CHECK_TEXT("jazz", fkm_source_class_name(source, 1));
    fkm_source_close(source);

    options.target = "t1,-1";
    source = source_of("t1,x,t2\n1,5,0\n0,6,0\n1.0,7,1\n", &options);
    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(3, batch.n_rows);
    CHECK_INT(2, batch.n_tags);
    CHECK_INT(1, batch.tag_indptr[2]);
    CHECK_INT(3, batch.tag_indptr[3]);
    CHECK_INT(1, batch.tags[2]);
    CHECK_TEXT("t2", fkm_source_class_name(source, 1));
    fkm_source_close(source);
    check_refused(FKM_EDATA, "\"2\" is not 0 or 1", "t1,x,t2\n1,5,2\n", &options);
    options.target = "1";
    check_refused(FKM_EDATA, "the tag \"a\" is there twice", "1,a;b;a\n", &options);
}

TEST(regression_targets_by_number_and_from_the_end)
{
    const fkm_source_options options = options_of(FKM_FORMAT_TSV, FKM_TASK_REGRESS, "-1, 0");
    fkm_source *source = source_of("1\t2\t3\n4\t5\t6.5\n", &options);
    fkm_batch batch;

    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(2, batch.n_targets);
    CHECK_INT(1, batch.n_cols);
    CHECK_NEAR(3, batch.targets[0], 0);
    CHECK_NEAR(1, batch.targets[1], 0);
    CHECK_NEAR(6.5, batch.targets[2], 0);
    CHECK_NEAR(5, value_at(&batch, 1, 0), 0);
    fkm_source_close(source);
}

TEST(bad_tables_are_refused_with_line_column_and_numbers)
{
    fkm_source_options options = csv(FKM_TASK_CLASSIFY, "y");

    check_refused(FKM_EDATA, "memory, line 3: 2 fields, the first line has 3", "a,b,y\n1,2,x\n1,2\n",
                  &options);
    check_refused(FKM_EDATA, "line 2: 4 fields, the first line has 3", "a,b,y\n1,2,x,\n", &options);
    check_refused(FKM_EDATA, "line 2: column 1 (b): \"two\" is not a finite number", "a,b,y\n1,two,x\n",
                  &options);
    check_refused(FKM_EDATA, "\"inf\" is not a finite number", "a,b,y\n1,inf,x\n", &options);
    check_refused(FKM_EDATA, "\"1e300\" is not within the range of float32", "a,b,y\n1,1e300,x\n", &options);
    check_refused(FKM_EDATA, "is not a finite number", "a,b,y\n1,1e999,x\n", &options);
    check_refused(FKM_EDATA, "the label is missing", "a,b,y\n1,2,\n", &options);
    check_refused(FKM_EDATA, "a quote stands inside an unquoted field", "a,b,y\n1,2,x\"y\n\"\n", &options);
    check_refused(FKM_EDATA, "text follows a closing quote", "a,b,y\n1,2,\"x\"y\n", &options);
    check_refused(FKM_EDATA, "a quote is not closed", "a,b,y\n1,2,\"x\n", &options);
    check_refused(FKM_EDATA, "control character", "a,b,y\n1,2,x\ry\n", &options);
    check_refused(FKM_EDATA, "is not UTF-8", "a,b,y\n1,2,\xff\n", &options);
    check_refused(FKM_EINVAL, "no column is named \"y\"", "a,b,c\n1,2,3\n", &options);
    check_refused(FKM_EINVAL, "is there twice, as column 1 and column 2", "a,y,y\n1,2,3\n", &options);
    check_refused(FKM_EDATA, "memory is empty", "", &options);
    options.target = "7";
    check_refused(FKM_EINVAL, "there is no target column 7, there are 3 columns", "1,2,3\n", &options);
    options.target = "0,1";
    check_refused(FKM_EINVAL, "names 2 columns, a classifier has one", "1,2,3\n", &options);
    options.target = "0";
    check_refused(FKM_EINVAL, "no feature column is left", "1\n", &options);
    options.weight = "0";
    check_refused(FKM_EINVAL, "asked for twice", "1,2\n", &options);
    options.weight = "1";
    check_refused(FKM_EDATA, "\"-1\" is not a weight", "a,-1,3\n", &options);
    check_refused(FKM_EDATA, "is not a weight", "a,nan,3\n", &options);
    options.weight = NULL;
    options.header = 0;
    check_refused(FKM_EDATA, "is this line a header?", "y,b\n1,2\n", &options);
    options.task = FKM_TASK_REGRESS;
    check_refused(FKM_EDATA, "column 0: \"\" is not a finite number", ",1\n", &options);
}

TEST(a_zero_byte_is_refused)
{
    const fkm_source_options options = csv(FKM_TASK_CLUSTER, NULL);
    fkm_source *source;
    fkm_batch batch;

    CHECK_OK(fkmi_source_open_bytes("1,2\n3,\0004\n", 10, &options, &source));
    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(1, batch.n_rows); /* the row before it comes first */
    CHECK_STATUS(FKM_EDATA, fkm_source_next(source, 10, &batch));
    CHECK_SAYS("line 2: holds a zero byte", fkm_last_error());
    CHECK_STATUS(FKM_EDATA, fkm_source_next(source, 10, &batch)); /* and it stays there */
    fkm_source_close(source);
}

/* A table of random numbers, missing fields and quoted labels, and what it should read as. */
#define N_ROWS 700
#define N_COLS 5
static char table_text[200000];
static double table_value[N_ROWS][N_COLS];
static bool table_missing[N_ROWS][N_COLS];
static int table_class[N_ROWS];

static void make_table(void)
{
    size_t at = (size_t)sprintf(table_text, "label,c0,c1,c2,c3,c4\n");
    uint32_t state = 7;

    for (int i = 0; i < N_ROWS; i++) {
        state = state * 1664525u + 1013904223u;
        table_class[i] = (int)(state >> 20) % 40;
        at += (size_t)sprintf(table_text + at, i % 3 ? "name%d" : "\"name%d\"", table_class[i]);
        for (int j = 0; j < N_COLS; j++) {
            state = state * 1664525u + 1013904223u;
            table_missing[i][j] = state % 11 == 3;
            table_value[i][j] = table_missing[i][j] ? 0 : ((double)state - 2e9) / 1024;
            if (table_missing[i][j])
                at += (size_t)sprintf(table_text + at, ",");
            else
                at += (size_t)sprintf(table_text + at, ",%.17g", table_value[i][j]);
        }
        at += (size_t)sprintf(table_text + at, i % 2 ? "\n" : "\r\n");
    }
}

static void check_table_row(const fkm_source *source, const fkm_batch *batch, int64_t r, int64_t row)
{
    char name[16];

    snprintf(name, sizeof name, "name%d", table_class[row]);
    CHECK_TEXT(name, fkm_source_class_name(source, batch->labels[r]));
    for (int j = 0; j < N_COLS; j++) {
        CHECK_NEAR(table_value[row][j], value_at(batch, r, j), 0);
        CHECK(!table_missing[row][j] == !(batch->mask && batch->mask[r * N_COLS + j] == 0));
    }
}

TEST(batches_of_any_size_see_the_same_rows_and_labels)
{
    static const int64_t sizes[] = {1, 2, 3, 7, 64, 255, 257, 699, 700, INT64_MAX};
    fkm_source_options options = csv(FKM_TASK_CLASSIFY, "label");

    make_table();
    options.dtype = FKM_DTYPE_F64;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        fkm_source *source = source_of(table_text, &options);
        int64_t row = 0;
        fkm_batch batch;

        for (;;) {
            CHECK_OK(fkm_source_next(source, sizes[s], &batch));
            if (batch.n_rows == 0)
                break;
            for (int64_t r = 0; r < batch.n_rows; r++)
                check_table_row(source, &batch, r, row++);
        }
        CHECK_INT(N_ROWS, row);
        fkm_source_close(source);
    }
}

TEST(a_position_with_the_known_names_continues_exactly_there)
{
    fkm_source_options options = csv(FKM_TASK_CLASSIFY, "label");
    const char *names[64];
    char position[FKMI_POSITION_BYTES];

    make_table();
    options.dtype = FKM_DTYPE_F64;
    for (int64_t stop = 0; stop <= N_ROWS; stop += 50) {
        fkm_source *source = source_of(table_text, &options), *second;
        fkm_source_options again = options;
        fkm_batch batch, expected;

        if (stop > 0) {
            CHECK_OK(fkm_source_next(source, stop, &batch));
            CHECK_INT(stop, batch.n_rows);
        }
        CHECK_OK(fkm_source_tell(source, position, sizeof position));
        again.n_class_names = fkm_source_class_count(source);
        for (int64_t i = 0; i < again.n_class_names; i++)
            names[i] = fkm_source_class_name(source, i);
        again.class_names = names;
        second = source_of(table_text, &again);
        CHECK_OK(fkm_source_seek(second, position));
        CHECK_OK(fkm_source_next(source, 60, &expected));
        CHECK_OK(fkm_source_next(second, 60, &batch));
        CHECK_INT(expected.n_rows, batch.n_rows);
        for (int64_t r = 0; r < batch.n_rows; r++) {
            CHECK_INT(expected.labels[r], batch.labels[r]);
            check_table_row(second, &batch, r, stop + r);
        }
        fkm_source_close(source);
        fkm_source_close(second);
    }
}

TEST(foreign_positions_are_refused_and_change_nothing)
{
    static const char *const bad[] = {"",          "npy 3",    "csv",      "csv 3",          "csv 21 2 3",
                                      "csv -1 2",  "csv 0 1",  "csv 22 2", "csv 99999999 2", "csv 21 0",
                                      "csvx 21 2", "csv 21  2"};
    fkm_source_options options = csv(FKM_TASK_CLASSIFY, "label");
    char position[FKMI_POSITION_BYTES];
    fkm_source *source;
    fkm_batch batch;

    make_table();
    options.dtype = FKM_DTYPE_F64;
    source = source_of(table_text, &options);
    CHECK_OK(fkm_source_tell(source, position, sizeof position));
    CHECK_TEXT("csv 21 2", position);
    CHECK_OK(fkm_source_next(source, 10, &batch));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(fkm_source_seek(source, bad[i]) != FKM_OK);
    CHECK_OK(fkm_source_next(source, 10, &batch));
    check_table_row(source, &batch, 0, 10);
    CHECK_OK(fkm_source_seek(source, NULL));
    CHECK_OK(fkm_source_next(source, 10, &batch));
    check_table_row(source, &batch, 0, 0);
    CHECK(fkm_source_tell(source, position, 5) != FKM_OK);
    fkm_source_close(source);
}

TEST(options_and_names_are_checked)
{
    fkm_source_options options = csv(FKM_TASK_CLASSIFY, "0");
    const char *const twice[] = {"a", "b", "a"};

    options.class_names = twice;
    options.n_class_names = 3;
    check_refused(FKM_EINVAL, "holds \"a\" twice, at 0 and 2", "a,1\n", &options);
    options = csv(FKM_TASK_CLASSIFY, "0");
    options.dtype = FKM_DTYPE_F16;
    check_refused(FKM_EINVAL, "dtype 1", "a,1\n", &options);
    options = csv(FKM_TASK_CLASSIFY, "0");
    options.header = 2;
    check_refused(FKM_EINVAL, "header is 2", "a,1\n", &options);
    options = csv(FKM_TASK_CLASSIFY, "0");
    options.struct_size = 0;
    check_refused(FKM_EINVAL, "FKM_SOURCE_OPTIONS_INIT", "a,1\n", &options);
    options.struct_size =
        sizeof options + 8; /* of a newer library, which says more than this one understands */
    check_refused(FKM_EINVAL, "struct_size", "a,1\n", &options);
    options = options_of(FKM_FORMAT_AUTO, FKM_TASK_CLASSIFY, NULL);
    check_refused(FKM_EINVAL, "cannot tell the format", "a,1\n", &options);
}

TEST(files_are_read_by_their_names)
{
    const char *folder = make_folder();
    fkm_source *source;
    fkm_batch batch;

    write_file(path_in(folder, "t.tsv"), "1\t2\n3\t4\n", 8);
    CHECK_OK(fkm_source_open(path_in(folder, "t.tsv"), NULL, &source));
    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(2, batch.n_rows);
    CHECK_INT(2, batch.n_cols);
    fkm_source_close(source);
    write_file(path_in(folder, "t.dat"), "1\t2\n", 4);
    CHECK_STATUS(FKM_EINVAL, fkm_source_open(path_in(folder, "t.dat"), NULL, &source));
    CHECK(source == NULL);
    remove_folder(folder);
}

/* Reads all rows while the n-th allocation fails; returns how many allocations were asked for. */
static int64_t read_with_failure(const fkm_source_options *options, int64_t n)
{
    fkm_source *source = NULL;
    fkm_batch batch;
    fkm_status status;
    int64_t asked, rows = 0;

    fkmi_memory_fail(n, 0);
    status = fkmi_source_open_bytes(table_text, strlen(table_text), options, &source);
    while (source) {
        status = fkm_source_next(source, 300, &batch);
        if (status != FKM_OK || batch.n_rows == 0)
            break;
        rows += batch.n_rows;
    }
    asked = fkmi_memory_fail(0, 0);
    CHECK(status == FKM_ENOMEM || (status == FKM_OK && rows == N_ROWS));
    fkm_source_close(source);
    CHECK_INT(0, fkmi_memory_held());
    return asked;
}

TEST(every_allocation_may_fail)
{
    fkm_source_options options = csv(FKM_TASK_CLASSIFY, "label");
    int64_t n = 1;

    make_table();
    while (read_with_failure(&options, n) >= n)
        n++;
    CHECK(n > 20);
}
