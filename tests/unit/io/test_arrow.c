/* test_arrow.c — Arrow C streams: every type, nulls, offsets, any cut into batches, what is refused, and that
 * everything is released exactly once.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/interrupt.h"
#include "base/memory.h"
#include "unit/io/arrow_producer.h"

static fkm_source_options options_for(fkm_task task, const char *target)
{
    return options_of(FKM_FORMAT_AUTO, task, target);
}

static fkm_source *open_table(struct producer *producer, const fkm_source_options *options)
{
    struct ArrowArrayStream stream = stream_of(producer);
    fkm_source *source = NULL;

    CHECK_OK(fkm_source_from_arrow(&stream, options, &source));
    CHECK(stream.release == NULL); /* moved */
    return source;
}

static void check_all_released(void)
{
    CHECK_INT(0, live_streams);
    CHECK_INT(0, live_schemas);
    CHECK_INT(0, live_arrays);
    CHECK_INT(0, fkmi_memory_held());
}

static void close_table(fkm_source *source, struct table *table)
{
    fkm_source_close(source);
    table_free(table);
    check_all_released();
}

/* Opening, or else reading, fails so. */
static void check_table_refused(fkm_status expected, const char *words, const struct table *table,
                                const fkm_source_options *options)
{
    struct producer producer = {.table = table, .chunks = {2}};
    struct ArrowArrayStream stream = stream_of(&producer);
    fkm_source *source = NULL;
    fkm_batch batch = {.n_rows = 1};
    fkm_status status = fkm_source_from_arrow(&stream, options, &source);

    CHECK(stream.release == NULL);
    while (status == FKM_OK && batch.n_rows > 0)
        status = fkm_source_next(source, 3, &batch);
    fkm_source_close(source);
    CHECK_STATUS(expected, status);
    CHECK_SAYS(words, fkm_last_error());
    CHECK_INT(0, live_streams);
    CHECK_INT(0, live_schemas);
    CHECK_INT(0, live_arrays);
}

/* ---- types */

TEST(numbers_of_every_type_are_features)
{
    for (int wide = 0; wide < 2; wide++)
        for (int root = 0; root < 2; root++) {
            static const double expected[3][13] = {
                {-128, 0, -32768, 0, -2147483647, 0, -9e15, 0, 0.5, 0.25, 1e-3, 1, 0},
                {127, 255, 32767, 65535, 7, 4294967295.0, 5, 1.8e19, -65504, -3, 1e30, 0, 1},
                {3, 4, 5, 6, 7, 8, 9, 10, 6.103515625e-05, 11, 12, 1, 13},
            };
            struct table table = {0};
            struct producer producer = {.table = &table, .chunks = {1, 2}, .offset_in_root = root};
            fkm_source_options options = options_for(FKM_TASK_CLUSTER, NULL);
            fkm_source *source;
            fkm_batch batch;

            table_add(&table, NUMBERS("c", "i8", int8_t, -128, 127, 3));
            table_add(&table, NUMBERS("C", "u8", uint8_t, 0, 255, 4));
            table_add(&table, NUMBERS("s", "i16", int16_t, -32768, 32767, 5));
            table_add(&table, NUMBERS("S", "u16", uint16_t, 0, 65535, 6));
            table_add(&table, NUMBERS("i", "i32", int32_t, -2147483647, 7, 7));
            table_add(&table, NUMBERS("I", "u32", uint32_t, 0, 4294967295u, 8));
            table_add(&table, NUMBERS("l", "i64", int64_t, -9000000000000000, 5, 9));
            table_add(&table, NUMBERS("L", "u64", uint64_t, 0, 18000000000000000000u, 10));
            table_add(&table, NUMBERS("e", "f16", uint16_t, 0x3800, 0xfbff, 0x0400));
            table_add(&table, NUMBERS("f", "f32", float, 0.25f, -3, 11));
            table_add(&table, NUMBERS("g", "f64", double, 1e-3, 1e30, 12));
            table_add(&table, bools("yes", "101"));
            table_add(&table, NUMBERS("C", "last", uint8_t, 0, 1, 13));
            options.dtype = wide ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
            source = open_table(&producer, &options);
            CHECK_OK(fkm_source_next(source, 10, &batch));
            CHECK_INT(3, batch.n_rows);
            CHECK_INT(13, batch.n_cols);
            CHECK_INT(options.dtype, batch.dtype);
            CHECK(!batch.mask && !batch.labels && !batch.tags && !batch.targets && !batch.weight);
            for (int i = 0; i < 3; i++)
                for (int j = 0; j < 13; j++)
                    CHECK_NEAR(wide ? expected[i][j] : (double)(float)expected[i][j], value_at(&batch, i, j),
                               0);
            CHECK_TEXT("i8", fkm_source_column_name(source, 0));
            CHECK_TEXT("last", fkm_source_column_name(source, 12));
            CHECK(fkm_source_column_name(source, 13) == NULL);
            CHECK_SAYS("13 features of 13 columns", fkm_source_note(source));
            CHECK_OK(fkm_source_next(source, 10, &batch));
            CHECK_INT(0, batch.n_rows);
            CHECK_OK(fkm_source_next(source, 10, &batch)); /* the stream is not asked again */
            CHECK_INT(0, batch.n_rows);
            close_table(source, &table);
        }
}

TEST(a_fixed_size_list_is_several_features)
{
    struct table table = {0};
    struct producer producer = {.table = &table, .chunks = {2}};
    const fkm_source_options options = options_for(FKM_TASK_CLUSTER, NULL);
    static const double expected[3][6] = {{1, 10, 11, 12, 1, 0}, {2, 20, 0, 22, 0, 0}, {3, 0, 0, 0, 1, 1}};
    static const float mask[3][6] = {{1, 1, 1, 1, 1, 1}, {1, 1, 0, 1, 1, 1}, {1, 0, 0, 0, 1, 1}};
    struct column *items = NUMBERS("f", "item", float, 10, 11, 12, 20, 21, 22, 30, 31, 32);
    fkm_source *source;
    fkm_batch batch;

    table_add(&table, NUMBERS("i", "a", int32_t, 1, 2, 3));
    table_add(&table,
              with_nulls(fixed_lists("+w:3", "emb", 3, with_nulls(items, "111101111", 1)), "110", -1));
    table_add(&table, fixed_lists("+w:2", "b", 3, bools("item", "100011")));
    source = open_table(&producer, &options);
    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(3, batch.n_rows);
    CHECK_INT(6, batch.n_cols);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 6; j++) {
            CHECK_NEAR(expected[i][j], value_at(&batch, i, j), 0);
            CHECK_NEAR(mask[i][j], batch.mask[6 * i + j], 0);
        }
    CHECK_TEXT("a", fkm_source_column_name(source, 0));
    CHECK_TEXT("emb[0]", fkm_source_column_name(source, 1));
    CHECK_TEXT("emb[2]", fkm_source_column_name(source, 3));
    CHECK_TEXT("b[1]", fkm_source_column_name(source, 5));
    close_table(source, &table);
}

TEST(long_lists_go_over_in_runs)
{
    enum { WIDTH = 700, ROWS = 5 };
    static double values[ROWS * WIDTH];
    struct table table = {0};
    struct producer producer = {.table = &table, .chunks = {2, 3}};
    const fkm_source_options options = options_for(FKM_TASK_CLUSTER, NULL);
    fkm_source *source;
    fkm_batch batch;

    for (int i = 0; i < ROWS * WIDTH; i++)
        values[i] = i == 3 * WIDTH + 600 ? (double)NAN : i;
    table_add(&table, fixed_lists("+w:700", "x", ROWS, fixed_width("g", "item", ROWS * WIDTH, values, 8)));
    source = open_table(&producer, &options);
    CHECK_OK(fkm_source_next(source, 4, &batch));
    CHECK_INT(4, batch.n_rows);
    for (int i = 0; i < 4 * WIDTH; i++) {
        CHECK_NEAR(i == 3 * WIDTH + 600 ? 0 : i, ((const float *)batch.x)[i], 0);
        CHECK_NEAR(i == 3 * WIDTH + 600 ? 0 : 1, batch.mask[i], 0);
    }
    CHECK_OK(fkm_source_next(source, 4, &batch));
    CHECK_INT(1, batch.n_rows);
    CHECK(batch.mask == NULL);
    CHECK_NEAR(4 * WIDTH + 699, value_at(&batch, 0, 699), 0);
    close_table(source, &table);
}

/* ---- missing values */

TEST(a_null_is_mask_zero_or_an_error)
{
    for (int64_t null_count = -1; null_count < 4; null_count += 2) { /* unknown, 1 (too few), 3 */
        struct table table = {0};
        struct producer producer = {.table = &table, .chunks = {3}};
        fkm_source_options options = options_for(FKM_TASK_CLUSTER, NULL);
        fkm_source *source;
        fkm_batch batch;

        table_add(&table, with_nulls(NUMBERS("l", "a", int64_t, 1, 2, 3, 4, 5, 6, 7), "1010110", null_count));
        table_add(&table, NUMBERS("g", "b", double, 1, 2, 3, NAN, 5, 6, 7));
        source = open_table(&producer, &options);
        CHECK_OK(fkm_source_next(source, 6, &batch));
        CHECK_INT(6, batch.n_rows);
        for (int i = 0; i < 6; i++) {
            const bool a = "1010110"[i] == '1', b = i != 3;

            CHECK_NEAR(a ? i + 1 : 0, value_at(&batch, i, 0), 0);
            CHECK_NEAR(b ? i + 1 : 0, value_at(&batch, i, 1), 0);
            CHECK_NEAR(a, batch.mask[2 * i], 0);
            CHECK_NEAR(b, batch.mask[2 * i + 1], 0);
        }
        CHECK_OK(fkm_source_next(source, 6, &batch));
        CHECK_INT(1, batch.n_rows);
        CHECK_NEAR(0, batch.mask[0], 0);
        fkm_source_close(source);
        options.missing = FKM_MISSING_ERROR;
        check_table_refused(FKM_EDATA, "the Arrow stream, row 1: column 0 (a): the value is missing", &table,
                            &options);
        table_free(&table);
        check_all_released();
    }
}

TEST(null_count_zero_means_no_nulls)
{
    struct table table = {0};
    struct producer producer = {.table = &table, .chunks = {7}};
    const fkm_source_options options = options_for(FKM_TASK_CLUSTER, NULL);
    fkm_source *source;
    fkm_batch batch;

    table_add(&table, with_nulls(NUMBERS("f", "a", float, 1, 2), "00", 0));
    source = open_table(&producer, &options);
    CHECK_OK(fkm_source_next(source, 6, &batch));
    CHECK(batch.mask == NULL);
    close_table(source, &table);
}

TEST(a_null_row_is_refused)
{
    struct table table = {0};
    struct producer producer = {.table = &table, .chunks = {3}, .offset_in_root = true};
    const fkm_source_options options = options_for(FKM_TASK_CLUSTER, NULL);
    fkm_source *source;
    fkm_batch batch;

    table_add(&table, NUMBERS("f", "a", float, 1, 2, 3, 4, 5));
    table.valid = bits_of("11101");
    source = open_table(&producer, &options);
    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(3, batch.n_rows);
    CHECK_STATUS(FKM_EDATA, fkm_source_next(source, 10, &batch));
    CHECK_SAYS("row 3: the whole row is null", fkm_last_error());
    close_table(source, &table);
}

/* ---- labels, targets, tags, weights */

static const char *const long_name = "a name of more than twelve bytes";

/* rows: b, "a name ...", b, "", c with one null where told */
TEST(texts_of_every_kind_are_labels)
{
    const char *const words[] = {"b", long_name, "b", "another rather long one", "c"};

    for (int kind = 0; kind < 6; kind++) {
        struct table table = {0};
        struct producer producer = {.table = &table, .chunks = {2, 1, 3}};
        const fkm_source_options options = options_for(FKM_TASK_CLASSIFY, "kind");
        const char *const dictionary_words[] = {"c", "unused", long_name, "b", "another rather long one"};
        struct column *column = NULL;
        fkm_source *source;
        fkm_batch batch;

        switch (kind) {
        case 0:
            column = texts("u", "kind", 5, words);
            break;
        case 1:
            column = texts("U", "kind", 5, words);
            break;
        case 2:
            column = texts("vu", "kind", 5, words);
            break;
        default:
            column = dictionary(kind == 3   ? NUMBERS("c", "kind", int8_t, 3, 2, 3, 4, 0)
                                : kind == 4 ? NUMBERS("I", "kind", uint32_t, 3, 2, 3, 4, 0)
                                            : NUMBERS("l", "kind", int64_t, 3, 2, 3, 4, 0),
                                texts(kind == 3   ? "u"
                                      : kind == 4 ? "vu"
                                                  : "U",
                                      "", 5, dictionary_words));
        }
        table_add(&table, column);
        table_add(&table, NUMBERS("f", "x", float, 1, 2, 3, 4, 5));
        source = open_table(&producer, &options);
        CHECK_OK(fkm_source_next(source, 10, &batch));
        CHECK_INT(5, batch.n_rows);
        CHECK_INT(1, batch.n_cols);
        for (int i = 0; i < 5; i++)
            CHECK_INT(((int64_t[]){0, 1, 0, 2, 3})[i], batch.labels[i]);
        CHECK_INT(4, fkm_source_class_count(source));
        for (int i = 0; i < 4; i++)
            CHECK_TEXT(words[((int[]){0, 1, 3, 4})[i]], fkm_source_class_name(source, i));
        CHECK(fkm_source_class_name(source, 4) == NULL);
        CHECK_TEXT("x", fkm_source_column_name(source, 0));
        close_table(source, &table);
    }
}

TEST(integers_are_labels_themselves)
{
    for (int kind = 0; kind < 4; kind++) {
        struct table table = {0};
        struct producer producer = {.table = &table, .chunks = {2}};
        const fkm_source_options options = options_for(FKM_TASK_CLASSIFY, "-1");
        const int64_t expected[4][3] = {{-5, 7, INT64_MAX}, {0, 200, 3}, {1, 0, 1}, {30, 10, 30}};
        fkm_source *source;
        fkm_batch batch;

        table_add(&table, NUMBERS("f", "x", float, 1, 2, 3));
        table_add(&table, kind == 0   ? NUMBERS("l", "y", int64_t, -5, 7, INT64_MAX)
                          : kind == 1 ? NUMBERS("C", "y", uint8_t, 0, 200, 3)
                          : kind == 2 ? bools("y", "101")
                                      : dictionary(NUMBERS("c", "y", int8_t, 1, 0, 1),
                                                   NUMBERS("s", "", int16_t, 10, 30)));
        source = open_table(&producer, &options);
        CHECK_OK(fkm_source_next(source, 10, &batch));
        for (int i = 0; i < 3; i++)
            CHECK_INT(expected[kind][i], batch.labels[i]);
        CHECK_INT(0, fkm_source_class_count(source));
        close_table(source, &table);
    }
}

TEST(known_class_names_number_integers_too)
{
    const char *const known[] = {"7", "true", "cat"};

    for (int kind = 0; kind < 3; kind++) {
        struct table table = {0};
        struct producer producer = {.table = &table, .chunks = {2}};
        fkm_source_options options = options_for(FKM_TASK_CLASSIFY, "y");
        const int64_t expected[3][3] = {{3, 0, 0}, {1, 3, 1}, {3, 2, 0}};
        const char *const new_names[] = {"-5", "false", "dog"};
        fkm_source *source;
        fkm_batch batch;

        options.class_names = known;
        options.n_class_names = 3;
        table_add(&table, NUMBERS("f", "x", float, 1, 2, 3));
        table_add(&table, kind == 0   ? NUMBERS("l", "y", int64_t, -5, 7, 7)
                          : kind == 1 ? bools("y", "101")
                                      : texts("u", "y", 3, (const char *const[]){"dog", "cat", "7"}));
        source = open_table(&producer, &options);
        CHECK_OK(fkm_source_next(source, 10, &batch));
        for (int i = 0; i < 3; i++)
            CHECK_INT(expected[kind][i], batch.labels[i]);
        CHECK_INT(4, fkm_source_class_count(source));
        CHECK_TEXT(new_names[kind], fkm_source_class_name(source, 3));
        close_table(source, &table);
    }
}

TEST(targets_of_a_regressor)
{
    struct table table = {0};
    struct producer producer = {.table = &table, .chunks = {2}};
    fkm_source_options options = options_for(FKM_TASK_REGRESS, "z, y");
    static const double expected[3][3] = {{10, 11, 0.5}, {20, 21, -1}, {30, 31, 1e300}};
    fkm_source *source;
    fkm_batch batch;

    table_add(&table, NUMBERS("g", "y", double, 0.5, -1, 1e300));
    table_add(&table, NUMBERS("e", "w", uint16_t, 0x3c00, 0, 0x3800));
    table_add(&table, fixed_lists("+w:2", "z", 3, NUMBERS("i", "", int32_t, 10, 11, 20, 21, 30, 31)));
    table_add(&table, NUMBERS("f", "x", float, 1, 2, 3));
    options.weight = "w";
    source = open_table(&producer, &options);
    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(1, batch.n_cols);
    CHECK_INT(3, batch.n_targets);
    for (int i = 0; i < 3; i++)
        for (int t = 0; t < 3; t++)
            CHECK_NEAR(expected[i][t], batch.targets[3 * i + t], 0);
    CHECK_NEAR(1, batch.weight[0], 0);
    CHECK_NEAR(0, batch.weight[1], 0);
    CHECK_NEAR(0.5, batch.weight[2], 0);
    close_table(source, &table);
}

/* Tags {1, 3}, {}, {0}, {3, 4} in some coding. */
static void check_tags(const fkm_batch *batch, const int32_t *tags, int64_t n_tags)
{
    static const int64_t indptr[] = {0, 2, 2, 3, 5};

    CHECK_INT(4, batch->n_rows);
    CHECK_INT(n_tags, batch->n_tags);
    for (int i = 0; i <= 4; i++)
        CHECK_INT(indptr[i], batch->tag_indptr[i]);
    for (int i = 0; i < 5; i++)
        CHECK_INT(tags[i], batch->tags[i]);
}

TEST(tags_are_lists_texts_or_columns)
{
    static const int64_t offsets[] = {1, 3, 3, 4, 6}; /* the first item belongs to nobody */
    const char *const names[] = {"?", "jazz", "rock", "pop", "rock", "folk"};
    const int32_t by_number[] = {1, 3, 0, 3, 4}, by_name[] = {0, 1, 2, 1, 3};
    const fkm_source_options options = options_for(FKM_TASK_MULTILABEL, "tags");

    for (int kind = 0; kind < 7; kind++) {
        struct table table = {0};
        struct producer producer = {.table = &table, .chunks = {1, 2}};
        struct column *column = NULL;
        const bool numbers = kind < 2;
        fkm_source *source;
        fkm_batch batch;

        switch (kind) {
        case 0:
            column = lists("+l", "tags", 4, offsets, NUMBERS("l", "", int64_t, -1, 3, 1, 0, 3, 4));
            break;
        case 1:
            column = lists("+L", "tags", 4, offsets, NUMBERS("C", "", uint8_t, 255, 1, 3, 0, 4, 3));
            break;
        case 2:
            column = lists("+l", "tags", 4, offsets, texts("u", "", 6, names));
            break;
        case 3:
            column = lists("+L", "tags", 4, offsets, texts("vu", "", 6, names));
            break;
        case 4:
            column = lists(
                "+l", "tags", 4, offsets,
                dictionary(NUMBERS("C", "", uint8_t, 9, 1, 2, 3, 2, 4),
                           texts("U", "", 5, (const char *const[]){"x", "jazz", "rock", "pop", "folk"})));
            break;
        case 5:
            column = texts("u", "tags", 4, (const char *const[]){"jazz;rock", "", "pop,", "rock folk"});
            break;
        default:
            column =
                dictionary(NUMBERS("c", "tags", int8_t, 2, 0, 1, 3),
                           texts("u", "", 4, (const char *const[]){" ", "pop", "jazz rock", "rock,folk"}));
        }
        table_add(&table, column);
        table_add(&table, NUMBERS("f", "x", float, 1, 2, 3, 4));
        source = open_table(&producer, &options);
        CHECK_OK(fkm_source_next(source, 10, &batch));
        check_tags(&batch, numbers ? by_number : by_name, numbers ? 5 : 4);
        CHECK_INT(numbers ? 0 : 4, fkm_source_class_count(source));
        close_table(source, &table);
    }
}

TEST(tags_are_columns_of_zero_and_one)
{
    const int32_t tags[] = {1, 3, 0, 3, 4};

    for (int kind = 0; kind < 2; kind++) {
        struct table table = {0};
        struct producer producer = {.table = &table, .chunks = {3}};
        const fkm_source_options options = options_for(FKM_TASK_MULTILABEL, kind == 0 ? "a,b,c,d,e" : "a");
        fkm_source *source;
        fkm_batch batch;

        if (kind == 0) {
            table_add(&table, bools("a", "0010"));
            table_add(&table, NUMBERS("c", "b", int8_t, 1, 0, 0, 0));
            table_add(&table, NUMBERS("g", "c", double, 0, 0, 0, 0));
            table_add(&table, NUMBERS("L", "d", uint64_t, 1, 0, 0, 1));
            table_add(&table, bools("e", "0001"));
        } else {
            table_add(&table, fixed_lists("+w:5", "a", 4, bools("", "01010000001000000011")));
        }
        table_add(&table, NUMBERS("f", "x", float, 1, 2, 3, 4));
        source = open_table(&producer, &options);
        CHECK_OK(fkm_source_next(source, 10, &batch));
        check_tags(&batch, tags, 5);
        CHECK_INT(5, fkm_source_class_count(source));
        CHECK_TEXT(kind == 0 ? "d" : "a[3]", fkm_source_class_name(source, 3));
        close_table(source, &table);
    }
}

TEST(a_clusterer_leaves_its_target_out)
{
    struct table table = {0};
    struct producer producer = {.table = &table, .chunks = {2}};
    const fkm_source_options options = options_for(FKM_TASK_CLUSTER, "y");
    fkm_source *source;
    fkm_batch batch;

    table_add(&table, NUMBERS("f", "x", float, 1, 2));
    table_add(&table, NUMBERS("tdD", "y", int32_t, 1, 2));
    source = open_table(&producer, &options);
    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(1, batch.n_cols);
    CHECK(!batch.labels && !batch.targets);
    close_table(source, &table);
}

/* ---- any cut into batches gives the same bytes */

enum { LONG_ROWS = 1100, LIST = 3 };

/* Features with nulls, labels by name, weights. */
static void make_long_table(struct table *table)
{
    static char valid[LIST * LONG_ROWS + 1], flags[LONG_ROWS + 1];
    static const char *words[LONG_ROWS];
    static float weight[LONG_ROWS], items[LIST * LONG_ROWS];
    static int16_t small[LONG_ROWS];
    static const char *const names[] = {"zero", "the first name that is long", "two", "3", "four"};

    for (int i = 0; i < LONG_ROWS; i++) {
        valid[i] = i % 7 == 5 ? '0' : '1';
        flags[i] = i % 3 == 1 ? '1' : '0';
        words[i] = names[(i * i + i / 5) % 5];
        weight[i] = (float)(i % 4) / 2;
        small[i] = (int16_t)(i * 37 % 1000 - 500);
    }
    valid[LONG_ROWS] = flags[LONG_ROWS] = '\0';
    table_add(table, with_nulls(fixed_width("s", "small", LONG_ROWS, small, 2), valid, -1));
    table_add(table, texts("vu", "label", LONG_ROWS, words));
    table_add(table, bools("flag", flags));
    for (int i = 0; i < LIST * LONG_ROWS; i++) {
        valid[i] = i % 401 == 3 ? '0' : '1';
        items[i] = (float)i / 8;
    }
    valid[LIST * LONG_ROWS] = '\0';
    table_add(table, fixed_lists("+w:3", "items", LONG_ROWS,
                                 with_nulls(fixed_width("f", "", LIST * LONG_ROWS, items, 4), valid, -1)));
    table_add(table, fixed_width("f", "weight", LONG_ROWS, weight, 4));
}

/* What the columns above hold, said once more. */
static void check_long_row(const fkm_batch *batch, int64_t i, int64_t row, const fkm_source *source)
{
    static const char *const names[] = {"zero", "the first name that is long", "two", "3", "four"};

    CHECK_NEAR(row % 7 == 5 ? 0 : row * 37 % 1000 - 500, value_at(batch, i, 0), 0);
    CHECK_NEAR(row % 3 == 1, value_at(batch, i, 1), 0);
    CHECK_INT(row % 7 != 5, batch->mask ? batch->mask[i * 5] : 1);
    CHECK_INT(1, batch->mask ? batch->mask[i * 5 + 1] : 1);
    for (int64_t j = 0; j < LIST; j++) {
        const int64_t item = row * LIST + j;

        CHECK_NEAR(item % 401 == 3 ? 0 : (double)item / 8, value_at(batch, i, 2 + j), 0);
        CHECK_INT(item % 401 != 3, batch->mask ? batch->mask[i * 5 + 2 + j] : 1);
    }
    CHECK_NEAR((double)(row % 4) / 2, batch->weight[i], 0);
    CHECK_TEXT(names[(row * row + row / 5) % 5], fkm_source_class_name(source, batch->labels[i]));
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Everything a batch says. */
static uint64_t hash_batch(uint64_t hash, const fkm_batch *batch)
{
    const size_t n = (size_t)batch->n_rows, cells = n * (size_t)batch->n_cols;

    hash = hash_bytes(hash, &batch->n_rows, sizeof batch->n_rows);
    hash = hash_bytes(hash, batch->x, cells * sizeof(float));
    hash = hash_bytes(hash, batch->mask ? "mask" : "none", 4);
    if (batch->mask)
        hash = hash_bytes(hash, batch->mask, cells * sizeof(float));
    hash = hash_bytes(hash, batch->labels, n * sizeof *batch->labels);
    return hash_bytes(hash, batch->weight, n * sizeof *batch->weight);
}

TEST(any_cut_into_batches_gives_the_same_bytes)
{
    static const int64_t cuts[][CHUNKS_MAX] = {
        {LONG_ROWS}, {1}, {7}, {EMPTY, 256, EMPTY, 1, 255, 257}, {1000, EMPTY, EMPTY, 3}, {300}, {640},
    };
    static const int64_t max_rows[] = {1, 100, 256, 300, 1099, 5000};
    struct table table = {0};
    fkm_source_options options = options_for(FKM_TASK_CLASSIFY, "label");

    options.weight = "weight";
    make_long_table(&table);
    for (size_t m = 0; m < sizeof max_rows / sizeof *max_rows; m++) {
        uint64_t first = 0;

        for (size_t cut = 0; cut < sizeof cuts / sizeof *cuts; cut++)
            for (int root = 0; root < 2; root++) {
                struct producer producer = {.table = &table, .offset_in_root = root};
                uint64_t hash = 1;
                int64_t row = 0;
                fkm_source *source;
                fkm_batch batch;

                memcpy(producer.chunks, cuts[cut], sizeof producer.chunks);
                source = open_table(&producer, &options);
                for (;;) {
                    CHECK_OK(fkm_source_next(source, max_rows[m], &batch));
                    if (batch.n_rows == 0)
                        break;
                    CHECK_INT(LONG_ROWS - row < max_rows[m] ? LONG_ROWS - row : max_rows[m], batch.n_rows);
                    for (int64_t i = 0; i < batch.n_rows; i++)
                        check_long_row(&batch, i, row + i, source);
                    row += batch.n_rows;
                    hash = hash_batch(hash, &batch);
                }
                CHECK_INT(LONG_ROWS, row);
                CHECK(cut + (size_t)root == 0 || hash == first);
                first = hash;
                fkm_source_close(source);
            }
    }
    table_free(&table);
    check_all_released();
}

/* ---- positions */

TEST(a_stream_goes_forward_only)
{
    struct table table = {0};
    struct producer producer = {.table = &table, .chunks = {100}}, again = producer;
    fkm_source_options options = options_for(FKM_TASK_CLASSIFY, "label");
    char position[FKMI_POSITION_BYTES];
    fkm_source *source;
    fkm_batch batch;
    int64_t row = 250;

    options.weight = "weight";
    make_long_table(&table);
    source = open_table(&producer, &options);
    CHECK_OK(fkm_source_tell(source, position, sizeof position));
    CHECK_TEXT("arrow 0", position);
    CHECK_OK(fkm_source_seek(source, NULL));
    CHECK_OK(fkm_source_seek(source, position));
    CHECK_OK(fkm_source_next(source, 250, &batch));
    CHECK_OK(fkm_source_tell(source, position, sizeof position));
    CHECK_TEXT("arrow 250", position);
    CHECK_OK(fkm_source_seek(source, position)); /* here */
    CHECK_STATUS(FKM_EUNSUPPORTED, fkm_source_seek(source, NULL));
    CHECK_SAYS("cannot be read twice: at row 250, asked for row 0", fkm_last_error());
    CHECK_STATUS(FKM_EUNSUPPORTED, fkm_source_seek(source, "arrow 249"));
    CHECK_STATUS(FKM_EINVAL, fkm_source_seek(source, "csv 3 4"));
    CHECK_STATUS(FKM_EINVAL, fkm_source_seek(source, "arrow -1"));
    CHECK_OK(fkm_source_next(source, 10, &batch));
    check_long_row(&batch, 9, 259, source);
    fkm_source_close(source);

    source = open_table(&again, &options);
    CHECK_OK(fkm_source_seek(source, "arrow 250"));
    CHECK_OK(fkm_source_next(source, 1000, &batch));
    CHECK_INT(LONG_ROWS - 250, batch.n_rows);
    for (int64_t i = 0; i < batch.n_rows; i++)
        check_long_row(&batch, i, row + i, source);
    CHECK_STATUS(FKM_EINVAL, fkm_source_seek(source, "arrow 1101"));
    CHECK_SAYS("row 1101 lies beyond the end of the Arrow stream (1100 rows)", fkm_last_error());
    close_table(source, &table);
}

static int stops(void *count) { return --*(int *)count < 0; }

TEST(an_interrupted_call_loses_no_row)
{
    struct table table = {0};
    struct producer producer = {.table = &table, .chunks = {10}};
    fkm_source_options options = options_for(FKM_TASK_CLASSIFY, "label");
    int questions = 5;
    fkm_source *source;
    fkm_batch batch;

    options.weight = "weight";
    make_long_table(&table);
    source = open_table(&producer, &options);
    fkmi_interrupt_every(0);
    fkm_set_interrupt(stops, &questions);
    CHECK_STATUS(FKM_EINTERRUPTED, fkm_source_next(source, 100, &batch));
    fkm_set_interrupt(NULL, NULL);
    fkmi_interrupt_every(-1);
    CHECK(producer.row > 0 && producer.row < 100);
    CHECK_STATUS(FKM_EINVAL, fkm_source_next(source, 1, &batch));
    CHECK_OK(fkm_source_next(source, 100, &batch));
    CHECK_INT(100, batch.n_rows);
    for (int64_t i = 0; i < 100; i++)
        check_long_row(&batch, i, i, source);
    close_table(source, &table);
}

/* ---- what is refused */

TEST(types_that_cannot_be_are_named)
{
    static const struct {
        fkm_task task;
        const char *target, *weight, *format, *words;
    } cases[] = {
        {FKM_TASK_CLUSTER, NULL, NULL, "u", "column 1 (odd): type utf8 cannot be a feature"},
        {FKM_TASK_CLUSTER, NULL, NULL, "tsu:UTC", "type timestamp cannot be a feature"},
        {FKM_TASK_CLUSTER, NULL, NULL, "tdD", "type date cannot be a feature"},
        {FKM_TASK_CLUSTER, NULL, NULL, "d:19,10", "type decimal cannot be a feature"},
        {FKM_TASK_CLUSTER, NULL, NULL, "n", "type null cannot be a feature"},
        {FKM_TASK_CLUSTER, NULL, NULL, "q?", "type \"q?\" cannot be a feature"},
        {FKM_TASK_CLUSTER, NULL, NULL, "+l", "type list of int64 cannot be a feature"},
        {FKM_TASK_CLUSTER, NULL, NULL, "+w:0", "cannot be a feature"},
        {FKM_TASK_CLUSTER, NULL, NULL, "+w:x", "cannot be a feature"},
        {FKM_TASK_CLUSTER, NULL, NULL, "+w:2000000", "2000000 values more, at most 1000000 are possible"},
        {FKM_TASK_CLUSTER, NULL, NULL, "dictionary", "type dictionary of utf8 cannot be a feature"},
        {FKM_TASK_CLUSTER, NULL, NULL, "number dictionary", "type dictionary of int64 cannot be a feature"},
        {FKM_TASK_CLUSTER, NULL, "odd", "u", "type utf8 cannot be a weight"},
        {FKM_TASK_CLUSTER, NULL, "odd", "number dictionary", "cannot be a weight"},
        {FKM_TASK_CLASSIFY, "odd", NULL, "g",
         "type float64 cannot be a classifier's target; valid: integers,"},
        {FKM_TASK_CLASSIFY, "odd", NULL, "+l", "cannot be a classifier's target"},
        {FKM_TASK_REGRESS, "odd", NULL, "u", "type utf8 cannot be a regressor's target"},
        {FKM_TASK_REGRESS, "odd", NULL, "dictionary", "cannot be a regressor's target"},
        {FKM_TASK_MULTILABEL, "odd", NULL, "l", "type int64 cannot be a multi-label target"},
        {FKM_TASK_MULTILABEL, "odd", NULL, "list of floats",
         "type list of float64 cannot be a multi-label target"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *format = cases[i].format;
        struct table table = {0};
        fkm_source_options options = options_for(cases[i].task, cases[i].target);
        struct column *odd;

        options.weight = cases[i].weight;
        if (strcmp(format, "dictionary") == 0)
            odd = dictionary(NUMBERS("c", "odd", int8_t, 0), texts("u", "", 1, (const char *const[]){"a"}));
        else if (strcmp(format, "number dictionary") == 0)
            odd = dictionary(NUMBERS("c", "odd", int8_t, 0), NUMBERS("l", "", int64_t, 5));
        else if (strcmp(format, "list of floats") == 0)
            odd = lists("+l", "odd", 1, (int64_t[]){0, 1}, NUMBERS("g", "", double, 5));
        else if (format[0] == '+')
            odd = fixed_lists(format, "odd", 1, NUMBERS("l", "", int64_t, 5));
        else
            odd = column_of(format, "odd", 1, 2);
        table_add(&table, NUMBERS("f", "x", float, 1));
        table_add(&table, odd);
        check_table_refused(FKM_EDATA, cases[i].words, &table, &options);
        table_free(&table);
        check_all_released();
    }
}

TEST(values_that_cannot_be_are_named)
{
    static const char *const empty_text[] = {"a", "", "b"}, *const bad_text[] = {"a", "\xff", "b"},
                             *const twice[] = {"a b", "b;b", ""};
    const struct {
        fkm_task task;
        const char *target, *weight, *words;
        struct column *column;
    } cases[] = {
        {FKM_TASK_CLUSTER, NULL, NULL, "row 1: column 1 (odd): inf is not a finite number",
         NUMBERS("f", "odd", float, 1, INFINITY, 3)},
        {FKM_TASK_CLUSTER, NULL, NULL, "row 2: column 1 (odd): -1e+300 is not within the range of float32",
         NUMBERS("g", "odd", double, 1, 2, -1e300)},
        {FKM_TASK_CLUSTER, NULL, NULL, "row 2: column 1 (odd), item 1: -inf is not a finite number",
         fixed_lists("+w:2", "odd", 3, NUMBERS("f", "", float, 1, 2, 3, 4, 5, -INFINITY))},
        {FKM_TASK_CLUSTER, NULL, "odd", "row 1: column 1 (odd): -1 is not a weight",
         NUMBERS("c", "odd", int8_t, 1, -1, 3)},
        {FKM_TASK_CLUSTER, NULL, "odd", "row 0: column 1 (odd): nan is not a weight",
         NUMBERS("g", "odd", double, NAN, -1, 3)},
        {FKM_TASK_CLUSTER, NULL, "odd", "row 1: column 1 (odd): 1e+39 is not a weight",
         NUMBERS("g", "odd", double, 1, 1e39, 3)},
        {FKM_TASK_CLUSTER, NULL, "odd", "row 2: column 1 (odd): the weight is missing",
         with_nulls(NUMBERS("g", "odd", double, 1, 2, 3), "110", 1)},
        {FKM_TASK_CLASSIFY, "odd", NULL, "row 1: column 1 (odd): the label is missing",
         with_nulls(NUMBERS("l", "odd", int64_t, 1, 2, 3), "101", -1)},
        {FKM_TASK_CLASSIFY, "odd", NULL, "row 1: column 1 (odd): the label is missing",
         dictionary(NUMBERS("c", "odd", int8_t, 0, 1, 0),
                    with_nulls(texts("u", "", 3, empty_text), "101", -1))},
        {FKM_TASK_CLASSIFY, "odd", NULL, "row 1: column 1 (odd): the label is larger than 2^63 - 1",
         NUMBERS("L", "odd", uint64_t, 1, UINT64_MAX, 3)},
        {FKM_TASK_CLASSIFY, "odd", NULL, "row 1: column 1 (odd): the label is empty",
         texts("U", "odd", 3, empty_text)},
        {FKM_TASK_CLASSIFY, "odd", NULL, "row 1: column 1 (odd): the name \"?\" is not UTF-8",
         texts("u", "odd", 3, bad_text)},
        {FKM_TASK_CLASSIFY, "odd", NULL,
         "row 2: column 1 (odd): an index outside the 3 words of its dictionary",
         dictionary(NUMBERS("c", "odd", int8_t, 0, 2, 3), NUMBERS("s", "", int16_t, 1, 2, 3))},
        {FKM_TASK_CLASSIFY, "odd", NULL, "row 1: column 1 (odd): an index outside",
         dictionary(NUMBERS("c", "odd", int8_t, 0, -1, 3), NUMBERS("s", "", int16_t, 1, 2, 3))},
        {FKM_TASK_REGRESS, "odd", NULL, "row 2: column 1 (odd): nan is not a finite number",
         NUMBERS("f", "odd", float, 1, 2, NAN)},
        {FKM_TASK_REGRESS, "odd", NULL, "row 0: column 1 (odd): the target is missing",
         with_nulls(NUMBERS("f", "odd", float, 1, 2, 3), "011", 1)},
        {FKM_TASK_REGRESS, "odd", NULL, "row 1: column 1 (odd), item 0: inf is not a finite number",
         fixed_lists("+w:2", "odd", 3, NUMBERS("f", "", float, 1, 2, INFINITY, 4, 5, 6))},
        {FKM_TASK_REGRESS, "odd", NULL, "row 1: column 1 (odd): the target is missing",
         with_nulls(fixed_lists("+w:1", "odd", 3, NUMBERS("f", "", float, 1, 2, 3)), "101", 1)},
        {FKM_TASK_MULTILABEL, "odd", NULL, "row 1: column 1 (odd): the list of tags is missing",
         with_nulls(lists("+l", "odd", 3, (int64_t[]){0, 1, 1, 2}, NUMBERS("C", "", uint8_t, 1, 2)), "101",
                    1)},
        {FKM_TASK_MULTILABEL, "odd", NULL, "row 1: column 1 (odd): the tag is missing",
         lists("+l", "odd", 3, (int64_t[]){0, 1, 3, 3},
               with_nulls(NUMBERS("C", "", uint8_t, 1, 2, 3), "110", 1))},
        {FKM_TASK_MULTILABEL, "odd", NULL, "row 2: column 1 (odd): -3 is not a tag",
         lists("+l", "odd", 3, (int64_t[]){0, 1, 1, 2}, NUMBERS("s", "", int16_t, 1, -3))},
        {FKM_TASK_MULTILABEL, "odd", NULL, "row 2: column 1 (odd): 2147483647 is not a tag",
         lists("+l", "odd", 3, (int64_t[]){0, 1, 1, 2}, NUMBERS("I", "", uint32_t, 1, INT32_MAX))},
        {FKM_TASK_MULTILABEL, "odd", NULL, "row 0: column 1 (odd): the tag 4 is there twice",
         lists("+l", "odd", 3, (int64_t[]){0, 3, 3, 3}, NUMBERS("l", "", int64_t, 4, 2, 4))},
        {FKM_TASK_MULTILABEL, "odd", NULL, "row 1: column 1 (odd): the tag \"b\" is there twice",
         texts("u", "odd", 3, twice)},
        {FKM_TASK_MULTILABEL, "odd", NULL,
         "row 1: column 1 (odd): a list of items 2 to 1, of which there are 2",
         lists("+l", "odd", 3, (int64_t[]){0, 2, 1, 2}, NUMBERS("l", "", int64_t, 4, 2))},
        {FKM_TASK_MULTILABEL, "odd", NULL,
         "row 1: column 1 (odd): a list of items 1 to 9, of which there are 2",
         lists("+L", "odd", 3, (int64_t[]){0, 1, 9, 9}, NUMBERS("l", "", int64_t, 4, 2))},
        {FKM_TASK_MULTILABEL, "odd", NULL, "row 2: column 1 (odd), item 1: 2 is not 0 or 1",
         fixed_lists("+w:2", "odd", 3, NUMBERS("c", "", int8_t, 0, 1, 1, 1, 0, 2))},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct table table = {0};
        fkm_source_options options = options_for(cases[i].task, cases[i].target);

        options.weight = cases[i].weight;
        table_add(&table, NUMBERS("f", "x", float, 1, 2, 3));
        table_add(&table, cases[i].column);
        check_table_refused(FKM_EDATA, cases[i].words, &table, &options);
        table_free(&table);
        check_all_released();
    }
}

TEST(items_of_long_lists_are_counted_through)
{
    static float values[700];
    struct table table = {0};
    const fkm_source_options options = options_for(FKM_TASK_CLUSTER, NULL);

    values[600] = INFINITY;
    table_add(&table, fixed_lists("+w:700", "x", 1, fixed_width("f", "", 700, values, 4)));
    check_table_refused(FKM_EDATA, "row 0: column 0 (x), item 600: inf is not a finite number", &table,
                        &options);
    table_free(&table);
}

TEST(tag_columns_must_agree_with_known_names)
{
    static const char *const known[] = {"b", "a"};
    struct table table = {0};
    fkm_source_options options = options_for(FKM_TASK_MULTILABEL, "a,b");

    table_add(&table, bools("a", "10"));
    table_add(&table, bools("b", "11"));
    table_add(&table, NUMBERS("f", "x", float, 1, 2));
    options.class_names = known;
    options.n_class_names = 2;
    check_table_refused(FKM_EINVAL, "tag \"a\" is number 0 here and number 1 of class_names", &table,
                        &options);
    options.n_class_names = 1;
    check_table_refused(FKM_EINVAL, "tag \"a\" is number 0 here and number 1 of class_names", &table,
                        &options);
    options.n_class_names = 0;
    options.target = "a,1";
    table.columns[1]->name = "a";
    check_table_refused(FKM_EINVAL, "is there twice, as column 0 and column 1", &table, &options);
    options.target = "0,1";
    check_table_refused(FKM_EINVAL, "tag \"a\" is number 1 here and number 0 by its name", &table, &options);
    table_free(&table);
    check_all_released();
}

TEST(texts_that_end_before_they_begin_are_refused)
{
    struct table table = {0};
    const fkm_source_options options = options_for(FKM_TASK_CLASSIFY, "y");
    struct column *y = texts("u", "y", 3, (const char *const[]){"one", "two", "three"});

    ((int32_t *)y->buffers[1])[2] = 1;
    table_add(&table, NUMBERS("f", "x", float, 1, 2, 3));
    table_add(&table, y);
    check_table_refused(FKM_EDATA, "row 1: column 1 (y): a text that begins at 3 and ends at 1", &table,
                        &options);
    ((int32_t *)y->buffers[1])[0] = -1;
    check_table_refused(FKM_EDATA, "row 0: column 1 (y): a text that begins at -1 and ends at 3", &table,
                        &options);
    table_free(&table);
    check_all_released();
}

TEST(malformed_arrays_are_refused)
{
    struct column *many = NUMBERS("f", "a", float, 1, 2), *nulls = NUMBERS("f", "a", float, 1, 2),
                  *no_buffer = column_of("g", "a", 2, 2), *short_items = NUMBERS("f", "", float, 1, 2, 3),
                  *lists_of = fixed_lists("+w:2", "a", 2, short_items),
                  *no_sizes = NUMBERS("f", "a", float, 1, 2);
    const struct {
        const char *words;
        struct column *column;
    } cases[] = {
        {"column 0 (a): an array with 7 buffers, its type has 2", many},
        {"column 0 (a): an array of 2 nulls that does not say which", nulls},
        {"column 0 (a): an array of 2 values without a buffer", no_buffer},
        {"column 0 (a): 2 lists of 2 items, of which there are 3", lists_of},
        {"column 0 (a): an array of length -3", no_sizes},
    };

    many->n_buffers = 7;
    nulls->null_count = 2;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct table table = {0};
        const fkm_source_options options = options_for(FKM_TASK_CLUSTER, NULL);

        table_add(&table, cases[i].column);
        table.lies_about_length = cases[i].column == no_sizes;
        check_table_refused(FKM_EDATA, cases[i].words, &table, &options);
        table_free(&table);
    }
    check_all_released();
}

TEST(rows_before_a_bad_one_go_out_first)
{
    for (int cut = 1; cut < 6; cut++) {
        struct table table = {0};
        struct producer producer = {.table = &table, .chunks = {cut}};
        const fkm_source_options options = options_for(FKM_TASK_REGRESS, "y");
        char first[256];
        fkm_source *source;
        fkm_batch batch;

        table_add(&table, NUMBERS("f", "a", float, 1, 2, 3, 4, INFINITY, 6));
        table_add(&table, NUMBERS("f", "y", float, 1, 2, 3, NAN, 5, 6));
        table_add(&table, with_nulls(NUMBERS("f", "b", float, 1, 2, 3, 4, INFINITY, 6), "111010", -1));
        source = open_table(&producer, &options);
        CHECK_OK(fkm_source_next(source, 10, &batch));
        CHECK_INT(3, batch.n_rows);
        CHECK(batch.mask == NULL); /* what the row that is not there misses does not count */
        CHECK_NEAR(3, batch.targets[2], 0);
        CHECK_STATUS(FKM_EDATA, fkm_source_next(source, 10, &batch));
        CHECK_SAYS("row 3: column 1 (y): nan is not a finite number", fkm_last_error());
        snprintf(first, sizeof first, "%s", fkm_last_error());
        CHECK_STATUS(FKM_EDATA, fkm_source_next(source, 1, &batch));
        CHECK_TEXT(first, fkm_last_error());
        close_table(source, &table);
    }
}

TEST(columns_that_do_not_exist_are_refused)
{
    struct table table = {0};
    fkm_source_options options = options_for(FKM_TASK_CLASSIFY, "nope");

    table_add(&table, NUMBERS("f", "x", float, 1));
    table_add(&table, NUMBERS("l", "y", int64_t, 1));
    check_table_refused(FKM_EINVAL, "the Arrow stream: no column is named \"nope\" (target)", &table,
                        &options);
    options.target = "7";
    check_table_refused(FKM_EINVAL, "there is no target column 7, there are 2 columns", &table, &options);
    options.target = "x,y";
    check_table_refused(FKM_EINVAL, "a classifier has one", &table, &options);
    options.task = FKM_TASK_REGRESS;
    check_table_refused(FKM_EINVAL, "no feature column is left", &table, &options);
    options.target = "y";
    options.dtype = FKM_DTYPE_F16;
    check_table_refused(FKM_EINVAL, "neither float32 nor float64", &table, &options);
    table_free(&table);
    check_all_released();
}

static int get_number_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    schema_of(((struct producer *)stream->private_data)->table->columns[0], out);
    return 0;
}

TEST(one_column_is_not_a_table)
{
    struct table table = {0};
    struct producer producer = {.table = &table, .chunks = {1}};
    struct ArrowArrayStream stream = stream_of(&producer);
    fkm_source *source = NULL;

    stream.get_schema = get_number_schema;
    table_add(&table, NUMBERS("f", "x", float, 1));
    CHECK_STATUS(FKM_EDATA, fkm_source_from_arrow(&stream, NULL, &source));
    CHECK_SAYS("the Arrow stream holds one column of type float32; rows come from record batches",
               fkm_last_error());
    CHECK(source == NULL);
    table_free(&table);
    check_all_released();
}

TEST(failures_of_the_stream_travel)
{
    static const struct {
        int code, at;
        const char *error, *words;
        fkm_status status;
    } cases[] = {
        {EIO, 0, "disk on fire", "the Arrow stream: disk on fire", FKM_EIO},
        {ENOMEM, 0, NULL, "the Arrow stream: Cannot allocate memory", FKM_ENOMEM},
        {EINVAL, 1, "bad page", "the Arrow stream: bad page", FKM_EIO},
        {EIO, 3, "", "the Arrow stream: Input/output error", FKM_EIO},
        {ENOMEM, 3, "too much", "the Arrow stream: too much", FKM_ENOMEM},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct table table = {0};
        struct producer producer = {.table = &table,
                                    .chunks = {2},
                                    .fails_with = cases[i].code,
                                    .fails_at = cases[i].at,
                                    .error = cases[i].error};
        struct ArrowArrayStream stream = stream_of(&producer);
        const fkm_source_options options = options_for(FKM_TASK_CLUSTER, NULL);
        fkm_source *source = NULL;
        fkm_batch batch;
        fkm_status status;

        table_add(&table, NUMBERS("f", "x", float, 1, 2, 3, 4, 5, 6, 7));
        status = fkm_source_from_arrow(&stream, &options, &source);
        CHECK((status == FKM_OK) == (cases[i].at > 0));
        if (cases[i].at > 1) { /* rows that came before go out */
            CHECK_OK(fkm_source_next(source, 100, &batch));
            CHECK_INT(4, batch.n_rows);
        }
        for (int again = 0; source && again < 2; again++) {
            status = fkm_source_next(source, 100, &batch);
            CHECK_INT(cases[i].at, producer.calls); /* the stream is not asked again */
        }
        CHECK_STATUS(cases[i].status, status);
        CHECK_SAYS(cases[i].words, fkm_last_error());
        close_table(source, &table);
    }
}

TEST(arguments_are_checked_and_the_stream_released)
{
    struct table table = {0};
    struct producer producer = {.table = &table, .chunks = {1}};
    struct ArrowArrayStream stream = stream_of(&producer), released = {0};
    fkm_source *source = NULL;

    table_add(&table, NUMBERS("f", "x", float, 1));
    CHECK_STATUS(FKM_EINVAL, fkm_source_from_arrow(&stream, NULL, NULL));
    CHECK(stream.release == NULL);
    CHECK_INT(0, live_streams);
    CHECK_STATUS(FKM_EINVAL, fkm_source_from_arrow(NULL, NULL, &source));
    CHECK_SAYS("the stream is NULL", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkm_source_from_arrow(&released, NULL, &source));
    CHECK_SAYS("released already", fkm_last_error());
    table_free(&table);
    check_all_released();
}

/* ---- memory */

TEST(every_allocation_may_fail)
{
    static const fkm_task tasks[] = {FKM_TASK_CLASSIFY, FKM_TASK_MULTILABEL, FKM_TASK_REGRESS};
    const int64_t offsets[] = {0, 2, 2, 3};

    for (size_t t = 0; t < 3; t++)
        for (int for_ever = 0; for_ever < 2; for_ever++)
            for (int64_t n = 1;; n++) {
                struct table table = {0};
                struct producer producer = {.table = &table, .chunks = {2}};
                fkm_source_options options = options_for(tasks[t], "y");
                struct ArrowArrayStream stream;
                fkm_source *source = NULL;
                fkm_batch batch = {.n_rows = 1};
                fkm_status status;
                int64_t rows = 0;

                options.weight = "w";
                table_add(&table, with_nulls(NUMBERS("f", "x", float, 1, 2, 3), "101", 1));
                table_add(&table, tasks[t] == FKM_TASK_CLASSIFY
                                      ? texts("u", "y", 3, (const char *const[]){"a", "b", "a"})
                                  : tasks[t] == FKM_TASK_REGRESS
                                      ? NUMBERS("f", "y", float, 1, 2, 3)
                                      : lists("+l", "y", 3, offsets,
                                              texts("u", "", 3, (const char *const[]){"a", "b", "a"})));
                table_add(&table, NUMBERS("f", "w", float, 1, 2, 3));
                stream = stream_of(&producer);
                fkmi_memory_fail(n, for_ever);
                status = fkm_source_from_arrow(&stream, &options, &source);
                while (status == FKM_OK && batch.n_rows > 0) {
                    status = fkm_source_next(source, 10, &batch);
                    rows += batch.n_rows;
                }
                if (fkmi_memory_fail(0, 0) < n) { /* it never came to fail */
                    CHECK_OK(status);
                    CHECK_INT(3, rows);
                    close_table(source, &table);
                    break;
                }
                if (status == FKM_ENOMEM && source) { /* nothing is lost: the same source goes on */
                    for (batch.n_rows = 1; batch.n_rows > 0; rows += batch.n_rows)
                        CHECK_OK(fkm_source_next(source, 10, &batch));
                    CHECK_INT(3, rows);
                } else {
                    CHECK(status == FKM_ENOMEM || (status == FKM_OK && rows == 3));
                }
                close_table(source, &table);
            }
}
