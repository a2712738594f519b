/* open.h — one row per file format, and the reader of bytes in memory that tests and fuzzers use.
 *
 * The text readers hand out the rows before a bad one and fail at the bad one in the next call, so batches of
 * any size see the same rows; the bad row stays next. The .npy reader fails for the batch as a whole.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_IO_OPEN_H
#define FKMI_IO_OPEN_H

#include "data/source.h"
#include "io/bytes.h"

/* The caller's options (or NULL) over the standard ones, checked: older callers know fewer fields. */
fkm_status fkmi_source_options(const fkm_source_options *given, fkm_source_options *options);
/* Each takes `bytes` over once it succeeds; options are complete and checked. */
fkm_status fkmi_csv_open(struct fkmi_bytes *bytes, const fkm_source_options *options, fkm_source **out);
fkm_status fkmi_tsv_open(struct fkmi_bytes *bytes, const fkm_source_options *options, fkm_source **out);
fkm_status fkmi_libsvm_open(struct fkmi_bytes *bytes, const fkm_source_options *options, fkm_source **out);
fkm_status fkmi_npy_open(struct fkmi_bytes *bytes, const fkm_source_options *options, fkm_source **out);

/* data is borrowed until close; options->format must be said. */
fkm_status fkmi_source_open_bytes(const void *data, size_t size, const fkm_source_options *options,
                                  fkm_source **out);

/* Reads "word 12 345": exactly n numbers >= 0 behind the word; FKM_EINVAL otherwise. */
fkm_status fkmi_position_read(const char *position, const char *word, int n, int64_t *numbers);
fkm_status fkmi_position_write(char *position, size_t size, const char *word, int n, const int64_t *numbers);

#endif
