/* cpu.h — what this processor and its operating system allow.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BASE_CPU_H
#define FKMI_BASE_CPU_H

#include <stdbool.h>
#include <stddef.h>

bool fkmi_cpu_has_avx2(void);        /* AVX2, FMA, F16C, and the OS saves ymm */
bool fkmi_cpu_has_avx_vnni(void);    /* AVX2, and dot products of bytes in ymm */
bool fkmi_cpu_has_avx512(void);      /* F, BW, DQ, VL, and the OS saves zmm */
bool fkmi_cpu_has_avx512_vnni(void); /* and the dot products of bytes */
bool fkmi_cpu_has_neon_dot(void);    /* 64-bit ARM with dot products of bytes */
size_t fkmi_cpu_l2_bytes(void);      /* per core; 1 MiB when unknown */

#endif
