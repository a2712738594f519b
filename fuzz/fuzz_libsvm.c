/* fuzz_libsvm.c — libsvm and XMC text. The first byte chooses task, type and base, the second the width.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fkm_source_options options = FKM_SOURCE_OPTIONS_INIT;

    if (size < 2)
        return 0;
    options.format = FKM_FORMAT_LIBSVM;
    options.task = (fkm_task)(data[0] & 3);
    options.dtype = data[0] & 4 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
    options.index_base = (data[0] >> 3 & 3) % 3 - 1;
    options.n_cols = data[1] < 128 ? 0 : data[1] - 127;
    fuzz_source(data + 2, size - 2, &options, 1, 1);
    return 0;
}
