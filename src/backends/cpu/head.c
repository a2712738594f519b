/* head.c — few numbers of a point: where it lies along the directions, and the length of the rest.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/head.h"

#include <math.h>
#include <string.h>

#include "backends/cpu/screen_bytes.h"

enum { LEAST_WIDTH = 16, DIMS_PER_NUMBER = 8 };

int64_t fkmi_head_width(int64_t dim)
{
    int64_t width = dim / DIMS_PER_NUMBER / 4 * 4;

    width = width < LEAST_WIDTH ? LEAST_WIDTH : width > FKMI_HEAD_MOST_WIDTH ? FKMI_HEAD_MOST_WIDTH : width;
    return dim > LEAST_WIDTH ? width : 0;
}

void fkmi_head_carve(struct fkmi_head *head, struct fkmi_carve *carve, const struct fkmi_pack *pack)
{
    const int64_t cols = fkmi_screen_tile(pack)->cols, width = fkmi_head_width(pack->dim);
    const int64_t n_panels = (pack->k - 1) / cols + 1, n_centres = ((n_panels - 1) / cols + 1) * cols;

    head->width = width;
    head->n_quads = width / 4;
    head->n_panels = n_panels;
    head->directions =
        fkmi_carve(carve, ((width - 2) / cols + 1) * cols * pack->dim, sizeof *head->directions);
    head->bytes = fkmi_carve(carve, n_panels * cols * width, 1);
    head->start = fkmi_carve(carve, n_panels * cols, sizeof *head->start);
    head->panels = fkmi_carve(carve, n_panels, sizeof *head->panels);
    head->scale = fkmi_carve(carve, n_panels, sizeof *head->scale);
    head->most_bias = fkmi_carve(carve, n_panels, sizeof *head->most_bias);
    head->centres = fkmi_carve(carve, n_centres * width, sizeof *head->centres);
    head->centre_bias = fkmi_carve(carve, n_centres, sizeof *head->centre_bias);
    head->ball_bias = fkmi_carve(carve, n_centres, sizeof *head->ball_bias);
}

void fkmi_head_find_error(struct fkmi_head *head, const struct fkmi_pack *pack, double skew)
{
    head->skew = skew;
    head->projection = sqrt((double)head->width) * (1 + skew) * fkmi_screen_rounding(pack);
    head->inexact = head->projection + skew + 64 * FKMI_UNIT;
}

/* The square of the tail is a difference: what is uncertain of it becomes a root where the tail is short. */
double fkmi_head_error(const struct fkmi_head *head, double norm, float tail)
{
    const double uncertain = 16 * (head->projection + head->skew) * norm;
    const double short_tail = sqrt(uncertain * norm), long_tail = uncertain * norm / (double)tail;

    return head->inexact * norm + (long_tail < short_tail ? long_tail : short_tail);
}

static float tail_of(const struct fkmi_head *head, double square, double seen)
{
    /* what the directions see of it, at least */
    const double inside = (sqrt(seen) * (1 - 0x1p-18) - head->projection * sqrt(square)) / (1 + head->skew);
    const double left = square - (inside > 0 ? inside * inside : 0.0);

    return left > 0 ? (float)(sqrt(left) * (1 + 0x1p-22)) + 0x1p-100f : 0.0f;
}

void fkmi_head_project(const struct fkmi_head *head, const struct fkmi_pack *pack, const float *staged, int n,
                       float *transposed, float *scores, float *numbers)
{
    static const float no_bias[64];
    const struct fkmi_vector *vector = &pack->kernels->vector[FKMI_REAL_F32];
    const struct fkmi_tile *tile = &pack->kernels->tile[FKM_DTYPE_F32];
    const int64_t cols = tile->cols, width = head->width;
    const void *row[32];

    for (int r = 0; r < n; r++)
        row[r] = staged + r * pack->dim;
    tile->pack(row, n, pack->dim, tile->rows, transposed);
    for (int64_t q = 0; q + 1 < width; q += cols) {
        const int64_t left = width - 1 - q, some = left < cols ? left : cols;

        tile->dot(transposed, head->directions + q * pack->dim, no_bias, pack->dim, scores);
        for (int r = 0; r < n; r++)
            memcpy(numbers + r * width + q, scores + r * cols, (size_t)some * sizeof *numbers);
    }
    for (int r = 0; r < n; r++) {
        const double square = vector->dot(row[r], row[r], NULL, pack->dim) * (1 + fkmi_screen_rounding(pack));

        numbers[(r + 1) * width - 1] =
            tail_of(head, square, vector->dot(numbers + r * width, numbers + r * width, NULL, width - 1));
    }
}

void fkmi_head_nearest(const struct fkmi_head *head, const struct fkmi_pack *pack,
                       const float *const *numbers, int n, float *packed, float *scores, int32_t *panel)
{
    const struct fkmi_tile *tile = &pack->kernels->tile[FKM_DTYPE_F32];
    const int64_t cols = tile->cols, n_groups = (head->n_panels - 1) / cols + 1;
    float best[32];
    const void *row[32];

    for (int r = 0; r < n; r++) {
        best[r] = -INFINITY;
        panel[r] = 0;
        row[r] = numbers[r];
    }
    tile->pack(row, n, head->width, tile->rows, packed);
    for (int64_t g = 0; g < n_groups; g++) {
        tile->dot(packed, head->centres + g * cols * head->width, head->centre_bias + g * cols, head->width,
                  scores);
        for (int r = 0; r < n; r++) {
            const int lane = tile->highest(scores + r * cols);

            if (scores[r * cols + lane] > best[r]) {
                best[r] = scores[r * cols + lane];
                panel[r] = (int32_t)(g * cols + lane);
            }
        }
    }
}

/* ---- panels */

void fkmi_head_fill_panel(struct fkmi_head *head, const struct fkmi_pack *pack,
                          const struct fkmi_byte_panel *whole, const float *norms, const float *numbers,
                          int64_t panel)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t cols = tile->cols, width = head->width, first = panel * cols;
    const int64_t n = pack->k - first < cols ? pack->k - first : cols;
    struct fkmi_byte_panel *facts = &head->panels[panel];
    struct fkmi_quantised all;
    int8_t bytes[64 * FKMI_HEAD_MOST_WIDTH] = {0}, *to = head->bytes + panel * cols * width;
    float *centres = head->centres + first / cols / cols * cols * width;
    double square = 0, radius = 0;

    tile->quantise(numbers, n * width, 127, bytes, &all);
    *facts = (struct fkmi_byte_panel){.bytes = to,
                                      .start = head->start + first,
                                      .scale = whole->scale,
                                      .bias = whole->bias,
                                      .slack = whole->slack};
    head->scale[panel] = all.scale;
    head->most_bias[panel] = -INFINITY;
    for (int64_t lane = 0; lane < cols; lane++) {
        double rest2 = 0, norm2 = 0;
        int32_t sum = 0;

        for (int64_t q = 0; q < width; q++) {
            const int8_t byte = bytes[lane * width + q];
            const double x = lane < n ? (double)numbers[lane * width + q] : 0.0;
            const double e = x - (double)all.scale * byte;

            to[(q / 4 * cols + lane) * 4 + q % 4] = byte;
            rest2 += e * e;
            norm2 += x * x;
            sum += byte;
        }
        head->start[first + lane] = -tile->offset * sum;
        if (lane >= n)
            continue;
        /* |g| twice: of what the directions miss of it, and of the row's */
        facts->rest = fmaxf(facts->rest, fkmi_rounded_up(sqrt(rest2) + head->inexact * (double)norms[lane]));
        facts->size = fmaxf(facts->size, fkmi_rounded_up(fmax(sqrt(norm2), (double)norms[lane])));
        head->most_bias[panel] = fmaxf(head->most_bias[panel], whole->bias[lane]);
    }
    for (int64_t q = 0; q < width; q++) {
        double mean = 0;

        for (int64_t lane = 0; lane < n; lane++)
            mean += (double)numbers[lane * width + q] / (double)n;
        centres[q * cols + panel % cols] = (float)mean;
        square += mean * mean;
    }
    head->centre_bias[panel] = (float)(-square / 2);
    for (int64_t lane = 0; lane < n; lane++) {
        const float *x = numbers + lane * width;
        double off2 = 0;

        for (int64_t q = 0; q < width; q++) {
            const double off = (double)x[q] - (double)centres[q * cols + panel % cols];
            off2 += off * off;
        }
        radius = fmax(radius, sqrt(off2) + fkmi_head_error(head, (double)norms[lane], x[width - 1]));
    }
    head->ball_bias[panel] =
        head->centre_bias[panel] + (float)(square * 0x1p-14) + fkmi_rounded_up(radius * radius);
}

void fkmi_head_pad_centres(struct fkmi_head *head, int64_t cols)
{
    const int64_t n_centres = ((head->n_panels - 1) / cols + 1) * cols;

    for (int64_t c = head->n_panels; c < n_centres; c++) {
        head->centre_bias[c] = -0x1p99f;
        head->ball_bias[c] = -0x1p99f;
        for (int64_t q = 0; q < head->width; q++)
            head->centres[c / cols * cols * head->width + q * cols + c % cols] = 0;
    }
}
