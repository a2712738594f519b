/* merge.c — pairs of prototypes of a class that lie near each other become one, nearest first.
 *
 * Every prototype knows the nearest later one of its class, or a distance that this one has at least. In a class of many
 * a scan finds them, which compares few of all pairs.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/interrupt.h"
#include "prototypes/lists.h"
#include "prototypes/maintain.h"

enum { SCANNED_FROM = 64, UNKNOWN = -2 };
#define LEAST_REST 1e-6 /* of a size that must be left when a part of it is subtracted */

struct merging {
    struct fkmi_upkeep *upkeep;
    struct fkm_context *context;
    const struct fkmi_kernels *kernels;
    const fkm_params *params;
    struct fkmi_state *state;
    struct fkmi_space space;
    double below; /* pairs nearer than this merge */
    /* distances from one prototype to those from `first` on, in upkeep->from */
    int64_t centre, first;
};

/* ---- distances */

static void *real_point(const struct merging *m, int64_t j)
{
    if (!m->upkeep->points)
        return fkmi_state_point(m->state, j);
    return (char *)m->upkeep->points + (size_t)(j * m->state->dim) * fkmi_real_size(m->space.real);
}

static double list_entry(const struct fkmi_state *state, int64_t e)
{
    return state->dtype == FKM_DTYPE_F32 ? (double)((const float *)state->lists.value)[e]
                                         : fkmi_dtype_get(state->lists.value, state->dtype, e);
}

static double list_distance(const struct merging *m, int64_t a, int64_t b)
{
    const struct fkmi_lists *lists = &m->state->lists;
    const fkm_metric metric = m->params->metric;
    const int64_t end_a = lists->begin[a + 1], end_b = lists->begin[b + 1];
    double sum = 0, size_a = 0, size_b = 0; /* of the distance, or the product; of squares */

    for (int64_t at_a = lists->begin[a], at_b = lists->begin[b]; at_a < end_a || at_b < end_b;) {
        const int32_t d_a = at_a < end_a ? lists->index[at_a] : INT32_MAX,
                      d_b = at_b < end_b ? lists->index[at_b] : INT32_MAX, d = d_a < d_b ? d_a : d_b;
        const double w = m->state->feature_weights ? m->state->feature_weights[d] : 1;
        const double x = d_a == d ? list_entry(m->state, at_a++) : 0,
                     y = d_b == d ? list_entry(m->state, at_b++) : 0;

        if (metric == FKM_METRIC_COSINE) {
            sum += w * x * y;
            size_a += w * x * x;
            size_b += w * y * y;
        } else {
            sum += metric == FKM_METRIC_L1 ? w * fabs(x - y) : w * (x - y) * (x - y);
        }
    }
    if (metric != FKM_METRIC_COSINE)
        return sum;
    return size_a > 0 && size_b > 0 ? fmax(1 - sum / (sqrt(size_a) * sqrt(size_b)), 0) : 1;
}

/* sum w c^2 of list j, or sum w |c| for l1. */
static double list_size(const struct merging *m, int64_t j)
{
    const struct fkmi_state *state = m->state;
    double size = 0;

    for (int64_t e = state->lists.begin[j]; e < state->lists.begin[j + 1]; e++) {
        const double c = list_entry(state, e),
                     w = state->feature_weights ? state->feature_weights[state->lists.index[e]] : 1;

        size += m->params->metric == FKM_METRIC_L1 ? w * fabs(c) : w * c * c;
    }
    return size;
}

/* To list j from the centre, which is scattered over all columns: what j does not cover of it follows from its size,
 * unless too few digits would be left. */
static double scattered_distance(const struct merging *m, int64_t j)
{
    const struct fkmi_state *state = m->state;
    const fkm_metric metric = m->params->metric;
    const double *centre = m->upkeep->other, size = m->upkeep->size[m->centre];
    double near = 0,
           covered = 0; /* over the entries of j: the distance, or the product; the size of the centre */

    for (int64_t e = state->lists.begin[j]; e < state->lists.begin[j + 1]; e++) {
        const int32_t d = state->lists.index[e];
        const double c = list_entry(state, e), x = centre[d],
                     w = state->feature_weights ? state->feature_weights[d] : 1;

        if (metric == FKM_METRIC_COSINE)
            near += w * c * x;
        else if (metric == FKM_METRIC_L1) {
            near += w * fabs(c - x);
            covered += w * fabs(x);
        } else {
            near += w * (c - x) * (c - x);
            covered += w * x * x;
        }
    }
    if (metric != FKM_METRIC_COSINE)
        return size - covered < LEAST_REST * size ? list_distance(m, m->centre, j) : near + size - covered;
    return size > 0 && m->upkeep->size[j] > 0 ? fmax(1 - near / (sqrt(size) * sqrt(m->upkeep->size[j])), 0)
                                              : 1;
}

static double pair_distance(const struct merging *m, int64_t a, int64_t b)
{
    if (m->state->listed)
        return list_distance(m, a, b);
    return m->kernels->vector[m->space.real].distance[m->params->metric](real_point(m, a), real_point(m, b),
                                                                         m->upkeep->weights, m->state->dim);
}

static fkm_status measure_pairs(void *job, int64_t begin, int64_t end, int thread)
{
    const struct merging *m = job;
    const int64_t n = m->upkeep->n_sampled, k = m->state->k;

    (void)thread;
    for (int64_t i = begin; i < end; i++)
        for (int64_t h = 0; h < i; h++)
            m->upkeep->sample[i * (i - 1) / 2 + h] = pair_distance(m, i * k / n, h * k / n);
    return FKM_OK;
}

static fkm_status find_below(struct merging *m)
{
    const int64_t n = m->upkeep->n_sampled, n_pairs = n * (n - 1) / 2;
    double mean = 0;

    m->below = m->params->merge_threshold;
    if (n_pairs == 0)
        return FKM_OK;
    FKMI_TRY(fkmi_parallel(m->context->pool, n, 16, measure_pairs, m));
    for (int64_t i = 0; i < n_pairs; i++)
        mean += (m->upkeep->sample[i] - mean) / (double)(i + 1);
    if (m->params->relative_merge)
        m->below *= mean;
    if (m->params->percentile_threshold >= 0)
        m->below = fmin(m->below, fkmi_quantile(m->upkeep->sample, n_pairs, m->params->percentile_threshold));
    return FKM_OK;
}

/* ---- partners */

static bool mergeable(const struct merging *m, int64_t j)
{
    return m->upkeep->keep[j] && !m->state->frozen[j];
}

static void find_partner(const struct merging *m, int64_t j, int64_t end)
{
    m->upkeep->partner[j] = -1;
    m->upkeep->partner_distance[j] = INFINITY;
    for (int64_t i = j + 1; i < end && mergeable(m, j); i++) {
        const double d = mergeable(m, i) ? pair_distance(m, j, i) : INFINITY;
        if (d < m->upkeep->partner_distance[j]) {
            m->upkeep->partner_distance[j] = d;
            m->upkeep->partner[j] = (int32_t)i;
        }
    }
}

static fkm_status measure_some(void *job, int64_t begin, int64_t end, int thread)
{
    const struct merging *m = job;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t j = m->first + i;

        if (j == m->centre || !mergeable(m, j))
            m->upkeep->from[i] = INFINITY;
        else
            m->upkeep->from[i] = m->state->listed ? scattered_distance(m, j) : pair_distance(m, m->centre, j);
    }
    return FKM_OK;
}

/* Distances from a to prototypes [first, end), into upkeep->from; infinite to those that cannot merge. */
static fkm_status measure_from(struct merging *m, int64_t a, int64_t first, int64_t end)
{
    const struct fkmi_lists *lists = &m->state->lists;
    fkm_status status;

    m->centre = a;
    m->first = first;
    for (int64_t e = m->state->listed ? lists->begin[a] : 0; m->state->listed && e < lists->begin[a + 1]; e++)
        m->upkeep->other[lists->index[e]] = list_entry(m->state, e);
    status = fkmi_parallel(m->context->pool, end - first, 64, measure_some, m);
    for (int64_t e = m->state->listed ? lists->begin[a] : 0; m->state->listed && e < lists->begin[a + 1]; e++)
        m->upkeep->other[lists->index[e]] = 0;
    return status;
}

/* The partner of a, once distances to the later ones are known. */
static void choose_partner(const struct merging *m, int64_t a, int64_t end)
{
    m->upkeep->partner[a] = -1;
    m->upkeep->partner_distance[a] = INFINITY;
    for (int64_t j = a + 1; j < end; j++)
        if (m->upkeep->from[j - m->first] < m->upkeep->partner_distance[a]) {
            m->upkeep->partner_distance[a] = m->upkeep->from[j - m->first];
            m->upkeep->partner[a] = (int32_t)j;
        }
}

/* The partners of prototypes [begin, end) of whom nothing is known, whatever classes they belong to. */
static fkm_status find_partners(void *job, int64_t begin, int64_t end, int thread)
{
    const struct merging *m = job;
    int64_t c = 0, high = m->state->n_classes;

    (void)thread;
    while (high - c > 1) { /* the last class that begins at or before `begin` */
        const int64_t middle = c + (high - c) / 2;
        if (m->state->class_begin[middle] <= begin)
            c = middle;
        else
            high = middle;
    }
    for (int64_t j = begin; j < end; j++) {
        while (m->state->class_begin[c + 1] <= j)
            c++;
        if (m->upkeep->partner_distance[j] == 0 && m->upkeep->partner[j] == UNKNOWN)
            find_partner(m, j, m->state->class_begin[c + 1]);
    }
    return FKM_OK;
}

/* A class of many: each prototype is a row that asks for the nearest of all others, within reach. */
static fkm_status scan_class(const struct merging *m, int64_t begin, int64_t n)
{
    const struct fkmi_state *state = m->state;
    const struct fkmi_backend *backend = m->context->backend;
    const struct fkmi_lists lists = {state->listed ? state->lists.begin + begin : NULL, state->lists.index,
                                     state->lists.value};
    struct fkmi_rows rows = {.n = n, .dim = state->dim, .dtype = state->dtype};
    struct fkmi_scan scan = {.kind = FKMI_SCAN_OTHER,
                             .n_classes = n,
                             .index = m->upkeep->partner + begin,
                             .distance = m->upkeep->partner_distance + begin};
    struct fkmi_pack *pack = NULL;
    int32_t *slot = NULL;
    int64_t *class_begin = NULL;
    double *within = NULL;
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(fkmi_alloc(&slot, n, sizeof *slot));
    FKMI_TRY_GOTO(fkmi_alloc(&class_begin, n + 1, sizeof *class_begin));
    FKMI_TRY_GOTO(fkmi_alloc(&within, n, sizeof *within));
    for (int64_t i = 0; i < n; i++) {
        slot[i] = (int32_t)i;
        class_begin[i + 1] = i + 1;
        within[i] = m->below;
    }
    scan.slot = slot;
    scan.class_begin = class_begin;
    scan.within = within;
    if (state->listed) {
        rows.values = lists.value;
        rows.indptr = lists.begin;
        rows.indices = lists.index;
        FKMI_TRY_GOTO(backend->pack_lists(m->context, &m->space, state->dtype, &lists, n, true, &pack));
    } else {
        rows.x = fkmi_state_point(state, begin);
        rows.stride = state->dim;
        FKMI_TRY_GOTO(backend->pack(m->context, &m->space, state->dtype, fkmi_state_point(state, begin), n,
                                    false, &pack));
    }
    FKMI_TRY_GOTO(backend->scan(m->context, &rows, pack, &scan));
    for (int64_t j = begin; j < begin + n; j++) {
        int32_t *partner = &m->upkeep->partner[j];

        if (*partner < 0 || !mergeable(m, j)) {
            *partner = -1;
            m->upkeep->partner_distance[j] = INFINITY;
            continue;
        }
        *partner += (int32_t)begin;
        if (*partner < j || !mergeable(m, *partner)) /* then no later one is nearer */
            *partner = UNKNOWN;
    }
done:
    backend->pack_free(pack);
    fkmi_free(slot);
    fkmi_free(class_begin);
    fkmi_free(within);
    return status;
}

static fkm_status find_first_partners(struct merging *m)
{
    const struct fkmi_state *state = m->state;

    for (int64_t c = 0; c < state->n_classes; c++) {
        const int64_t begin = state->class_begin[c], n = state->class_begin[c + 1] - begin;
        fkm_status status = FKM_ENOMEM;

        if (n >= SCANNED_FROM)
            status = scan_class(m, begin, n);
        if (status != FKM_OK && status != FKM_ENOMEM)
            return status;
        for (int64_t j = begin; status != FKM_OK && j < begin + n; j++) { /* pair by pair needs no memory */
            m->upkeep->partner[j] = UNKNOWN;
            m->upkeep->partner_distance[j] = 0;
        }
    }
    return fkmi_parallel(m->context->pool, state->k, 64, find_partners, m);
}

/* ---- two become one */

static double blend(double a, double weight_a, double b, double weight_b)
{
    const double sum = weight_a + weight_b;

    return sum > 0 ? a + weight_b / sum * (b - a) : (a + b) / 2;
}

/* Prototype b goes into a: means by mass, per coordinate where ages say so. */
static void merge_points(const struct merging *m, int64_t a, int64_t b)
{
    struct fkmi_state *state = m->state;
    const int64_t dim = state->dim;
    double *point = m->upkeep->point, *ages = state->ages;

    fkmi_point_load(state, m->kernels, a, point);
    fkmi_point_load(state, m->kernels, b, m->upkeep->other);
    for (int64_t d = 0; d < dim; d++) {
        point[d] = blend(point[d], ages ? ages[a * dim + d] : state->mass[a], m->upkeep->other[d],
                         ages ? ages[b * dim + d] : state->mass[b]);
        if (ages)
            ages[a * dim + d] += ages[b * dim + d];
    }
    if (m->params->normalize_prototypes)
        (void)fkmi_point_normalise(&m->space, point);
    fkmi_point_store(state, m->kernels, a, point);
    if (m->upkeep->points)
        m->kernels->vector[m->space.real].load[state->dtype](real_point(m, a), fkmi_state_point(state, a),
                                                             dim);
}

/* The lists between a and b move up by what a gains: at most the entries of b, whose list is nothing any more. */
static void merge_lists(const struct merging *m, int64_t a, int64_t b)
{
    struct fkmi_state *state = m->state;
    struct fkmi_lists *lists = &state->lists;
    const size_t size = fkmi_dtype_size(state->dtype);
    const int64_t end_a = lists->begin[a + 1], end_b = lists->begin[b + 1];
    double *values = m->upkeep->point;
    int32_t *index = m->upkeep->index;
    int64_t n = 0, gain;

    for (int64_t at_a = lists->begin[a], at_b = lists->begin[b]; at_a < end_a || at_b < end_b; n++) {
        const int32_t d_a = at_a < end_a ? lists->index[at_a] : INT32_MAX,
                      d_b = at_b < end_b ? lists->index[at_b] : INT32_MAX;

        index[n] = d_a < d_b ? d_a : d_b;
        values[n] =
            blend(d_a <= d_b ? fkmi_dtype_get(lists->value, state->dtype, at_a++) : 0, state->mass[a],
                  d_b <= d_a ? fkmi_dtype_get(lists->value, state->dtype, at_b++) : 0, state->mass[b]);
    }
    if (m->params->normalize_prototypes)
        (void)fkmi_list_normalise(&m->space, index, n, values);
    gain = lists->begin[a] + n - end_a;
    memmove(lists->index + end_a + gain, lists->index + end_a,
            (size_t)(lists->begin[b] - end_a) * sizeof *lists->index);
    memmove((char *)lists->value + (size_t)(end_a + gain) * size, (char *)lists->value + (size_t)end_a * size,
            (size_t)(lists->begin[b] - end_a) * size);
    for (int64_t j = a + 1; j <= b; j++)
        lists->begin[j] += gain;
    memcpy(lists->index + lists->begin[a], index, (size_t)n * sizeof *index);
    m->kernels->vector[FKMI_REAL_F64].store[state->dtype](
        (char *)lists->value + (size_t)lists->begin[a] * size, values, n);
}

static void merge_into(const struct merging *m, int64_t a, int64_t b)
{
    struct fkmi_state *state = m->state;
    const int64_t n_targets = state->n_targets;
    const double mass_a = state->mass[a], mass_b = state->mass[b];

    if (state->listed)
        merge_lists(m, a, b);
    else
        merge_points(m, a, b);
    for (int64_t t = 0; t < n_targets && state->targets; t++)
        state->targets[a * n_targets + t] =
            blend(state->targets[a * n_targets + t], mass_a, state->targets[b * n_targets + t], mass_b);
    state->bias[a] = blend(state->bias[a], mass_a, state->bias[b], mass_b);
    state->theta[a] = blend(state->theta[a], mass_a, state->theta[b], mass_b);
    state->mass[a] = mass_a + mass_b;
    if (state->listed)
        m->upkeep->size[a] = list_size(m, a);
    m->upkeep->keep[b] = 0;
}

/* Nearest first. Who has lost its partner looks for another when it may have come to the front, not before
 * (Muellner 2011, "generic" clustering). Interrupted, it leaves the pairs that have merged. */
static fkm_status merge_class(struct merging *m, int64_t begin, int64_t end, int64_t *merged)
{
    int32_t *partner = m->upkeep->partner;
    double *distance = m->upkeep->partner_distance;

    for (;;) {
        int64_t a = begin, b;

        FKMI_TRY(fkmi_check_interrupt());
        for (int64_t j = begin; j < end; j++)
            if (distance[j] < distance[a])
                a = j;
        if (!(distance[a] < m->below))
            return FKM_OK;
        if (partner[a] == UNKNOWN) {
            FKMI_TRY(measure_from(m, a, a + 1, end));
            choose_partner(m, a, end);
            continue;
        }
        b = partner[a];
        merge_into(m, a, b);
        ++*merged;
        partner[b] = -1;
        distance[b] = INFINITY;
        FKMI_TRY(measure_from(m, a, begin, end));
        choose_partner(m, a, end);
        for (int64_t j = begin; j < end; j++) {
            if (j != a && (partner[j] == a || partner[j] == b))
                partner[j] = UNKNOWN;
            if (j < a && (m->upkeep->from[j - begin] < distance[j] ||
                          (m->upkeep->from[j - begin] == distance[j] && partner[j] > a))) {
                distance[j] = m->upkeep->from[j - begin];
                partner[j] = (int32_t)a;
            }
        }
    }
}

/* ---- entry point */

fkm_status fkmi_merge(struct fkmi_upkeep *upkeep, struct fkm_context *context, const fkm_params *params,
                      struct fkmi_state *state, int64_t *merged)
{
    struct merging m = {.upkeep = upkeep,
                        .context = context,
                        .kernels = context->kernels,
                        .params = params,
                        .state = state,
                        .space = fkmi_state_space(state, params->metric)};

    if (upkeep->points)
        m.kernels->vector[m.space.real].load[state->dtype](upkeep->points, state->points,
                                                           state->k * state->dim);
    for (int64_t d = 0; d < state->dim && upkeep->weights; d++)
        fkmi_dtype_set(upkeep->weights, m.space.real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32, d,
                       state->feature_weights[d]);
    for (int64_t j = 0; j < state->k && state->listed; j++)
        upkeep->size[j] = list_size(&m, j);
    if (state->listed)
        memset(upkeep->other, 0, (size_t)state->dim * sizeof *upkeep->other);
    FKMI_TRY(find_below(&m));
    FKMI_TRY(find_first_partners(&m));
    for (int64_t c = 0; c < state->n_classes; c++)
        FKMI_TRY(merge_class(&m, state->class_begin[c], state->class_begin[c + 1], merged));
    return FKM_OK;
}
