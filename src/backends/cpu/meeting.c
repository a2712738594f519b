/* meeting.c — distances of sparse rows by the columns they share. SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/meeting.h"

#include <math.h>
#include <string.h>

static int64_t entries_of(const struct fkmi_rows *rows, int64_t i)
{
    const int64_t row = fkmi_row(rows, i);

    return rows->indptr[row + 1] - rows->indptr[row];
}

static double weight_of(const struct fkmi_meeting *meeting, int64_t column)
{
    return meeting->space->feature_weights ? meeting->space->feature_weights[column] : 1.0;
}

/* Entry e of the arrays, as the model sees it. */
static double value_of(const struct fkmi_meeting *meeting, int64_t e)
{
    const struct fkmi_rows *rows = meeting->rows;
    const double value = rows->dtype == FKM_DTYPE_F32 ? (double)((const float *)rows->values)[e]
                                                      : fkmi_dtype_get(rows->values, rows->dtype, e);

    return meeting->space->real == FKMI_REAL_F32 ? (double)(float)value : value;
}

static int64_t places_for(int64_t n_entries)
{
    int64_t n = 16;

    while (n < 2 * n_entries)
        n *= 2;
    return n;
}

static int64_t count_entries(const struct fkmi_rows *rows, const int64_t *drawn, int64_t k)
{
    int64_t n = 0;

    for (int64_t j = 0; j < k; j++)
        n += entries_of(rows, drawn[j]);
    return n;
}

static size_t carve(struct fkmi_meeting *meeting, int64_t n_entries, void *memory)
{
    struct fkmi_carve carve = {memory, 0};

    meeting->column = fkmi_carve(&carve, meeting->n_places, sizeof *meeting->column);
    meeting->begin = fkmi_carve(&carve, meeting->n_places + 1, sizeof *meeting->begin);
    meeting->point = fkmi_carve(&carve, n_entries, sizeof *meeting->point);
    meeting->value = fkmi_carve(&carve, n_entries, sizeof *meeting->value);
    meeting->size = fkmi_carve(&carve, meeting->k, sizeof *meeting->size);
    meeting->root = fkmi_carve(&carve, meeting->k, sizeof *meeting->root);
    return carve.used;
}

size_t fkmi_meeting_size(const struct fkmi_rows *rows, const int64_t *drawn, int64_t k)
{
    const int64_t n_entries = count_entries(rows, drawn, k);
    struct fkmi_meeting meeting = {.k = k, .n_places = places_for(n_entries)};

    return carve(&meeting, n_entries, NULL);
}

/* Where a column stands, or could. */
static int64_t place_of(const struct fkmi_meeting *meeting, int32_t column)
{
    int64_t place = (int64_t)(((uint32_t)column * UINT32_C(2654435769)) >> meeting->shift);

    while (meeting->column[place] != column && meeting->column[place] >= 0)
        place = (place + 1) & (meeting->n_places - 1);
    return place;
}

/* Sum over a row's entries of w v^2, or w |v|, in their order. */
static double size_of(const struct fkmi_meeting *meeting, int64_t i)
{
    const int64_t row = fkmi_row(meeting->rows, i);
    double size = 0;

    for (int64_t e = meeting->rows->indptr[row]; e < meeting->rows->indptr[row + 1]; e++) {
        const double v = value_of(meeting, e), w = weight_of(meeting, meeting->rows->indices[e]);

        size += meeting->space->metric == FKM_METRIC_L1 ? w * fabs(v) : w * v * v;
    }
    return size;
}

void fkmi_meeting_begin(struct fkmi_meeting *meeting, const struct fkmi_space *space,
                        const struct fkmi_rows *rows, const int64_t *drawn, int64_t k, void *memory)
{
    const int64_t n_entries = count_entries(rows, drawn, k), n_places = places_for(n_entries);
    double sum = 0;
    int bits = 0;

    while ((int64_t)1 << bits < n_places)
        bits++;
    *meeting = (struct fkmi_meeting){
        .rows = rows, .space = space, .factor = 1, .k = k, .n_places = n_places, .shift = 32 - bits};
    (void)carve(meeting, n_entries, memory);
    for (int64_t d = 0; space->feature_weights && d < space->dim; d++)
        sum += space->feature_weights[d];
    if (space->feature_weights)
        meeting->factor = sum > 0 ? (double)space->dim / sum : 0.0;
    memset(meeting->column, -1, (size_t)n_places * sizeof *meeting->column);
    memset(meeting->begin, 0, (size_t)(n_places + 1) * sizeof *meeting->begin);
    for (int pass = 0; pass < 2; pass++) { /* counts entries by column, then places them */
        for (int64_t j = 0; j < k; j++) {
            const int64_t row = fkmi_row(rows, drawn[j]);

            for (int64_t e = rows->indptr[row]; e < rows->indptr[row + 1]; e++) {
                const int32_t column = rows->indices[e];
                const int64_t place = place_of(meeting, column);

                meeting->column[place] = column;
                if (pass == 0)
                    meeting->begin[place]++;
                else {
                    const int32_t at = meeting->begin[place]++;

                    meeting->point[at] = (int32_t)j;
                    meeting->value[at] = value_of(meeting, e);
                }
            }
        }
        for (int64_t place = 0, at = 0; pass == 0 && place < n_places; place++) {
            const int32_t n = meeting->begin[place];

            meeting->begin[place] = (int32_t)at;
            at += n;
        }
    }
    memmove(meeting->begin + 1, meeting->begin, (size_t)n_places * sizeof *meeting->begin);
    meeting->begin[0] = 0;
    for (int64_t j = 0; j < k; j++) {
        meeting->size[j] = size_of(meeting, drawn[j]);
        meeting->root[j] = sqrt(meeting->size[j]);
    }
}

/* What the shared columns add: products, or for l1 what |v - c| differs from |v| + |c|. */
static void meet(const struct fkmi_meeting *meeting, int64_t i, double *shared)
{
    const struct fkmi_rows *rows = meeting->rows;
    const int64_t row = fkmi_row(rows, i);
    const bool l1 = meeting->space->metric == FKM_METRIC_L1;

    for (int64_t j = 0; j < meeting->k; j++)
        shared[j] = 0;
    for (int64_t e = rows->indptr[row]; e < rows->indptr[row + 1]; e++) {
        const int64_t place = place_of(meeting, rows->indices[e]);
        double v, w;

        if (meeting->begin[place] == meeting->begin[place + 1])
            continue;
        v = value_of(meeting, e);
        w = weight_of(meeting, rows->indices[e]);
        for (int32_t at = meeting->begin[place]; at < meeting->begin[place + 1]; at++) {
            const double c = meeting->value[at];

            shared[meeting->point[at]] += l1 ? w * (fabs(v) + fabs(c) - fabs(v - c)) : w * v * c;
        }
    }
}

void fkmi_meeting_row(const struct fkmi_meeting *meeting, int64_t i, double *distance)
{
    const double size = size_of(meeting, i), root = sqrt(size);

    meet(meeting, i, distance);
    for (int64_t j = 0; j < meeting->k; j++) {
        double d;

        if (meeting->space->metric == FKM_METRIC_COSINE) {
            d = root > 0 && meeting->root[j] > 0 ? 1 - distance[j] / (root * meeting->root[j]) : 1;
            d = d < 2 ? d : 2;
            distance[j] = d > 0 ? d : 0;
            continue;
        }
        d = meeting->space->metric == FKM_METRIC_L1 ? size + meeting->size[j] - distance[j]
                                                    : size + meeting->size[j] - 2 * distance[j];
        distance[j] = d > 0 ? d * meeting->factor : 0;
    }
}
