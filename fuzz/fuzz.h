/* fuzz.h — what every fuzz target uses: a check that stops the run, and sources read twice.
 *
 * A target is LLVMFuzzerTestOneInput over arbitrary bytes. replay.c runs the same function over the kept
 * inputs where there is no fuzzer.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_FUZZ_FUZZ_H
#define FKM_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fastkmeans/fastkmeans.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: not so: %s (last message: %s)\n", __FILE__, __LINE__, #condition,        \
                    fkm_last_error());                                                                       \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* Opens the bytes with these options and requires: batches keep their contract, batches of 1 and of 1000 give
 * the same rows and end the same way, and a source that continues at a told position gives the same rows and
 * labels. finite: values must be numbers. The end is compared only when `same_end`. */
void fuzz_source(const void *bytes, size_t size, const fkm_source_options *options, int finite, int same_end);

/* Puts the checksum that a safetensors file of ours should have into the bytes, when they are long enough. */
void fuzz_fix_checksum(uint8_t *bytes, size_t size);

#endif
