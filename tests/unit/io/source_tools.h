/* source_tools.h — short ways to open bytes and files as sources, for the tests of readers.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_TESTS_UNIT_IO_SOURCE_TOOLS_H
#define FKM_TESTS_UNIT_IO_SOURCE_TOOLS_H

#include <stdlib.h>
#include <unistd.h>

#include "io/open.h"
#include "support/test.h"

static inline fkm_source_options options_of(fkm_format format, fkm_task task, const char *target)
{
    fkm_source_options options = FKM_SOURCE_OPTIONS_INIT;

    options.format = format;
    options.task = task;
    options.target = target;
    return options;
}

static inline fkm_source *source_of(const char *text, const fkm_source_options *options)
{
    fkm_source *source = NULL;

    CHECK_OK(fkmi_source_open_bytes(text, strlen(text), options, &source));
    return source;
}

/* Opening, or else reading the first batch, fails with this status and these words. */
static inline void check_refused(fkm_status expected, const char *words, const char *text,
                                 const fkm_source_options *options)
{
    fkm_source *source = NULL;
    fkm_batch batch;
    fkm_status status = fkmi_source_open_bytes(text, strlen(text), options, &source);

    if (status == FKM_OK)
        status = fkm_source_next(source, 1, &batch);
    while (status == FKM_OK && batch.n_rows > 0)
        status = fkm_source_next(source, 1, &batch);
    fkm_source_close(source);
    CHECK_STATUS(expected, status);
    CHECK_SAYS(words, fkm_last_error());
}

static inline double value_at(const fkm_batch *batch, int64_t row, int64_t column)
{
    const int64_t i = row * (batch->row_stride > 0 ? batch->row_stride : batch->n_cols) + column;

    return batch->dtype == FKM_DTYPE_F64 ? ((const double *)batch->x)[i]
                                         : (double)((const float *)batch->x)[i];
}

/* A folder for this test's files, empty at first; remove_folder empties and removes it. */
static inline const char *make_folder(void)
{
    static char folder[64];

    strcpy(folder, "/tmp/fkm-test-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    return folder;
}

static inline const char *path_in(const char *folder, const char *name)
{
    static char paths[8][128];
    static int next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");

    CHECK(file != NULL);
    CHECK(fwrite(bytes, 1, size, file) == size);
    CHECK(fclose(file) == 0);
}

static inline void remove_folder(const char *folder)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK(system(command) == 0);
}

#endif
