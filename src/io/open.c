/* open.c — which reader a file needs, by what the caller says or by its name.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "io/open.h"

#include <stdio.h>
#include <string.h>

#include "base/number.h"

static const struct {
    fkm_format format;
    const char *suffixes[5];
    fkm_status (*open)(struct fkmi_bytes *bytes, const fkm_source_options *options, fkm_source **out);
} formats[] = {
    {FKM_FORMAT_CSV, {".csv"}, fkmi_csv_open},
    {FKM_FORMAT_TSV, {".tsv", ".tab"}, fkmi_tsv_open},
    {FKM_FORMAT_LIBSVM, {".svm", ".libsvm", ".svmlight", ".txt"}, fkmi_libsvm_open},
    {FKM_FORMAT_NPY, {".npy"}, fkmi_npy_open},
};
#define N_FORMATS (sizeof formats / sizeof formats[0])

static bool ends_in(const char *path, size_t length, const char *suffix)
{
    const size_t n = strlen(suffix);

    return length > n && memcmp(path + length - n, suffix, n) == 0;
}

static fkm_format format_by_name(const char *path)
{
    size_t length = strlen(path), i, j;

    if (ends_in(path, length, ".gz"))
        length -= 3;
    for (i = 0; i < N_FORMATS; i++)
        for (j = 0; formats[i].suffixes[j]; j++)
            if (ends_in(path, length, formats[i].suffixes[j]))
                return formats[i].format;
    return FKM_FORMAT_AUTO;
}

fkm_status fkmi_source_options(const fkm_source_options *given, fkm_source_options *options)
{
    *options = (fkm_source_options)FKM_SOURCE_OPTIONS_INIT;
    if (!given)
        return FKM_OK;
    if (given->struct_size < sizeof(size_t) || given->struct_size > sizeof *options)
        return fkmi_fail(FKM_EINVAL,
                         "fkm_source_options has struct_size %zu, this library knows %zu; begin with "
                         "FKM_SOURCE_OPTIONS_INIT",
                         given->struct_size, sizeof *options);
    memcpy(options, given, given->struct_size);
    options->struct_size = sizeof *options;
    if (options->dtype != FKM_DTYPE_F32 && options->dtype != FKM_DTYPE_F64)
        return fkmi_fail(FKM_EINVAL, "source options: dtype %d is neither float32 nor float64",
                         (int)options->dtype);
    if ((int)options->task < FKM_TASK_CLUSTER || options->task > FKM_TASK_REGRESS)
        return fkmi_fail(FKM_EINVAL, "source options: there is no task %d", (int)options->task);
    if (options->header < -1 || options->header > 1)
        return fkmi_fail(FKM_EINVAL, "source options: header is %d, valid: -1, 0, 1", (int)options->header);
    if (options->index_base < -1 || options->index_base > 1)
        return fkmi_fail(FKM_EINVAL, "source options: index_base is %d, valid: -1, 0, 1",
                         (int)options->index_base);
    if (options->n_cols < 0 || options->n_cols > INT32_MAX)
        return fkmi_fail(FKM_EINVAL, "source options: n_cols is %lld, valid: 0 to %d",
                         (long long)options->n_cols, INT32_MAX);
    if (options->missing != FKM_MISSING_ERROR && options->missing != FKM_MISSING_MASK)
        return fkmi_fail(FKM_EINVAL, "source options: there is no missing %d", (int)options->missing);
    if ((options->text == NULL) != (options->vectorizer == NULL))
        return fkmi_fail(FKM_EINVAL, "source options: %s needs a %s", options->text ? "text" : "vectorizer",
                         options->text ? "vectorizer" : "text column");
    if (options->n_class_names < 0)
        return fkmi_fail(FKM_EINVAL, "source options: n_class_names is %lld",
                         (long long)options->n_class_names);
    return FKM_OK;
}

/* Closes bytes on failure. */
static fkm_status open_format(struct fkmi_bytes *bytes, const fkm_source_options *options, fkm_source **out)
{
    const bool is_table = options->format == FKM_FORMAT_CSV || options->format == FKM_FORMAT_TSV;
    fkm_status status = FKM_EINVAL;
    size_t i;

    for (i = 0; i < N_FORMATS && formats[i].format != options->format; i++)
        ;
    if (options->text && i < N_FORMATS && !is_table)
        fkmi_fail(FKM_EINVAL, "%s: only CSV and TSV have text columns", bytes->name);
    else if (i < N_FORMATS)
        status = formats[i].open(bytes, options, out);
    else
        fkmi_fail(FKM_EINVAL, "cannot tell the format of %s by its name: say csv, tsv, libsvm or npy",
                  bytes->name);
    if (status != FKM_OK)
        fkmi_bytes_close(bytes);
    return status;
}

fkm_status fkm_source_open(const char *path, const fkm_source_options *options, fkm_source **out)
{
    fkm_source_options complete;
    struct fkmi_bytes *bytes;

    if (!out)
        return fkmi_fail(FKM_EINVAL, "source open: out is NULL");
    *out = NULL;
    if (!path)
        return fkmi_fail(FKM_EINVAL, "source open: path is NULL");
    FKMI_TRY(fkmi_source_options(options, &complete));
    if (complete.format == FKM_FORMAT_AUTO)
        complete.format = format_by_name(path);
    FKMI_TRY(fkmi_bytes_open(path, &bytes));
    return open_format(bytes, &complete, out);
}

fkm_status fkmi_source_open_bytes(const void *data, size_t size, const fkm_source_options *options,
                                  fkm_source **out)
{
    fkm_source_options complete;
    struct fkmi_bytes *bytes;

    *out = NULL;
    FKMI_TRY(fkmi_source_options(options, &complete));
    FKMI_TRY(fkmi_bytes_open_memory(data, size, "memory", &bytes));
    return open_format(bytes, &complete, out);
}

/* ---- positions */

fkm_status fkmi_position_read(const char *position, const char *word, int n, int64_t *numbers)
{
    const char *at = position;
    int i;

    if (strncmp(at, word, strlen(word)) != 0)
        return fkmi_fail(FKM_EINVAL, "\"%.60s\" is not a position of a %s source", position, word);
    at += strlen(word);
    for (i = 0; i < n; i++) {
        const size_t length = *at == ' ' ? strcspn(at + 1, " ") : 0;

        if (length == 0 || !fkmi_parse_int64(at + 1, length, &numbers[i]) || numbers[i] < 0)
            return fkmi_fail(FKM_EINVAL, "\"%.60s\" is not a position of a %s source", position, word);
        at += 1 + length;
    }
    if (*at)
        return fkmi_fail(FKM_EINVAL, "\"%.60s\" is not a position of a %s source", position, word);
    return FKM_OK;
}

fkm_status fkmi_position_write(char *position, size_t size, const char *word, int n, const int64_t *numbers)
{
    char text[FKMI_POSITION_BYTES];
    int i, length = snprintf(text, sizeof text, "%s", word);

    for (i = 0; i < n; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, " %lld", (long long)numbers[i]);
    if ((size_t)length >= size)
        return fkmi_fail(FKM_EINVAL, "a position needs %d bytes, there are %zu", length + 1, size);
    memcpy(position, text, (size_t)length + 1);
    return FKM_OK;
}
