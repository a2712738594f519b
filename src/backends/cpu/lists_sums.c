/* lists_sums.c — scores of CSR rows against prototypes that are lists, a chunk of prototypes at a time.
 *
 * A row's entries in columns that few prototypes have walk along those columns' lists; then its entries in whole columns
 * are added in registers. Both parts go in the row's order, so a score depends on the row and the prototype alone.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "backends/cpu/cpu.h"

/* The entries of each row in two parts: first those in whole columns. */
void fkmi_block_split(struct fkmi_block *block, const struct fkmi_pack *pack)
{
    const size_t real = fkmi_real_size(pack->space.real);
    const int32_t *whole = pack->columns->whole;

    block->sums_chunk = -1;
    block->part_begin[0] = 0;
    for (int64_t i = 0; i < block->n; i++) {
        const int64_t n = block->n_entries[i];
        int64_t at = block->part_begin[i];

        for (int part = 0; part < 2; part++) {
            for (int64_t e = 0; e < n; e++) {
                const int32_t d = block->indices[i][e];

                if ((whole[d] < 0) != (part == 1))
                    continue;
                block->part_columns[at] = part == 0 ? whole[d] : d;
                memcpy(block->part_values + (size_t)at++ * real,
                       (const char *)block->values[i] + (size_t)e * real, real);
            }
            if (part == 0)
                block->n_whole[i] = at - block->part_begin[i];
        }
        block->part_begin[i + 1] = at;
    }
}

/* What l1 adds for the row's own |x|, which every prototype is at least away where it is 0. */
static double own_part(const struct fkmi_block *block, const struct fkmi_pack *pack, int64_t i)
{
    return pack->space.metric == FKM_METRIC_L1 ? -block->facts[i].size : 0.0;
}

/* Lists lie anywhere: those of the entries to come are asked for while one is walked. */
#define AHEAD 6
FKMI_FETCH void fetch_list(const struct fkmi_list_columns *columns, const uint32_t *begin, int64_t base,
                           int32_t d, size_t entry_size)
{
    const char *at = columns->entries + ((size_t)base + begin[d]) * entry_size,
               *end = columns->entries + ((size_t)base + begin[d + 1]) * entry_size;

    for (int line = 0; line < 4 && at < end; line++, at += 64)
        __builtin_prefetch(at);
}

#define ADD_LISTS(REAL, ENTRY, ABS)                                                                          \
    do {                                                                                                     \
        const struct ENTRY *entries = (const struct ENTRY *)(void *)columns->entries + columns->base[c];     \
        const REAL *x = (const REAL *)(void *)block->part_values, *bias = (const void *)pack->sparse_bias;   \
        REAL *restrict out = (REAL *)(void *)block->sums + i * columns->chunk;                               \
                                                                                                             \
        for (int64_t j = 0; j < n; j++)                                                                      \
            out[j] = bias[first + j] + (REAL)own;                                                            \
        for (int64_t j = n; j < padded; j++)                                                                 \
            out[j] = 0;                                                                                      \
        for (int64_t e = e_begin; e < e_end; e++) {                                                          \
            const struct ENTRY *at = entries + begin[block->part_columns[e]],                                \
                               *end = entries + begin[block->part_columns[e] + 1];                           \
            const REAL v = x[e];                                                                             \
                                                                                                             \
            if (e + AHEAD < e_end)                                                                           \
                fetch_list(columns, begin, columns->base[c], block->part_columns[e + AHEAD], sizeof *at);    \
            if (l1)                                                                                          \
                for (; at < end; at++)                                                                       \
                    out[at->lane] -= ABS(v - at->value) - ABS(at->value) - ABS(v);                           \
            else                                                                                             \
                for (; at < end; at++)                                                                       \
                    out[at->lane] += v * at->value;                                                          \
        }                                                                                                    \
    } while (0)

static void add_lists(struct fkmi_block *block, const struct fkmi_pack *pack, int64_t c, int64_t i, int64_t n,
                      int64_t padded)
{
    const struct fkmi_list_columns *columns = pack->columns;
    const uint32_t *begin = columns->begin + c * (pack->dim + 1);
    const int64_t first = c * columns->chunk, e_begin = block->part_begin[i] + block->n_whole[i],
                  e_end = block->part_begin[i + 1];
    const bool l1 = pack->space.metric == FKM_METRIC_L1;
    const double own = own_part(block, pack, i);

    if (pack->space.real == FKMI_REAL_F64)
        ADD_LISTS(double, fkmi_entry_64, fabs);
    else
        ADD_LISTS(float, fkmi_entry_32, fabsf);
}

void fkmi_block_sums(struct fkmi_block *block, const struct fkmi_pack *pack, int64_t panel)
{
    const struct fkmi_list_columns *columns = pack->columns;
    const struct fkmi_vector *vector = fkmi_pack_vector(pack);
    const size_t real = fkmi_real_size(pack->space.real);
    const int64_t wide = vector->wide, c = panel * pack->tile->cols / columns->chunk;
    const int64_t left = pack->k - c * columns->chunk, n = left < columns->chunk ? left : columns->chunk;
    const int64_t n_panels = (n - 1) / wide + 1;

    if (block->sums_chunk == c)
        return;
    block->sums_chunk = c;
    for (int64_t i = 0; i < block->n; i++)
        add_lists(block, pack, c, i, n, n_panels * wide);
    for (int64_t p = 0; p < n_panels; p++) { /* a panel stays in the cache for all rows */
        const char *at =
            columns->panels + (size_t)((c * columns->chunk / wide + p) * columns->n_whole * wide) * real;

        for (int64_t i = 0; i < block->n; i++)
            (pack->space.metric == FKM_METRIC_L1 ? vector->columns_l1 : vector->columns_dot)(
                block->part_values + (size_t)block->part_begin[i] * real,
                block->part_columns + block->part_begin[i], block->n_whole[i], at,
                block->sums + (size_t)(i * columns->chunk + p * wide) * real);
    }
}
