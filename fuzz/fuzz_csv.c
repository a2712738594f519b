/* fuzz_csv.c — CSV and TSV. The first byte chooses task and format, the second how columns are read.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const targets[] = {NULL, "0", "-1", "y", "0,-1", "a, 1", "1", "y,-2"};
    static const char *const weights[] = {NULL, "w", "-1", "1"};
    fkm_source_options options = FKM_SOURCE_OPTIONS_INIT;

    if (size < 2)
        return 0;
    options.task = (fkm_task)(data[0] & 3);
    options.format = data[0] & 4 ? FKM_FORMAT_TSV : FKM_FORMAT_CSV;
    options.missing = data[0] & 8 ? FKM_MISSING_ERROR : FKM_MISSING_MASK;
    options.dtype = data[0] & 16 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
    options.header = (data[0] >> 5 & 3) % 3 - 1;
    options.target = targets[data[1] & 7];
    options.weight = weights[data[1] >> 3 & 3];
    fuzz_source(data + 2, size - 2, &options, 1, 1);
    return 0;
}
