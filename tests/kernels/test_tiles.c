/* test_tiles.c — every tile of every table that runs here, against f64 loops.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "kernels/kernels.h"
#include "support/naive.h"
#include "support/test.h"

enum { DIM_MOST = 70, ROWS_MOST = 32, COLS_MOST = 32 };

enum flavour { PLAIN, ZEROS, TINY, HUGE_VALUES, N_FLAVOURS };

static double draw(struct naive_random *random, enum flavour flavour, bool f64, bool f16)
{
    const double value = naive_normal(random);

    switch (flavour) {
    case ZEROS:
        return naive_below(random, 3) ? 0 : value;
    case TINY:
        return naive_below(random, 2) ? value * (f64 ? 1e-310 : f16 ? 1e-7 : 1e-40) : value * 1e-3;
    case HUGE_VALUES:
        return value * (f64 ? 1e120 : f16 ? 1e4 : 1e15);
    default:
        return value;
    }
}

/* One table's tile of one storage type with operands of one length, in f64 and as the tile wants them. */
struct operands {
    const struct fkmi_tile *tile;
    fkm_dtype dtype, real;
    int64_t dim;
    double *x, *a, *p, *bias; /* rows x dim, rows x dim, cols x dim, cols */
    void *packed_x, *packed_a, *panel, *real_bias, *scores;
    double unit; /* rounding unit of the sums */
};

static void *room(int64_t count, size_t size)
{
    void *memory = NULL;

    if (posix_memalign(&memory, 64, (size_t)count * size + 64) != 0)
        abort();
    memset(memory, 0xff, (size_t)count * size + 64); /* NaN: what is not written shows */
    return memory;
}

static struct operands operands_of(const struct fkmi_kernels *kernels, fkm_dtype dtype, int64_t dim,
                                   enum flavour flavour, struct naive_random *random)
{
    const bool f64 = dtype == FKM_DTYPE_F64;
    struct operands o = {.tile = &kernels->tile[dtype],
                         .dtype = dtype,
                         .real = f64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32,
                         .dim = dim,
                         .unit = f64 ? 0x1p-53 : 0x1p-24};
    const int rows = o.tile->rows, cols = o.tile->cols;

    o.x = room(rows * dim, sizeof(double));
    o.a = room(rows * dim, sizeof(double));
    o.p = room(cols * dim, sizeof(double));
    o.bias = room(cols, sizeof(double));
    o.packed_x = room(rows * dim, naive_size(o.real));
    o.packed_a = room(rows * dim, naive_size(o.real));
    o.panel = room(cols * dim, naive_size(dtype));
    o.real_bias = room(cols, naive_size(o.real));
    o.scores = room(rows * cols, naive_size(o.real));
    for (int64_t d = 0; d < dim; d++) {
        for (int r = 0; r < rows; r++) {
            naive_set(o.packed_x, o.real, d * rows + r, draw(random, flavour, f64, dtype == FKM_DTYPE_F16));
            naive_set(o.packed_a, o.real, d * rows + r, naive_below(random, 4) ? naive_uniform(random) : 0);
            o.x[r * dim + d] = naive_get(o.packed_x, o.real, d * rows + r);
            o.a[r * dim + d] = naive_get(o.packed_a, o.real, d * rows + r);
        }
        for (int j = 0; j < cols; j++) {
            naive_set(o.panel, dtype, d * cols + j, draw(random, flavour, f64, dtype == FKM_DTYPE_F16));
            o.p[j * dim + d] = naive_get(o.panel, dtype, d * cols + j);
        }
    }
    for (int j = 0; j < cols; j++) {
        naive_set(o.real_bias, o.real, j, naive_normal(random));
        o.bias[j] = naive_get(o.real_bias, o.real, j);
    }
    return o;
}

static void drop(struct operands *o)
{
    free(o->x);
    free(o->a);
    free(o->p);
    free(o->bias);
    free(o->packed_x);
    free(o->packed_a);
    free(o->panel);
    free(o->real_bias);
    free(o->scores);
}

static double score(const struct operands *o, int r, int j)
{
    return naive_get(o->scores, o->real, r * o->tile->cols + j);
}

/* `size`: what was added up, in magnitude. */
static void check_score(const struct operands *o, double expected, double size, int r, int j)
{
    CHECK_NEAR(expected, score(o, r, j),
               2 * (double)(o->dim + 4) * o->unit * size +
                   (double)o->dim * (o->real == FKM_DTYPE_F64 ? 5e-324 : 2e-45));
}

typedef void check_fn(const struct operands *o, struct naive_random *random);

static void for_every_tile(check_fn *check)
{
    const struct fkmi_kernels *tables[8];
    const int n = fkmi_kernels_all(tables, 8);
    const struct naive_random same = {7}; /* for every instruction set */
    struct naive_random random = same;

    for (int i = 0; i < n; random = same, i++)
        for (int dtype = 0; dtype < FKMI_N_DTYPES; dtype++)
            for (int64_t dim = 1; dim <= DIM_MOST; dim += dim < 20 ? 1 : 3) {
                struct operands o =
                    operands_of(tables[i], (fkm_dtype)dtype, dim, (enum flavour)(dim % N_FLAVOURS), &random);
                check(&o, &random);
                drop(&o);
            }
}

static void check_dot(const struct operands *o, struct naive_random *random)
{
    (void)random;
    o->tile->dot(o->packed_x, o->panel, o->real_bias, o->dim, o->scores);
    for (int r = 0; r < o->tile->rows; r++)
        for (int j = 0; j < o->tile->cols; j++) {
            double sum = o->bias[j], size = fabs(sum);
            for (int64_t d = 0; d < o->dim; d++) {
                sum += o->x[r * o->dim + d] * o->p[j * o->dim + d];
                size += fabs(o->x[r * o->dim + d] * o->p[j * o->dim + d]);
            }
            check_score(o, sum, size, r, j);
        }
}
TEST(dot_tiles_add_products_to_the_bias) { for_every_tile(check_dot); }

static void check_l1(const struct operands *o, struct naive_random *random)
{
    (void)random;
    for (int weighted = 0; weighted < 2; weighted++) {
        if (weighted)
            o->tile->l1_weighted(o->packed_x, o->packed_a, o->panel, o->dim, o->scores);
        else
            o->tile->l1(o->packed_x, o->panel, o->dim, o->scores);
        for (int r = 0; r < o->tile->rows; r++)
            for (int j = 0; j < o->tile->cols; j++) {
                double sum = 0, size = 0;
                for (int64_t d = 0; d < o->dim; d++) {
                    const double x = o->x[r * o->dim + d], p = o->p[j * o->dim + d];
                    const double a = weighted ? o->a[r * o->dim + d] : 1;
                    sum -= a * fabs(x - p);
                    size += a * (fabs(x) + fabs(p));
                }
                check_score(o, sum, size, r, j);
            }
    }
}
TEST(l1_tiles_subtract_absolute_differences) { for_every_tile(check_l1); }

/* A few entries of the first row, as a sparse row. */
static void check_sparse(const struct operands *o, struct naive_random *random)
{
    int32_t indices[DIM_MOST];
    void *values = room(DIM_MOST, naive_size(o->real)), *a = room(DIM_MOST, naive_size(o->real));
    int64_t n = 0;

    for (int64_t d = 0; d < o->dim; d++) {
        naive_set(a, o->real, d, o->a[d]);
        if (naive_below(random, 3)) {
            indices[n] = (int32_t)d;
            naive_set(values, o->real, n++, o->x[d]);
        }
    }
    for (int kind = 0; kind < 3; kind++) { /* dot, l1, weighted l1 */
        if (kind == 0)
            o->tile->dot_sparse(values, indices, n, o->panel, o->real_bias, o->scores);
        else
            o->tile->l1_sparse(values, indices, n, kind == 2 ? a : NULL, o->panel, o->real_bias, o->scores);
        for (int j = 0; j < o->tile->cols; j++) {
            double sum = o->bias[j], size = fabs(sum);
            for (int64_t e = 0; e < n; e++) {
                const double x = o->x[indices[e]], p = o->p[j * o->dim + indices[e]];
                const double w = kind == 2 ? o->a[indices[e]] : 1;
                sum += kind == 0 ? x * p : -w * (fabs(x - p) - fabs(p));
                size += kind == 0 ? fabs(x * p) : w * (fabs(x) + 2 * fabs(p));
            }
            check_score(o, sum, size, 0, j);
        }
    }
    for (int l1 = 0; l1 < 2; l1++) {
        double *sums = room(o->tile->cols, sizeof *sums);

        (l1 ? o->tile->l1_sparse_f64 : o->tile->dot_sparse_f64)(values, indices, n, o->panel, sums);
        for (int j = 0; j < o->tile->cols; j++) {
            double sum = 0, size = 0;
            for (int64_t e = 0; e < n; e++) {
                const double x = o->x[indices[e]], p = o->p[j * o->dim + indices[e]];
                sum += l1 ? fabs(p) - fabs(x - p) : x * p;
                size += l1 ? fabs(x) + 2 * fabs(p) : fabs(x * p);
            }
            CHECK_NEAR(sums[j], sum, (double)(n + 4) * 0x1p-52 * size);
        }
        free(sums);
    }
    free(values);
    free(a);
}
TEST(sparse_rows_visit_their_entries) { for_every_tile(check_sparse); }

/* The same row in every place of a tile. */
static void check_places(const struct operands *o, struct naive_random *random)
{
    const int rows = o->tile->rows, cols = o->tile->cols;
    const size_t size = naive_size(o->real);

    (void)random;
    for (int64_t d = 0; d < o->dim; d++)
        for (int r = 1; r < rows; r++)
            memcpy((char *)o->packed_x + (size_t)(d * rows + r) * size,
                   (char *)o->packed_x + (size_t)(d * rows) * size, size);
    o->tile->dot(o->packed_x, o->panel, o->real_bias, o->dim, o->scores);
    for (int r = 1; r < rows; r++)
        CHECK(memcmp(o->scores, (char *)o->scores + (size_t)(r * cols) * size, (size_t)cols * size) == 0);
    o->tile->l1(o->packed_x, o->panel, o->dim, o->scores);
    for (int r = 1; r < rows; r++)
        CHECK(memcmp(o->scores, (char *)o->scores + (size_t)(r * cols) * size, (size_t)cols * size) == 0);
}
TEST(a_row_scores_the_same_bits_in_any_place_of_a_tile) { for_every_tile(check_places); }

static void check_pack(const struct operands *o, struct naive_random *random)
{
    const int widths[] = {o->tile->rows, o->tile->cols};
    const size_t size = naive_size(o->real);
    const void *row[COLS_MOST];
    char *source = room(COLS_MOST * o->dim, size);

    for (int64_t i = 0; i < COLS_MOST * o->dim; i++)
        naive_set(source, o->real, i, naive_normal(random));
    for (int w = 0; w < 2; w++) {
        const int width = widths[w], n = (int)naive_below(random, width) + 1;
        char *packed = room(width * o->dim + 1, size);

        for (int r = 0; r < n; r++) /* rows in another order than memory's */
            row[r] = source + (size_t)((n - 1 - r) * o->dim) * size;
        o->tile->pack(row, n, o->dim, width, packed);
        for (int64_t d = 0; d < o->dim; d++)
            for (int r = 0; r < width; r++)
                CHECK(naive_get(packed, o->real, d * width + r) ==
                      (r < n ? naive_get(row[r], o->real, d) : 0));
        CHECK(isnan(naive_get(packed, o->real, width * o->dim))); /* nothing behind the end was written */
        free(packed);
    }
    free(source);
}
TEST(packing_turns_rows_dimension_major) { for_every_tile(check_pack); }

static void check_above(const struct operands *o, struct naive_random *random)
{
    const int rows = o->tile->rows, cols = o->tile->cols;
    void *threshold = room(rows, naive_size(o->real));
    uint32_t lanes[ROWS_MOST], hit, expected_hit = 0;

    for (int i = 0; i < rows * cols; i++) /* few different values: ties */
        naive_set(o->scores, o->real, i,
                  naive_below(random, 20) ? (double)naive_below(random, 9) : (double)NAN);
    for (int r = 0; r < rows; r++)
        naive_set(threshold, o->real, r,
                  naive_below(random, 4) ? (double)naive_below(random, 12) : -(double)INFINITY);
    hit = o->tile->above(o->scores, threshold, lanes);
    for (int r = 0; r < rows; r++) {
        uint32_t expected = 0;
        int first = -1;
        bool has_nan = false;

        for (int j = 0; j < cols; j++) {
            expected |= (uint32_t)(score(o, r, j) > naive_get(threshold, o->real, r)) << j;
            has_nan |= isnan(score(o, r, j));
            if (first < 0 || score(o, r, j) > score(o, r, first))
                first = j;
        }
        CHECK_INT(expected, lanes[r]);
        expected_hit |= (uint32_t)(expected != 0) << r;
        {
            const int highest =
                o->tile->highest((char *)o->scores + (size_t)(r * cols) * naive_size(o->real));
            CHECK(highest >= 0 && highest < cols);
            if (!has_nan)
                CHECK_INT(first, highest);
        }
    }
    CHECK_INT(expected_hit, hit);
    free(threshold);
}
TEST(above_finds_the_lanes_that_beat_a_threshold) { for_every_tile(check_above); }

static void check_lane_places(const struct operands *o, struct naive_random *random)
{
    const int rows = o->tile->rows, cols = o->tile->cols;
    const int64_t m = 1 + naive_below(random, cols);
    const bool alike = naive_below(random, 4) == 0;
    void *peaks = room((int64_t)rows * cols, naive_size(o->real));

    for (int i = 0; i < rows * cols; i++) {
        naive_set(o->scores, o->real, i, alike ? (double)naive_below(random, 5) : naive_normal(random));
        naive_set(peaks, o->real, i, naive_below(random, 2) ? naive_normal(random) : -(double)INFINITY);
    }
    for (int r = 0; r < rows; r++) {
        const char *row = (const char *)o->scores + (size_t)(r * cols) * naive_size(o->real);
        const double place = o->tile->place(row, m);
        int64_t n_least = 0, n_above = 0;

        for (int j = 0; j < cols; j++) {
            n_least += score(o, r, j) >= place;
            n_above += score(o, r, j) > place;
        }
        CHECK(n_least >= m && n_above < m);
        CHECK(o->tile->place(row, cols + 1) == -(double)INFINITY);
    }
    for (int i = 0; i < rows * cols; i++) /* what raise must give, where the tile's own arrays have room */
        naive_set(o->scores, o->real, i, fmax(score(o, i / cols, i % cols), naive_get(peaks, o->real, i)));
    {
        void *scores = room((int64_t)rows * cols, naive_size(o->real));

        memcpy(scores, o->scores, (size_t)(rows * cols) * naive_size(o->real));
        for (int i = 0; i < rows * cols; i += 2) /* half of them come from the scores, half were there */
            naive_set(peaks, o->real, i, -(double)INFINITY);
        o->tile->raise(scores, peaks);
        for (int i = 0; i < rows * cols; i++)
            CHECK(naive_get(peaks, o->real, i) == score(o, i / cols, i % cols));
        free(scores);
    }
    free(peaks);
}
TEST(places_and_peaks_are_those_of_the_lanes) { for_every_tile(check_lane_places); }

/* One row against some panels, whose tiles follow each other; a few numbers are there already. */
static void check_passing(const struct operands *o, struct naive_random *random)
{
    enum { MOST_PANELS = 11 };
    const int rows = o->tile->rows, cols = o->tile->cols;
    const int64_t n_panels = naive_below(random, MOST_PANELS + 1), row = naive_below(random, rows);
    const int before = (int)naive_below(random, 4), first = (int)naive_below(random, 3) * cols;
    const double bar = naive_below(random, 3) ? 1.8 : -1;
    char *scores = room(MOST_PANELS * rows * cols, naive_size(o->real)), *threshold = room(1, sizeof(double));
    char *score_of = room(cols, naive_size(o->real));
    int32_t *index = room(cols, sizeof *index);
    int n = before, found;

    for (int64_t i = 0; i < n_panels * rows * cols; i++) {
        const double value = naive_below(random, 50) ? naive_normal(random) : (double)NAN;

        naive_set(scores, o->real, i, i % (rows * cols) / cols == row ? value : 100.0);
    }
    naive_set(threshold, o->real, 0, bar);
    found = o->tile->passing(scores + (size_t)(row * cols) * naive_size(o->real), n_panels, threshold, first,
                             before, score_of, index);
    for (int64_t panel = 0; panel < n_panels; panel++)
        for (int j = 0; j < cols; j++) {
            const double value = naive_get(scores, o->real, (panel * rows + row) * cols + j);

            if (!(value > naive_get(threshold, o->real, 0)))
                continue;
            if (found <= cols) {
                CHECK_INT(first + panel * cols + j, index[n]);
                CHECK(naive_get(score_of, o->real, n) == value);
            }
            n++;
        }
    CHECK_INT(n <= cols ? n : cols + 1, found);
    free(scores);
    free(threshold);
    free(score_of);
    free(index);
}
TEST(what_passes_a_threshold_is_listed_in_order) { for_every_tile(check_passing); }

/* Lanes of a panel, some left out, cut into classes. */
static void check_bests(const struct operands *o, struct naive_random *random)
{
    const int rows = o->tile->rows, cols = o->tile->cols;
    int32_t begin[COLS_MOST], end[COLS_MOST];
    char *best = room(rows * cols, naive_size(o->real)), *lane = room(rows * cols, naive_size(o->real));
    const bool in_place = naive_below(random, 2);
    double *scores = room(rows * cols, sizeof *scores);
    int n = 0;

    for (int at = (int)naive_below(random, 3); at < cols && n < cols;) {
        begin[n] = at;
        end[n] = at + 1 + (int)naive_below(random, naive_below(random, 3) ? 3 : cols);
        end[n] = end[n] < cols ? end[n] : cols;
        at = end[n++] + (int)naive_below(random, 2);
    }
    for (int i = 0; i < rows * cols; i++) { /* few different values: ties */
        naive_set(o->scores, o->real, i,
                  naive_below(random, 9) ? (double)naive_below(random, 5) : -(double)INFINITY);
        scores[i] = naive_get(o->scores, o->real, i);
    }
    o->tile->bests(o->scores, n, begin, end, best, in_place ? o->scores : lane);
    for (int r = 0; r < rows; r++)
        for (int s = 0; s < n; s++) {
            int at = begin[s];

            for (int j = begin[s]; j < end[s]; j++)
                at = scores[r * cols + j] > scores[r * cols + at] ? j : at;
            CHECK(naive_get(best, o->real, r * cols + s) == scores[r * cols + at]);
            CHECK(naive_get(in_place ? o->scores : lane, o->real, r * cols + s) == (double)at);
        }
    for (int i = 0; i < rows * cols; i++)
        naive_set(o->scores, o->real, i, scores[i]);
    o->tile->bests(o->scores, n, begin, end, lane, NULL);
    for (int r = 0; r < rows; r++)
        for (int s = 0; s < n; s++)
            CHECK(naive_get(best, o->real, r * cols + s) == naive_get(lane, o->real, r * cols + s));
    free(best);
    free(lane);
    free(scores);
}
TEST(the_best_lane_of_each_class_is_its_first_best_one) { for_every_tile(check_bests); }
