/* sketch_bytes.h — where the bytes of a sketch lie, and what they stand for. SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_SKETCH_BYTES_H
#define FKMI_BACKENDS_SKETCH_BYTES_H

#include "backends/cpu/sketch.h"

#define FKMI_SKETCH_MOST_DIM 65536 /* sums of as many products of bytes fit in 32 bits */

/* Rows of one block: fields of struct fkmi_sketch, from its first tile on. */
struct fkmi_sketch_rows {
    uint8_t *bytes;
    float *unit, *square, *rest;
};
/* Tiles of a block. */
int64_t fkmi_sketch_tiles(const struct fkmi_sketch *sketch);
/* Of a sketch that is kept. */
struct fkmi_sketch_rows fkmi_sketch_block(const struct fkmi_sketch *sketch, int64_t block);
/* Rounds the numbers of the block's i-th row, which are off by at most `error` and 16 units of their length together, to
 * bytes: 4 n_quads of them. */
void fkmi_sketch_round(const struct fkmi_sketch *sketch, const struct fkmi_sketch_rows *rows, int64_t i,
                       const float *numbers, double error, uint8_t *bytes);
/* Lays out n rows of bytes, one after the other, as tile t of the block. */
void fkmi_sketch_place(const struct fkmi_sketch *sketch, const struct fkmi_sketch_rows *rows, int64_t t,
                       int n, const uint8_t *bytes);
/* How far a row of this minimum and a nearer point can be apart, before scaling. */
double fkmi_sketch_chord(const struct fkmi_sketch *sketch, double distance);

#endif
