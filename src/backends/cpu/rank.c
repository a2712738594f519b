/* rank.c — the nearest of the prototypes that somebody proposes for each row, by direct distances.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/cpu.h"

#include "base/interrupt.h"

#define ROWS_OF_A_PART 16

struct ranking {
    const struct fkmi_pack *pack;
    const struct fkmi_rows *rows;
    const int64_t *candidates; /* n x n_candidates */
    int64_t n_candidates, width;
    int32_t *index;
    double *distance;
    char *memory;
    size_t per_thread;
};
struct place { /* of one thread */
    struct fkmi_direct direct;
    struct fkmi_candidate *best;
    int32_t *numbers;
};

static struct place carve(const struct ranking *ranking, struct fkmi_carve *memory)
{
    struct place place;

    fkmi_direct_carve(&place.direct, memory, ranking->pack, ranking->rows, 0);
    place.best = fkmi_carve(memory, ranking->width + 1, sizeof *place.best);
    place.numbers = fkmi_carve(memory, ranking->n_candidates, sizeof *place.numbers);
    return place;
}

/* The candidates of row i that are prototypes, ascending, each once. */
static int64_t collect(const struct ranking *ranking, int64_t i, int32_t *numbers)
{
    const int64_t *given = ranking->candidates + i * ranking->n_candidates;
    int64_t n = 0;

    for (int64_t c = 0; c < ranking->n_candidates; c++) {
        int64_t at = n;

        if (given[c] < 0 || given[c] >= ranking->pack->k)
            continue;
        while (at > 0 && numbers[at - 1] > given[c])
            at--;
        if (at > 0 && numbers[at - 1] == given[c])
            continue;
        for (int64_t move = n++; move > at; move--)
            numbers[move] = numbers[move - 1];
        numbers[at] = (int32_t)given[c];
    }
    return n;
}

static fkm_status rank_rows(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct ranking *ranking = argument;
    struct fkmi_carve memory = {ranking->memory + (size_t)thread * ranking->per_thread, 0};
    struct place place = carve(ranking, &memory);
    const int64_t k = ranking->pack->k, enough = ranking->width < k ? ranking->width : k;

    for (int64_t i = begin; i < end; i++) {
        const int64_t n = collect(ranking, i, place.numbers);
        struct fkmi_shortlist list = {.best = place.best};
        double distance[FKMI_DIRECT_MOST];

        FKMI_TRY(fkmi_check_every(256, i - begin));
        fkmi_direct_row(&place.direct, i);
        if (n < enough)
            fkmi_shortlist_judge_range(&list, ranking->width, &place.direct,
                                       &(struct fkmi_range){0, k, 0, 0});
        for (int64_t c = 0; n >= enough && c < n; c += FKMI_DIRECT_MOST) {
            const int some = n - c < FKMI_DIRECT_MOST ? (int)(n - c) : FKMI_DIRECT_MOST;

            fkmi_direct_distances(&place.direct, place.numbers + c, some, distance);
            for (int j = 0; j < some; j++)
                fkmi_shortlist_keep(&list, ranking->width,
                                    (struct fkmi_candidate){-distance[j], place.numbers[c + j]});
        }
        fkmi_shortlist_write(&list, ranking->width, ranking->index + i * ranking->width,
                             ranking->distance + i * ranking->width);
    }
    return FKM_OK;
}

fkm_status fkmi_cpu_rank(struct fkm_context *context, const struct fkmi_rows *rows,
                         const struct fkmi_pack *pack, const int64_t *candidates, int64_t n_candidates,
                         int64_t width, int32_t *index, double *distance)
{
    fkm_status status = FKM_OK;
    struct ranking ranking = {pack, rows, candidates, n_candidates, width, index, distance, NULL, 0};
    struct fkmi_carve counted = {NULL, 0};
    void *memory = NULL;

    carve(&ranking, &counted);
    ranking.per_thread = counted.used;
    FKMI_TRY_GOTO(
        fkmi_scratch_take(context, (size_t)fkmi_pool_threads(context->pool) * ranking.per_thread, &memory));
    ranking.memory = memory;
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, rows->n, ROWS_OF_A_PART, rank_rows, &ranking));
done:
    fkmi_scratch_give(context, memory);
    return status;
}
