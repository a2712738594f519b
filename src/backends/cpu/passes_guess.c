/* passes_guess.c — labels for the first pass to begin from: the nearest prototypes by a part of the coordinates.
 *
 * A sixteenth of the coordinates, those that follow each other in which prototypes differ most, costs a sixteenth of a
 * scan. What it finds is the nearest prototype, or one that is hardly farther, wherever coordinates tell about as much as each other; a
 * sample of the rows shows whether they do.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/passes_inside.h"

#include <math.h>
#include <string.h>

#include "backends/cpu/screen_bytes.h"

#define LEAST_DIM    512 /* below, a pass costs as much as a scan */
#define LEAST_K      64
#define SHARE        16 /* of the coordinates: one in so many, */
#define LEAST_SHARE  4  /* but so many, and a multiple of it */
#define ROWS_SAMPLED 256
#define MOST_FARTHER 1.15 /* than the nearest, on average */

struct guess {
    int64_t first, n; /* coordinates */
    void *points;     /* k x n */
    struct fkmi_pack *pack;
};

/* Where the prototypes' variance, as they are mapped, is largest. */
static fkm_status choose_coordinates(struct fkm_context *context, const struct fkmi_pack *pack,
                                     struct guess *guess)
{
    const struct fkmi_vector *vector = &pack->kernels->vector[FKMI_REAL_F64];
    const size_t row_bytes = (size_t)pack->dim * fkmi_dtype_size(pack->dtype);
    double *point = NULL, *sum, *spread, within = 0, most = -1;
    void *memory = NULL;

    FKMI_TRY(fkmi_scratch_take(context, (size_t)(3 * pack->dim) * sizeof *point, &memory));
    point = memory;
    sum = point + pack->dim;
    spread = sum + pack->dim;
    memset(sum, 0, (size_t)(2 * pack->dim) * sizeof *sum);
    for (int64_t j = 0; j < pack->k; j++) {
        vector->load[pack->dtype](point, (const char *)pack->points + (size_t)j * row_bytes, pack->dim);
        for (int64_t d = 0; d < pack->dim; d++) {
            sum[d] += point[d];
            spread[d] += point[d] * point[d];
        }
    }
    for (int64_t d = 0; d < pack->dim; d++)
        spread[d] = (spread[d] - sum[d] * sum[d] / (double)pack->k) *
                    (pack->feature_weights ? pack->feature_weights[d] : 1.0);
    for (int64_t d = 0; d < pack->dim; d++) {
        within += spread[d] - (d < guess->n ? 0 : spread[d - guess->n]);
        if (d + 1 >= guess->n && within > most) {
            most = within;
            guess->first = d + 1 - guess->n;
        }
    }
    fkmi_scratch_give(context, memory);
    return FKM_OK;
}

static fkm_status pack_part(struct fkm_context *context, const struct fkmi_pack *pack, struct guess *guess)
{
    const size_t size = fkmi_dtype_size(pack->dtype), bytes = (size_t)guess->n * size;
    struct fkmi_space space = pack->space;

    space.dim = guess->n;
    space.tuning = NULL;
    if (space.feature_weights)
        space.feature_weights += guess->first;
    FKMI_TRY(fkmi_alloc(&guess->points, pack->k, bytes));
    for (int64_t j = 0; j < pack->k; j++)
        memcpy((char *)guess->points + (size_t)j * bytes,
               (const char *)pack->points + (size_t)(j * pack->dim + guess->first) * size, bytes);
    return fkmi_cpu_pack(context, &space, pack->dtype, guess->points, pack->k, false, &guess->pack);
}

static struct fkmi_rows part_of(const struct fkmi_rows *rows, const struct guess *guess)
{
    struct fkmi_rows part = *rows;

    part.dim = guess->n;
    part.x = (const char *)rows->x + (size_t)guess->first * fkmi_dtype_size(rows->dtype);
    return part;
}

/* How far rows are from what is guessed, on average and compared with the nearest prototype. */
static fkm_status try_sample(struct fkm_context *context, const struct fkmi_rows *rows,
                             const struct fkmi_pass *pass, const struct guess *guess, bool *is_good)
{
    int64_t order[ROWS_SAMPLED];
    int32_t slot[ROWS_SAMPLED], index[ROWS_SAMPLED];
    double guessed[ROWS_SAMPLED], nearest[ROWS_SAMPLED], ratios = 0;
    struct fkmi_scan scan = {.kind = pass->kind,
                             .slot = slot,
                             .class_begin = pass->class_begin,
                             .n_classes = pass->n_classes,
                             .index = index,
                             .distance = nearest};
    struct fkmi_rows base = *rows, sample, part;
    int64_t n = 0;

    for (int64_t i = 0; i < ROWS_SAMPLED; i++) {
        const int64_t row = rows->n * i / ROWS_SAMPLED;

        order[i] = fkmi_row(rows, row);
        slot[i] = pass->slot ? pass->slot[row] : 0;
    }
    base.order = NULL;
    sample = fkmi_rows_pick(&base, order, ROWS_SAMPLED);
    part = part_of(&sample, guess);
    FKMI_TRY(fkmi_cpu_scan(context, &part, guess->pack, &scan));
    FKMI_TRY(fkmi_pass_measure(context, pass->pack, &sample, index, guessed));
    FKMI_TRY(fkmi_cpu_scan(context, &sample, pass->pack, &scan));
    for (int64_t i = 0; i < ROWS_SAMPLED; i++)
        if (nearest[i] > 0 && nearest[i] < (double)INFINITY) {
            ratios += sqrt(guessed[i] / nearest[i]);
            n++;
        }
    *is_good = ratios <= MOST_FARTHER * (double)n;
    return FKM_OK;
}

fkm_status fkmi_pass_guess(struct fkm_context *context, const struct fkmi_passes *passes,
                           const struct fkmi_rows *rows, const struct fkmi_pass *pass, bool *guessed)
{
    const struct fkmi_scan scan = fkmi_pass_scan(pass);
    const int64_t dim = pass->pack->dim, share = dim / SHARE / LEAST_SHARE * LEAST_SHARE;
    struct guess guess = {.n = share > LEAST_SHARE ? share : LEAST_SHARE};
    fkm_status status = FKM_OK;

    *guessed = false;
    if (passes->always ? dim < LEAST_SHARE : dim < LEAST_DIM || pass->pack->k < LEAST_K)
        return FKM_OK;
    FKMI_TRY_GOTO(choose_coordinates(context, pass->pack, &guess));
    FKMI_TRY_GOTO(pack_part(context, pass->pack, &guess));
    FKMI_TRY_GOTO(try_sample(context, rows, pass, &guess, guessed));
    *guessed |= passes->always;
    if (*guessed) {
        const struct fkmi_rows part = part_of(rows, &guess);

        FKMI_TRY_GOTO(fkmi_cpu_scan(context, &part, guess.pack, &scan));
    }
done:
    fkmi_cpu_pack_free(guess.pack);
    fkmi_free(guess.points);
    return status;
}
