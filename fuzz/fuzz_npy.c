/* fuzz_npy.c — .npy files, plain (mapped) or behind gzip (streamed).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fkm_source_options options = FKM_SOURCE_OPTIONS_INIT;
    const int packed = size >= 2 && data[0] == 0x1f && data[1] == 0x8b;

    options.format = FKM_FORMAT_NPY;
    options.task = FKM_TASK_CLUSTER;
    fuzz_source(data, size, &options, 0, !packed); /* a cut-off stream ends earlier in larger batches */
    return 0;
}
