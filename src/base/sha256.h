/* sha256.h — FIPS 180-4.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BASE_SHA256_H
#define FKMI_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct fkmi_sha256 {
    uint32_t state[8];
    uint64_t length;
    unsigned char block[64];
};
void fkmi_sha256_begin(struct fkmi_sha256 *hash);
void fkmi_sha256_add(struct fkmi_sha256 *hash, const void *bytes, size_t length);
void fkmi_sha256_end(struct fkmi_sha256 *hash, char hex[65]);

#endif
