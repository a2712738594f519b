/* family.inl.h — every loop of one instruction set and the table that names them: the whole of
 * kernels_<isa>.c but for its lanes. Expects ISA, the lanes and runs_here().
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"

#define FKMI_PASTE_(a, b, c, d) a##b##c##d
#define FKMI_PASTE(a, b, c, d)  FKMI_PASTE_(a, b, c, d)

typedef float real_32;
typedef double real_64;
#define V(name)                FKMI_PASTE(v, BITS, _, name) /* v32_fma */
#define VEC                    FKMI_PASTE(v, BITS, , )      /* v32 */
#define REAL                   FKMI_PASTE(real_, BITS, , )  /* float */
#define LANES                  FKMI_PASTE(V, BITS, _LANES, )
#define ROWS                   FKMI_PASTE(V, BITS, _ROWS, )
#define COLS                   (2 * LANES)
#define FN_(name, bits, isa)   name##_f##bits##_##isa
#define FN__(name, bits, isa)  FN_(name, bits, isa)
#define FN(name)               FN__(name, BITS, ISA) /* euclidean_f32_avx2 */
#define FD_(name, dtype, isa)  name##_##dtype##_##isa
#define FD__(name, dtype, isa) FD_(name, dtype, isa)
#define FD(name)               FD__(name, DTYPE, ISA) /* tile_dot_f16_avx2 */

#include "kernels/convert.inl.h"

#define BITS 64
#include "kernels/metrics.inl.h"
#undef BITS

#define BITS 32
#include "kernels/metrics.inl.h"
#include "kernels/screen.inl.h"
#include "kernels/screen_rivals.inl.h"
#include "kernels/vector.inl.h"
#include "kernels/whole_columns.inl.h"
#define DTYPE  f32
#define STORED float
#include "kernels/tile.inl.h"
#define DTYPE  f16
#define STORED uint16_t
#include "kernels/tile.inl.h"
#define DTYPE  bf16
#define STORED uint16_t
#include "kernels/tile.inl.h"
#undef BITS

#define BITS 64
#include "kernels/vector.inl.h"
#include "kernels/whole_columns.inl.h"
#define DTYPE  f64
#define STORED double
#include "kernels/tile.inl.h"
#undef BITS
#include "kernels/tags.inl.h"

#define TILE(bits, dtype)                                                                                    \
    {                                                                                                        \
        .rows = V##bits##_ROWS, .cols = 2 * V##bits##_LANES, .dot = FD__(tile_dot, dtype, ISA),              \
        .l1 = FD__(tile_l1, dtype, ISA), .l1_weighted = FD__(tile_l1_weighted, dtype, ISA),                  \
        .dot_sparse = FD__(dot_sparse, dtype, ISA), .l1_sparse = FD__(l1_sparse, dtype, ISA),                \
        .dot_sparse_f64 = FD__(dot_sparse_f64, dtype, ISA),                                                  \
        .l1_sparse_f64 = FD__(l1_sparse_f64, dtype, ISA), .pack = FN__(pack, bits, ISA),                     \
        .above = FN__(above, bits, ISA), .highest = FN__(highest, bits, ISA),                                \
        .bests = FN__(bests, bits, ISA), .raise = FN__(raise, bits, ISA),                                    \
        .passing = FN__(passing, bits, ISA), .place = FN__(place, bits, ISA),                                \
    }
#define VECTOR(bits)                                                                                         \
    .dot = FN__(dot, bits, ISA),                                                                             \
    .distance = {[FKM_METRIC_COSINE] = FN__(cosine, bits, ISA),                                              \
                 [FKM_METRIC_EUCLIDEAN] = FN__(euclidean, bits, ISA),                                        \
                 [FKM_METRIC_L1] = FN__(l1, bits, ISA)},                                                     \
    .distances = {[FKM_METRIC_COSINE] = FN__(cosine_many, bits, ISA),                                        \
                  [FKM_METRIC_EUCLIDEAN] = FN__(euclidean_many, bits, ISA),                                  \
                  [FKM_METRIC_L1] = FN__(l1_many, bits, ISA)},                                               \
    .of_scores = {[FKM_METRIC_COSINE] = FN__(cosine_of_scores, bits, ISA),                                   \
                  [FKM_METRIC_EUCLIDEAN] = FN__(euclidean_of_scores, bits, ISA),                             \
                  [FKM_METRIC_L1] = FN__(l1_of_scores, bits, ISA)},                                          \
    .transform = FN__(transform, bits, ISA), .add_f64 = FN__(add_f64, bits, ISA),                            \
    .square_f64 = FN__(square_f64, bits, ISA), .add_rows_f64 = FN__(add_rows_f64, bits, ISA),                \
    .add_difference = FN__(add_difference, bits, ISA), .add_differences = FN__(add_differences, bits, ISA),  \
    .add_sign = FN__(add_sign, bits, ISA), .add_scaled = FN__(add_scaled, bits, ISA),                        \
    .add_square = FN__(add_square, bits, ISA), .add_absolute = FN__(add_absolute, bits, ISA),                \
    .adam = FN__(adam, bits, ISA), .wide = WIDE_VECTORS * V##bits##_LANES,                                   \
    .columns_dot = FN__(columns_dot, bits, ISA), .columns_l1 = FN__(columns_l1, bits, ISA)
#define NAME(name) FKMI_PASTE(name, _, ISA, )
#define TEXT_(isa) #isa
#define TEXT(isa)  TEXT_(isa)

const struct fkmi_kernels
    NAME(fkmi_kernels) =
        {
            .isa = TEXT(ISA),
            .runs_here = runs_here,
            .tile = {[FKM_DTYPE_F32] = TILE(32, f32),
                     [FKM_DTYPE_F16] = TILE(32, f16),
                     [FKM_DTYPE_BF16] = TILE(32, bf16),
                     [FKM_DTYPE_F64] = TILE(64, f64)},
            .vector =
                {
                    [FKMI_REAL_F32] =
                        {
                            .load = {[FKM_DTYPE_F32] = NAME(copy_f32),
                                     [FKM_DTYPE_F16] = NAME(load32_f16),
                                     [FKM_DTYPE_BF16] = NAME(load32_bf16),
                                     [FKM_DTYPE_F64] = NAME(narrow_f64)},
                            .store = {[FKM_DTYPE_F32] = NAME(copy_f32),
                                      [FKM_DTYPE_F16] = NAME(store32_f16),
                                      [FKM_DTYPE_BF16] = NAME(store32_bf16),
                                      [FKM_DTYPE_F64] = NAME(widen_f32)},
                            VECTOR(32),
                        },
                    [FKMI_REAL_F64] =
                        {
                            .load = {[FKM_DTYPE_F32] = NAME(widen_f32),
                                     [FKM_DTYPE_F16] = NAME(load64_f16),
                                     [FKM_DTYPE_BF16] = NAME(load64_bf16),
                                     [FKM_DTYPE_F64] = NAME(copy_f64)},
                            .store = {[FKM_DTYPE_F32] = NAME(narrow_f64),
                                      [FKM_DTYPE_F16] = NAME(store64_f16),
                                      [FKM_DTYPE_BF16] = NAME(store64_bf16),
                                      [FKM_DTYPE_F64] = NAME(copy_f64)},
                            VECTOR(64),
                        },
                },
            .asl_lacking = NAME(asl_lacking),
            .bytes = {.runs_here = bytes_run_here,
                      .least_k = BYTES_LEAST_K,
                      .least_coordinates = BYTES_LEAST_COORDINATES,
                      .least_by_place = BYTES_LEAST_BY_PLACE,
                      .least_for_heads = HEADS_LEAST_K,
                      .rows = V32_ROWS,
                      .cols = 2 * V32_LANES,
                      .stride = BYTE_STRIDE,
                      .most = BYTE_MOST,
                      .offset = BYTE_OFFSET,
                      .quantise = NAME(quantise),
                      .screen = NAME(screen),
                      .reaches = NAME(reaches),
                      .scores = NAME(byte_scores),
                      .bounds = NAME(bounds),
                      .rivals = NAME(rivals)},
};
