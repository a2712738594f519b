/* tune.c — measures which way of scanning is fastest for one model's shape.
 *
 * For each kind of scan and each number of rows the ways are tried in turn, several times, and the least time of each
 * counts: whatever else the machine does only adds to it. A choice must be clearly better than the standard one.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/tuning.h"

#include <math.h>

#include "base/interrupt.h"

#define MOST_WORK       ((double)(1 << 25)) /* multiplications of a scan: from here on the standard way is right */
#define LARGE_SCAN      1024                /* rows that stand for "more than 256" */
#define LEAST_REPEATS   3
#define MOST_REPEATS    200
#define NANOSECONDS     200000 /* for one choice, unless fewer repeats would be left */
#define CLEARLY         0.93   /* of the standard time */
#define MOST_FOR_DIRECT 512    /* prototypes times rows of a tile that direct distances may be worth */

static const int64_t rows_of_size[FKMI_N_SIZES] = {1, 16, 256, LARGE_SCAN};
static const int64_t tiles_to_try[] = {2, 6, 12, 24, 40};

struct trial {
    struct fkm_context *context;
    const struct fkmi_space *space;
    fkm_dtype dtype;
    const void *points;
    int64_t k;
    struct fkmi_rows rows;
    struct fkmi_scan scan;
    enum fkmi_tuned kind;
    struct fkmi_pack *pack;
    double standard, best; /* nanoseconds */
};

fkm_status fkmi_tuning_check(const struct fkmi_tuning *tuning)
{
    bool good = tuning->k >= 0 && tuning->k <= INT32_MAX;

    for (int i = 0; i < FKMI_N_TUNED * FKMI_N_SIZES; i++) {
        const struct fkmi_choice *choice = &tuning->choice[i / FKMI_N_SIZES][i % FKMI_N_SIZES];

        good = good && choice->way >= 0 && choice->way < FKMI_N_WAYS && (choice->alone & ~(int64_t)1) == 0 &&
               choice->tiles >= 0 && choice->tiles <= FKMI_MOST_TILES;
    }
    return good ? FKM_OK : fkmi_fail(FKM_EDATA, "the tuning is no measurement");
}

static fkm_status pack_for(struct trial *trial, struct fkmi_choice choice)
{
    struct fkmi_tuning tuning = {.k = trial->k};
    struct fkmi_space space = *trial->space;

    for (int size = 0; size < FKMI_N_SIZES; size++)
        tuning.choice[trial->kind][size] = choice;
    space.tuning = &tuning;
    return trial->context->backend->pack(trial->context, &space, trial->dtype, trial->points, trial->k,
                                         trial->rows.mask != NULL, &trial->pack);
}

/* The least time of a scan by this choice, which becomes *best when it is clearly better. */
static fkm_status try(struct trial *trial, struct fkmi_choice choice, struct fkmi_choice *best)
{
    double least = INFINITY;
    int64_t end;

    FKMI_TRY(pack_for(trial, choice));
    FKMI_TRY(trial->context->backend->scan(trial->context, &trial->rows, trial->pack, &trial->scan));
    end = fkmi_monotonic_nanoseconds() + NANOSECONDS;
    for (int i = 0; i < MOST_REPEATS; i++) {
        const int64_t start = fkmi_monotonic_nanoseconds();

        if (i >= LEAST_REPEATS && start > end)
            break;
        FKMI_TRY(trial->context->backend->scan(trial->context, &trial->rows, trial->pack, &trial->scan));
        least = fmin(least, (double)(fkmi_monotonic_nanoseconds() - start));
    }
    if (trial->standard == 0)
        trial->standard = trial->best = least;
    else if (least < trial->best && least < CLEARLY * trial->standard) {
        trial->best = least;
        *best = choice;
    }
    return FKM_OK;
}

/* One size of one kind: the way first, then threads, then cells. */
static fkm_status tune_size(struct trial *trial, struct fkmi_choice *best)
{
    const int64_t together = trial->context->backend->rows_together(trial->pack);
    const bool direct = trial->k * (trial->rows.n < together ? trial->rows.n : together) <= MOST_FOR_DIRECT;

    trial->standard = 0;
    *best = (struct fkmi_choice){0};
    FKMI_TRY(try(trial, *best, best));
    for (int64_t way = FKMI_WAY_DIRECT; way < FKMI_N_WAYS; way++)
        if (way != FKMI_WAY_DIRECT || direct)
            FKMI_TRY(try(trial, (struct fkmi_choice){.way = way}, best));
    if (fkmi_pool_threads_here(trial->context->pool) > 1) {
        struct fkmi_choice alone = *best;

        alone.alone = 1;
        FKMI_TRY(try(trial, alone, best));
    }
    for (size_t i = 0; i < sizeof tiles_to_try / sizeof *tiles_to_try; i++) {
        struct fkmi_choice cut = *best;

        cut.tiles = tiles_to_try[i];
        if (best->way != FKMI_WAY_DIRECT && (i == 0 || together * tiles_to_try[i - 1] < trial->rows.n))
            FKMI_TRY(try(trial, cut, best));
    }
    return FKM_OK;
}

fkm_status fkmi_tune(struct fkm_context *context, const struct fkmi_space *space, fkm_dtype dtype,
                     const void *points, int64_t k, int64_t top_k, const struct fkmi_rows *rows,
                     struct fkmi_tuning *tuning)
{
    const int64_t most = rows->n < LARGE_SCAN ? rows->n : LARGE_SCAN, width = top_k < k ? top_k : k;
    struct trial trial = {.context = context, .space = space, .dtype = dtype, .points = points, .k = k};
    struct fkmi_tuning measured = {.k = k};
    double *distance = NULL;
    int32_t *index = NULL;
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(fkmi_alloc(&distance, most * width, sizeof *distance));
    FKMI_TRY_GOTO(fkmi_alloc(&index, most * width, sizeof *index));
    trial.rows = *rows;
    FKMI_TRY_GOTO(pack_for(&trial, (struct fkmi_choice){0}));
    for (int kind = 0; kind < FKMI_N_TUNED; kind++)
        for (int size = 0; size < FKMI_N_SIZES; size++) {
            const int64_t n = rows_of_size[size] < rows->n ? rows_of_size[size] : rows->n;

            if ((kind == FKMI_TUNED_TOP_K && width == 1) || fkmi_size_of_scan(n) != size ||
                (double)n * (double)k * (double)space->dim > MOST_WORK)
                continue;
            trial.kind = (enum fkmi_tuned)kind;
            trial.rows = fkmi_rows_slice(rows, 0, n);
            trial.scan =
                (struct fkmi_scan){.kind = kind == FKMI_TUNED_TOP_K ? FKMI_SCAN_TOP_K : FKMI_SCAN_NEAREST,
                                   .top_k = width,
                                   .index = index,
                                   .distance = distance};
            FKMI_TRY_GOTO(tune_size(&trial, &measured.choice[kind][size]));
        }
    *tuning = measured;
done:
    context->backend->pack_free(trial.pack);
    fkmi_free(distance);
    fkmi_free(index);
    return status;
}
