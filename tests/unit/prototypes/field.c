/* field.c — made-up rows, and slow loops over them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unit/prototypes/field.h"

#include <stdlib.h>

static void make_rows(struct field *f, struct naive_random *random)
{
    const struct field_wish *wish = &f->wish;
    const int n = wish->n, dim = wish->dim;

    f->stored = malloc((size_t)(n * dim) * naive_size(wish->dtype));
    f->x = calloc((size_t)(n * dim), sizeof(double));
    f->slot = calloc((size_t)n, sizeof(int32_t));
    for (int i = 0; i < n; i++) {
        f->slot[i] = (int32_t)naive_below(random, wish->classes);
        for (int d = 0; d < dim; d++) {
            const bool empty = wish->csr && naive_uniform(random) < 0.6;
            const double x =
                wish->offset + naive_normal(random) + (d % wish->classes == f->slot[i] ? wish->spread : 0);
            naive_set(f->stored, wish->dtype, i * dim + d, empty ? 0 : x);
            f->x[i * dim + d] = naive_get(f->stored, wish->dtype, i * dim + d);
        }
    }
    f->rows = (struct fkmi_rows){.n = n, .dim = dim, .dtype = wish->dtype, .x = f->stored, .stride = dim};
}

static void make_csr(struct field *f)
{
    const int n = f->wish.n, dim = f->wish.dim;
    int64_t n_values = 0;

    f->indptr = calloc((size_t)n + 1, sizeof(int64_t));
    f->indices = calloc((size_t)(n * dim) + 1, sizeof(int32_t));
    for (int i = 0; i < n; i++) {
        for (int d = 0; d < dim; d++)
            if (f->x[i * dim + d] != 0) {
                naive_set(f->stored, f->wish.dtype, n_values, f->x[i * dim + d]); /* behind what is read */
                f->indices[n_values++] = d;
            }
        f->indptr[i + 1] = n_values;
    }
    f->rows.x = NULL;
    f->rows.values = f->stored;
    f->rows.indptr = f->indptr;
    f->rows.indices = f->indices;
}

static void make_weights(struct field *f, struct naive_random *random)
{
    const int n = f->wish.n, dim = f->wish.dim;
    double sum = 0;

    if (f->wish.weight) {
        f->weight = calloc((size_t)n, sizeof(float));
        for (int i = 0; i < n; i++)
            f->weight[i] = i % 11 == 5 ? 0.0f : (float)(0.5 + naive_uniform(random));
        f->rows.weight = f->weight;
    }
    if (f->wish.mask) {
        f->mask = calloc((size_t)(n * dim), sizeof(float));
        for (int i = 0; i < n * dim; i++)
            f->mask[i] = naive_below(random, 4) == 0 ? 0.0f : naive_below(random, 3) == 0 ? 0.5f : 1.0f;
        for (int i = 0; i < n; i++) { /* one coordinate alone has the same cosine with every prototype */
            int active = 0;
            for (int d = 0; d < dim; d++)
                active += f->mask[i * dim + d] > 0;
            for (int d = 0; d < dim && active == 1; d++)
                f->mask[i * dim + d] = 1;
        }
        f->rows.mask = f->mask;
    }
    if (f->wish.feature_weights) {
        f->w = calloc((size_t)dim, sizeof(double));
        for (int d = 0; d < dim; d++)
            sum += f->w[d] = 0.2 + naive_uniform(random);
        for (int d = 0; d < dim; d++)
            f->w[d] *= dim / sum;
    }
}

static void load_rows(struct field *f)
{
    const int n = f->wish.n, dim = f->wish.dim;

    f->loaded = calloc((size_t)(n * dim), sizeof(double));
    for (int i = 0; i < n; i++) {
        double square = 0, active = 0;
        for (int d = 0; d < dim; d++) {
            const double m = field_mask(f, i, d), a = (f->w ? f->w[d] : 1) * m;
            f->loaded[i * dim + d] = m > 0 ? f->x[i * dim + d] : 0;
            square += a * f->loaded[i * dim + d] * f->loaded[i * dim + d];
            active += a;
        }
        for (int d = 0; d < dim && f->wish.metric == FKM_METRIC_COSINE && square > 0; d++)
            f->loaded[i * dim + d] *= sqrt(active / dim / square);
    }
}

/* Rows of the class stand as prototypes, a little moved so that no distance is 0. */
static void make_state(struct field *f, struct naive_random *random)
{
    const struct field_wish *wish = &f->wish;
    const bool doubles = wish->dtype == FKM_DTYPE_F64;
    double *points = calloc((size_t)(wish->k * wish->dim), sizeof(double));
    float *floats = calloc((size_t)(wish->k * wish->dim), sizeof(float));

    f->state =
        (struct fkmi_state){.dtype = wish->dtype, .dim = wish->dim, .n_targets = wish->targets, .scale = 1};
    if (f->w)
        CHECK_OK(fkmi_copy(&f->state.feature_weights, f->w, wish->dim, sizeof(double)));
    for (int c = 0; c < wish->classes; c++) {
        int row = 0;
        for (int j = 0; j < wish->k; j++) {
            while (row < wish->n && (f->slot[row] != c || field_weight(f, row) == 0))
                row++;
            for (int d = 0; d < wish->dim; d++)
                points[j * wish->dim + d] =
                    (row < wish->n ? f->x[row * wish->dim + d] : wish->offset) + 0.1 * naive_normal(random);
            naive_normalise(f, points + j * wish->dim);
            row++;
        }
        for (int i = 0; i < wish->k * wish->dim; i++)
            floats[i] = (float)points[i];
        CHECK_OK(fkmi_state_add_class(&f->state, f->context->kernels, 100 + c,
                                      doubles ? (void *)points : floats, NULL, wish->k));
    }
    free(points);
    free(floats);
}

void field_make(struct field *f, struct field_wish wish)
{
    struct naive_random random = {wish.seed};
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    const fkm_params standard = FKM_PARAMS_INIT;

    *f = (struct field){.wish = wish, .params = standard};
    f->params.metric = wish.metric;
    f->params.dtype = wish.dtype;
    f->params.repulsion_factor = 0;
    options.n_threads = wish.threads;
    CHECK_OK(fkm_context_create(&options, &f->context));
    make_rows(f, &random);
    make_weights(f, &random);
    load_rows(f);
    if (wish.csr)
        make_csr(f);
    if (wish.targets > 0) {
        f->params.task = FKM_TASK_REGRESS;
        f->values = calloc((size_t)(wish.n * wish.targets), sizeof(double));
        for (int i = 0; i < wish.n * wish.targets; i++)
            f->values[i] = naive_normal(&random);
    }
    make_state(f, &random);
}

void field_free(struct field *f)
{
    fkmi_phase1_free(&f->work, f->context->backend);
    fkmi_state_free(&f->state);
    fkm_context_free(f->context);
    free(f->slot);
    free(f->x);
    free(f->loaded);
    free(f->values);
    free(f->mask);
    free(f->weight);
    free(f->w);
    free(f->stored);
    free(f->indptr);
    free(f->indices);
}

fkm_status field_lloyd(struct field *f, int64_t max_iters, double tol)
{
    int64_t n_passes;

    return fkmi_lloyd(f->context, &f->params, &f->state, &f->work, &f->rows, f->slot, f->values, max_iters,
                      tol, fkmi_random_from(1), NULL, NULL, &n_passes);
}

fkm_status field_ema(struct field *f, uint64_t random, struct fkmi_moved *moved)
{
    return fkmi_ema_batch(f->context, &f->params, &f->state, &f->work, &f->rows, f->slot, f->values,
                          fkmi_random_from(random), moved);
}

double field_point(const struct fkmi_state *state, int64_t j, int64_t d)
{
    return naive_get(state->points, state->dtype, j * state->dim + d);
}

double field_weight(const struct field *f, int64_t i) { return f->weight ? (double)f->weight[i] : 1; }
double field_mask(const struct field *f, int64_t i, int64_t d)
{
    return f->mask ? (double)f->mask[i * f->wish.dim + d] : 1;
}

double *field_points(const struct fkmi_state *state)
{
    double *points = calloc((size_t)(state->k * state->dim) + 1, sizeof(double));

    for (int64_t i = 0; i < state->k * state->dim; i++)
        points[i] = naive_get(state->points, state->dtype, i);
    return points;
}

static bool same(const void *a, const void *b, int64_t n, size_t size)
{
    return (!a && !b) || (a && b && memcmp(a, b, (size_t)n * size) == 0);
}

bool field_same_state(const struct fkmi_state *a, const struct fkmi_state *b)
{
    const int64_t k = a->k, dim = a->dim, m = a->n_targets, c = a->n_classes;

    return a->dtype == b->dtype && dim == b->dim && k == b->k && c == b->n_classes && m == b->n_targets &&
           memcmp(&a->scale, &b->scale, sizeof a->scale) == 0 &&
           same(a->points, b->points, k * dim, naive_size(a->dtype)) &&
           same(a->mass, b->mass, k, sizeof(double)) && same(a->ages, b->ages, k * dim, sizeof(double)) &&
           same(a->targets, b->targets, k * m, sizeof(double)) && same(a->bias, b->bias, k, sizeof(double)) &&
           same(a->theta, b->theta, k, sizeof(double)) && same(a->frozen, b->frozen, k, 1) &&
           same(a->class_label, b->class_label, c, sizeof(int64_t)) &&
           same(a->class_begin, b->class_begin, c + 1, sizeof(int64_t)) &&
           same(a->strata, b->strata, c * m, sizeof(double)) && same(a->alpha, b->alpha, c, sizeof(double)) &&
           same(a->beta, b->beta, c, sizeof(double)) && same(a->threshold, b->threshold, c, sizeof(double)) &&
           same(a->feature_weights, b->feature_weights, dim, sizeof(double));
}

/* ---- oracles */

void naive_assign(const struct field *f, const double *points, const int64_t *begin, int64_t *index,
                  double *distance)
{
    const int dim = f->wish.dim;

    for (int i = 0; i < f->wish.n; i++) {
        index[i] = -1;
        distance[i] = 0;
        if (f->slot[i] >= 0)
            naive_nearest(f->wish.metric, f->loaded + i * dim, points, dim, f->w,
                          f->mask ? f->mask + i * dim : NULL, begin[f->slot[i]], begin[f->slot[i] + 1], 0, 0,
                          1, index + i, distance + i);
    }
}

void naive_normalise(const struct field *f, double *point)
{
    double square = 0;

    if (f->wish.metric != FKM_METRIC_COSINE)
        return;
    for (int d = 0; d < f->wish.dim; d++)
        square += (f->w ? f->w[d] : 1) * point[d] * point[d];
    for (int d = 0; d < f->wish.dim && square > 0; d++)
        point[d] /= sqrt(square);
}

void naive_sums(const struct field *f, const double *share, int64_t k, double *sum, double *age, double *mass)
{
    const int dim = f->wish.dim;

    memset(sum, 0, (size_t)(k * dim) * sizeof *sum);
    memset(age, 0, (size_t)(k * dim) * sizeof *age);
    memset(mass, 0, (size_t)k * sizeof *mass);
    for (int i = 0; i < f->wish.n; i++)
        for (int64_t j = 0; j < k; j++) {
            const double r = share[i * k + j] * field_weight(f, i);
            mass[j] += r;
            for (int d = 0; d < dim; d++) {
                sum[j * dim + d] += r * field_mask(f, i, d) * f->loaded[i * dim + d];
                age[j * dim + d] += r * field_mask(f, i, d);
            }
        }
}
