/* test_npy.c — .npy files: types, targets, weights, positions, gzip, and what is refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "unit/io/source_tools.h"

static char npy[200000];

/* A file of version 1 in `npy`; returns its size. */
static size_t npy_of(const char *descr, const char *shape, const void *data, size_t bytes)
{
    size_t length =
        (size_t)sprintf(npy + 10, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape);

    while ((10 + length + 1) % 64 != 0)
        npy[10 + length++] = ' ';
    npy[10 + length++] = '\n';
    memcpy(npy, "\x93NUMPY\x01\x00", 8);
    npy[8] = (char)length;
    npy[9] = (char)(length >> 8);
    memcpy(npy + 10 + length, data, bytes);
    return 10 + length + bytes;
}

static void write_npy(const char *path, const char *descr, const char *shape, const void *data, size_t bytes)
{
    const size_t size = npy_of(descr, shape, data, bytes);

    write_file(path, npy, size);
}

static const float six[6] = {1, 2.5f, -3, 4, 5, 6e10f};

TEST(rows_of_a_file_are_handed_out_where_they_lie)
{
    const char *folder = make_folder();
    fkm_source *source;
    fkm_batch batch;
    const void *first;
    char position[FKMI_POSITION_BYTES];

    write_npy(path_in(folder, "x.npy"), "<f4", "(3, 2)", six, sizeof six);
    CHECK_OK(fkm_source_open(path_in(folder, "x.npy"), NULL, &source));
    CHECK_SAYS("3 rows x 2 columns, float32", fkm_source_note(source));
    CHECK_OK(fkm_source_next(source, 2, &batch));
    CHECK_INT(2, batch.n_rows);
    CHECK_INT(2, batch.n_cols);
    CHECK_INT(FKM_DTYPE_F32, batch.dtype);
    CHECK(memcmp(batch.x, six, 16) == 0);
    first = batch.x;
    CHECK_OK(fkm_source_tell(source, position, sizeof position));
    CHECK_TEXT("npy 2", position);
    CHECK_OK(fkm_source_next(source, 2, &batch));
    CHECK_INT(1, batch.n_rows);
    CHECK((const char *)batch.x == (const char *)first + 16);
    CHECK_OK(fkm_source_next(source, 2, &batch));
    CHECK_INT(0, batch.n_rows);
    CHECK_OK(fkm_source_seek(source, position));
    CHECK_OK(fkm_source_next(source, 9, &batch));
    CHECK_NEAR(5, value_at(&batch, 0, 0), 0);
    CHECK_STATUS(FKM_EINVAL, fkm_source_seek(source, "npy 4"));
    CHECK_STATUS(FKM_EINVAL, fkm_source_seek(source, "npy 1 1"));
    CHECK(truncate(path_in(folder, "x.npy"), 130) == 0);
    CHECK_OK(fkm_source_seek(source, NULL));
    CHECK_STATUS(FKM_EIO, fkm_source_next(source, 9, &batch)); /* not a bus error */
    fkm_source_close(source);
    remove_folder(folder);
    CHECK_INT(0, fkmi_memory_held());
}

TEST(every_number_type_is_read)
{
    static const struct {
        const char *descr;
        fkm_dtype dtype;
        double expected[2];
        unsigned char bytes[16];
    } cases[] = {
        {"<f8", FKM_DTYPE_F64, {1.5, -2}, {0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0xc0}},
        {"<f4", FKM_DTYPE_F32, {1.5, -2}, {0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0}},
        {"<f2", FKM_DTYPE_F16, {1.5, -2}, {0, 0x3e, 0, 0xc0}},
        {"|i1", FKM_DTYPE_F64, {-2, 127}, {0xfe, 0x7f}},
        {"<i2", FKM_DTYPE_F64, {-2, 258}, {0xfe, 0xff, 2, 1}},
        {"<i4", FKM_DTYPE_F64, {-2, 16777217}, {0xfe, 0xff, 0xff, 0xff, 1, 0, 0, 1}},
        {"<i8",
         FKM_DTYPE_F64,
         {-2, 4294967296.0},
         {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1}},
        {"|u1", FKM_DTYPE_F64, {254, 1}, {0xfe, 1}},
        {"<u2", FKM_DTYPE_F64, {65534, 258}, {0xfe, 0xff, 2, 1}},
        {"<u4", FKM_DTYPE_F64, {4294967294.0, 1}, {0xfe, 0xff, 0xff, 0xff, 1}},
        {"<u8",
         FKM_DTYPE_F64,
         {18446744073709551616.0, 1},
         {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}},
        {"|b1", FKM_DTYPE_F64, {1, 0}, {1, 0}},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t item = (size_t)(cases[i].descr[2] - '0'),
                     size = npy_of(cases[i].descr, "(1, 2)", cases[i].bytes, 2 * item);
        fkm_source_options options = options_of(FKM_FORMAT_NPY, FKM_TASK_CLUSTER, NULL);
        fkm_source *source;
        fkm_batch batch;

        options.dtype = FKM_DTYPE_F64;
        CHECK_OK(fkmi_source_open_bytes(npy, size, &options, &source));
        CHECK_OK(fkm_source_next(source, 5, &batch));
        CHECK_INT(1, batch.n_rows);
        CHECK_INT(cases[i].dtype, batch.dtype);
        if (batch.dtype == FKM_DTYPE_F16) {
            CHECK(memcmp(batch.x, cases[i].bytes, 4) == 0);
        } else {
            CHECK_NEAR(cases[i].expected[0], value_at(&batch, 0, 0), 0);
            CHECK_NEAR(cases[i].expected[1], value_at(&batch, 0, 1), 0);
        }
        fkm_source_close(source);
    }
}

TEST(unaligned_rows_are_copied)
{
    static char shifted[300];
    fkm_source_options options = options_of(FKM_FORMAT_NPY, FKM_TASK_CLUSTER, NULL);
    const size_t size = npy_of("<f4", "(3, 2)", six, sizeof six);

    for (int shift = 0; shift < 4; shift++) {
        fkm_source *source;
        fkm_batch batch;

        memcpy(shifted + shift, npy, size);
        CHECK_OK(fkmi_source_open_bytes(shifted + shift, size, &options, &source));
        CHECK_OK(fkm_source_next(source, 2, &batch));
        CHECK_OK(fkm_source_next(source, 2, &batch));
        CHECK((uintptr_t)batch.x % 4 == 0);
        CHECK(memcmp(batch.x, six + 4, 8) == 0);
        fkm_source_close(source);
    }
}

TEST(targets_and_weights_stand_in_files_of_their_own)
{
    const char *folder = make_folder();
    static const int64_t labels[3] = {-5, 7, INT64_C(1) << 40};
    static const unsigned char tags[6] = {0, 1, 1, 1, 0, 0};
    static const double targets[6] = {1, 2, 3, 4, 5, 6}, weights[3] = {0.5, 0, 2};
    fkm_source_options options = options_of(FKM_FORMAT_AUTO, FKM_TASK_CLASSIFY, path_in(folder, "y.npy"));
    fkm_source *source;
    fkm_batch batch;

    write_npy(path_in(folder, "x.npy"), "<f4", "(3, 2)", six, sizeof six);
    write_npy(path_in(folder, "y.npy"), "<i8", "(3,)", labels, sizeof labels);
    write_npy(path_in(folder, "w.npy"), "<f8", "(3,)", weights, sizeof weights);
    options.weight = path_in(folder, "w.npy");
    CHECK_OK(fkm_source_open(path_in(folder, "x.npy"), &options, &source));
    CHECK_OK(fkm_source_next(source, 1, &batch));
    CHECK_OK(fkm_source_next(source, 5, &batch));
    CHECK_INT(2, batch.n_rows);
    CHECK_INT(7, batch.labels[0]);
    CHECK_INT(labels[2], batch.labels[1]);
    CHECK_NEAR(2, batch.weight[1], 0);
    CHECK_INT(0, fkm_source_class_count(source));
    fkm_source_close(source);

    options.task = FKM_TASK_MULTILABEL;
    write_npy(options.target, "|b1", "(3, 2)", tags, sizeof tags);
    CHECK_OK(fkm_source_open(path_in(folder, "x.npy"), &options, &source));
    CHECK_OK(fkm_source_next(source, 5, &batch));
    CHECK_INT(2, batch.n_tags);
    CHECK_INT(1, batch.tag_indptr[1]);
    CHECK_INT(3, batch.tag_indptr[2]);
    CHECK_INT(3, batch.tag_indptr[3]);
    CHECK_INT(1, batch.tags[0]);
    CHECK_INT(0, batch.tags[1]);
    CHECK_INT(1, batch.tags[2]);
    fkm_source_close(source);

    options.task = FKM_TASK_REGRESS;
    write_npy(options.target, "<f8", "(3, 2)", targets, sizeof targets);
    CHECK_OK(fkm_source_open(path_in(folder, "x.npy"), &options, &source));
    CHECK_OK(fkm_source_next(source, 2, &batch));
    CHECK_OK(fkm_source_next(source, 2, &batch));
    CHECK_INT(2, batch.n_targets);
    CHECK_NEAR(5, batch.targets[0], 0);
    CHECK_NEAR(6, batch.targets[1], 0);
    fkm_source_close(source);
    remove_folder(folder);
    CHECK_INT(0, fkmi_memory_held());
}

TEST(targets_that_do_not_fit_are_refused)
{
    const char *folder = make_folder();
    static const double fractions[3] = {0.5, 1, NAN};
    static const int64_t two[2] = {1, 2};
    fkm_source_options options = options_of(FKM_FORMAT_AUTO, FKM_TASK_CLASSIFY, path_in(folder, "y.npy"));
    const char *x = path_in(folder, "x.npy");
    fkm_source *source;
    fkm_batch batch;

    write_npy(x, "<f4", "(3, 2)", six, sizeof six);
    CHECK_STATUS(FKM_EIO, fkm_source_open(x, &options, &source));
    write_npy(options.target, "<f8", "(3,)", fractions, sizeof fractions);
    CHECK_STATUS(FKM_EDATA, fkm_source_open(x, &options, &source));
    CHECK_SAYS("labels of a classifier are one integer per row", fkm_last_error());
    options.task = FKM_TASK_REGRESS;
    CHECK_OK(fkm_source_open(x, &options, &source));
    CHECK_STATUS(FKM_EDATA, fkm_source_next(source, 5, &batch));
    CHECK_SAYS("y.npy, row 2: a target is not finite", fkm_last_error());
    fkm_source_close(source);
    options.task = FKM_TASK_MULTILABEL;
    CHECK_STATUS(FKM_EDATA, fkm_source_open(x, &options, &source));
    write_npy(options.target, "<f8", "(3, 1)", fractions, sizeof fractions);
    CHECK_OK(fkm_source_open(x, &options, &source));
    CHECK_STATUS(FKM_EDATA, fkm_source_next(source, 5, &batch));
    CHECK_SAYS("a tag is neither 0 nor 1", fkm_last_error());
    fkm_source_close(source);
    write_npy(options.target, "<i8", "(2,)", two, sizeof two);
    CHECK_STATUS(FKM_EDATA, fkm_source_open(x, &options, &source));
    CHECK_SAYS("x.npy has 3 rows, its targets", fkm_last_error());
    CHECK_SAYS("have 2", fkm_last_error());
    options.target = NULL;
    options.weight = path_in(folder, "y.npy");
    write_npy(options.weight, "<f8", "(3,)", (double[]){1, -1, 0}, 24);
    CHECK_OK(fkm_source_open(x, &options, &source));
    CHECK_STATUS(FKM_EDATA, fkm_source_next(source, 5, &batch));
    CHECK_SAYS("row 1: a weight is negative", fkm_last_error());
    fkm_source_close(source);
    remove_folder(folder);
    CHECK_INT(0, fkmi_memory_held());
}

static fkm_status open_npy(size_t size)
{
    const fkm_source_options options = options_of(FKM_FORMAT_NPY, FKM_TASK_CLUSTER, NULL);
    fkm_source *source;
    const fkm_status status = fkmi_source_open_bytes(npy, size, &options, &source);

    fkm_source_close(source);
    return status;
}

static void check_descr(fkm_status expected, const char *words, const char *descr, const char *shape)
{
    CHECK_STATUS(expected, open_npy(npy_of(descr, shape, six, sizeof six)));
    CHECK_SAYS(words, fkm_last_error());
}

TEST(foreign_arrays_are_refused)
{
    check_descr(FKM_EUNSUPPORTED, "big-endian", ">f4", "(3, 2)");
    check_descr(FKM_EUNSUPPORTED, "holds Python objects", "|O", "(3, 2)");
    check_descr(FKM_EUNSUPPORTED, "elements of type \"<c8\"", "<c8", "(3, 1)");
    check_descr(FKM_EUNSUPPORTED, "elements of type \"\"", "", "(3, 2)");
    check_descr(FKM_EUNSUPPORTED, "0 dimensions", "<f4", "()");
    check_descr(FKM_EUNSUPPORTED, "3 dimensions", "<f4", "(3, 2, 1)");
    check_descr(FKM_EDATA, "rows need a 2-D array", "<f4", "(6,)");
    check_descr(FKM_EDATA, "its header promises", "<f4", "(3, 3)");
    check_descr(FKM_EDATA, "its header promises", "<f4", "(3, 1)");
    check_descr(FKM_EDATA, "its header promises", "<f4", "(2, 2)");
    check_descr(FKM_EDATA, "impossible shape", "<f4", "(4611686018427387904, 4)");
    check_descr(FKM_EDATA, "not understood", "<f4", "(99999999999999999999, 4)");
    check_descr(FKM_EDATA, "not understood", "<f4", "(3)");
    check_descr(FKM_EDATA, "not understood", "<f4", "(-3, 2)");
    check_descr(FKM_EDATA, "not understood", "<f4", "(3, 2), 'x': 1");
    check_descr(FKM_EDATA, "not understood", "<f4", "(3, 2), 'descr': '<f4'");
    check_descr(FKM_EDATA, "not understood", "<f4', 'descr': '<f4", "(3, 2)");
    check_descr(FKM_EDATA, "not understood", "<f4", "[3, 2]");
}

TEST(versions_and_truncations)
{
    char *version = npy + 6;
    size_t size = npy_of("<f4", "(3, 2)", six, sizeof six);

    for (size_t cut = 0; cut < size; cut++)
        CHECK_STATUS(FKM_EDATA, open_npy(cut));
    CHECK_STATUS(FKM_EDATA, open_npy(size + 1));
    CHECK_OK(open_npy(size));
    *version = 4;
    CHECK_STATUS(FKM_EUNSUPPORTED, open_npy(size));
    CHECK_SAYS("version 4.0", fkm_last_error());
    *version = 2; /* four bytes of length */
    memmove(npy + 12, npy + 10, size - 10);
    npy[10] = npy[11] = 0;
    CHECK_OK(open_npy(size + 2));
    npy[11] = 1;
    CHECK_STATUS(FKM_EDATA, open_npy(size + 2));
    CHECK_SAYS("a header of", fkm_last_error());
}

TEST(fortran_order_counts_for_two_dimensions_only)
{
    size_t size = npy_of("<f4", "(3, 2)", six, sizeof six);
    char *order = strstr(npy + 10, "False");

    memcpy(order, "True ", 5);
    CHECK_STATUS(FKM_EUNSUPPORTED, open_npy(size));
    CHECK_SAYS("column-major", fkm_last_error());
    size = npy_of("<f4", "(6,)", six, sizeof six);
    memcpy(strstr(npy + 10, "False"), "True ", 5);
    CHECK_STATUS(FKM_EDATA, open_npy(size)); /* refused for its one dimension */
    CHECK_SAYS("2-D", fkm_last_error());
}

#ifdef FKM_WITH_ZLIB
TEST(a_packed_file_is_streamed)
{
    const char *folder = make_folder();
    char command[256];
    fkm_source *source;
    fkm_batch batch;

    write_npy(path_in(folder, "x.npy"), "<f4", "(3, 2)", six, sizeof six);
    snprintf(command, sizeof command, "gzip -n %s/x.npy", folder);
    if (system(command) != 0)
        test_skip("no gzip command");
    CHECK_OK(fkm_source_open(path_in(folder, "x.npy.gz"), NULL, &source));
    CHECK_OK(fkm_source_next(source, 2, &batch));
    CHECK_NEAR(-3, value_at(&batch, 1, 0), 0);
    CHECK_OK(fkm_source_next(source, 2, &batch));
    CHECK_INT(1, batch.n_rows);
    CHECK_NEAR(5, value_at(&batch, 0, 0), 0);
    CHECK_OK(fkm_source_next(source, 2, &batch));
    CHECK_INT(0, batch.n_rows);
    CHECK_OK(fkm_source_seek(source, "npy 1"));
    CHECK_OK(fkm_source_next(source, 1, &batch));
    CHECK_NEAR(-3, value_at(&batch, 0, 0), 0);
    fkm_source_close(source);
    remove_folder(folder);
}
#endif
