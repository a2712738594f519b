/* test_lists.c — prototypes that are lists: the passes of whole points, bit for bit, and what is done to lists.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unit/prototypes/field.h"

#include <stdlib.h>

#include "base/memory.h"
#include "prototypes/lists.h"
#include "prototypes/seed.h"

/* The same prototypes as lists. */
static void make_lists(struct field *f)
{
    struct fkmi_state listed = {.dtype = f->state.dtype,
                                .dim = f->state.dim,
                                .n_targets = f->state.n_targets,
                                .scale = f->state.scale,
                                .listed = true};
    const size_t real = fkmi_real_size(fkmi_real_of(f->state.dtype));

    CHECK_OK(fkmi_copy(&listed.feature_weights, f->state.feature_weights, f->state.dim, sizeof(double)));
    for (int64_t c = 0; c < f->state.n_classes; c++) {
        const int64_t begin = f->state.class_begin[c], k = f->state.class_begin[c + 1] - begin;
        void *points = calloc((size_t)(k * f->state.dim), real);

        f->context->kernels->vector[fkmi_real_of(f->state.dtype)].load[f->state.dtype](
            points, fkmi_state_point(&f->state, begin), k * f->state.dim);
        CHECK_OK(fkmi_state_add_class(&listed, f->context->kernels, f->state.class_label[c], points,
                                      f->state.targets ? f->state.targets + begin * f->state.n_targets : NULL,
                                      k));
        free(points);
    }
    memcpy(listed.frozen, f->state.frozen, (size_t)f->state.k);
    fkmi_state_free(&f->state);
    f->state = listed;
}

static void check_same_points(const struct fkmi_state *whole, const struct fkmi_state *listed)
{
    double *point = calloc((size_t)whole->dim, sizeof *point);

    CHECK(listed->listed && !whole->listed);
    CHECK_INT(listed->k, whole->k);
    for (int64_t j = 0; j < whole->k && j < listed->k; j++) {
        fkmi_state_load(listed, j, point);
        for (int64_t d = 0; d < whole->dim; d++)
            CHECK_NEAR(point[d], field_point(whole, j, d), 0);
        CHECK_NEAR(listed->mass[j], whole->mass[j], 0);
        for (int64_t e = listed->lists.begin[j]; e + 1 < listed->lists.begin[j + 1]; e++)
            CHECK(listed->lists.index[e] < listed->lists.index[e + 1]);
    }
    for (int64_t i = 0; i < whole->k * whole->n_targets; i++)
        CHECK_NEAR(listed->targets[i], whole->targets[i], 1e-6 * (1 + fabs(whole->targets[i])));
    CHECK_NEAR(listed->scale, whole->scale, 1e-9 * whole->scale);
    free(point);
}

struct case_of {
    double repulsion, min_weight, truncation;
    int64_t max_iters;
    double merge, percentile; /* 0: none */
    bool relative;
};

static void set_merging(fkm_params *params, double merge, double percentile, bool relative)
{
    params->merge_threshold = merge > 0 ? merge : -1;
    params->percentile_threshold = percentile > 0 ? percentile : -1;
    params->relative_merge = relative;
}

static void check_passes(struct field_wish wish, struct case_of how)
{
    struct field whole, listed;
    struct field *const both[] = {&whole, &listed};

    wish.csr = true;
    field_make(&whole, wish);
    field_make(&listed, wish);
    make_lists(&listed);
    for (int i = 0; i < 2; i++) {
        both[i]->params.repulsion_factor = how.repulsion;
        both[i]->params.min_weight = how.min_weight;
        both[i]->params.sparse = how.truncation > 0;
        both[i]->params.truncation_threshold = how.truncation;
        set_merging(&both[i]->params, how.merge, how.percentile, how.relative);
        both[i]->state.frozen[1] = 1;
        CHECK_OK(field_lloyd(both[i], how.max_iters, 0));
    }
    if (how.merge > 0)
        CHECK(whole.state.k < (int64_t)wish.classes * wish.k);
    check_same_points(&whole.state, &listed.state);
    field_free(&whole);
    field_free(&listed);
}

TEST(passes_give_the_bits_of_whole_points)
{
    for (int metric = 0; metric < 3; metric++)
        for (int dtype = 0; dtype < FKMI_N_DTYPES; dtype++)
            for (int weights = 0; weights < 2; weights++)
                check_passes((struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric,
                                                 .dtype = (fkm_dtype)dtype, .dim = 70, .weight = weights,
                                                 .feature_weights = weights, .seed = 5},
                             (struct case_of){.max_iters = 6});
}

TEST(passes_push_like_those_of_whole_points)
{
    for (int metric = 0; metric < 3; metric++)
        check_passes((struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric, .dim = 9, .spread = 0.3,
                                         .weight = true},
                     (struct case_of){.max_iters = 5, .repulsion = 0.2});
}

TEST(prototypes_without_rows_move_as_whole_ones_do)
{
    for (uint64_t seed = 1; seed < 12; seed++)
        check_passes(
            (struct field_wish){FIELD_WISH, .metric = FKM_METRIC_COSINE, .n = 40, .k = 9, .seed = seed},
            (struct case_of){.max_iters = 4});
}

/* Distances of lists are 0 where those of whole points are rounding: other rows may be the farthest. */
TEST(prototypes_without_rows_find_some_as_well)
{
    for (int metric = 1; metric < 3; metric++)
        for (uint64_t seed = 1; seed < 12; seed++) {
            const struct field_wish wish = {
                FIELD_WISH, .metric = (fkm_metric)metric, .csr = true, .n = 40, .k = 9, .seed = seed};
            struct field f;
            double light = 0;

            field_make(&f, wish);
            make_lists(&f);
            CHECK_OK(field_lloyd(&f, 8, 0));
            for (int64_t j = 0; j < f.state.k; j++)
                light += !(f.state.mass[j] > 0);
            CHECK_INT((int64_t)light, 0);
            field_free(&f);
        }
}

TEST(light_prototypes_and_small_coordinates_go)
{
    for (int metric = 0; metric < 3; metric++)
        check_passes(
            (struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric, .dim = 20, .n = 60, .k = 8},
            (struct case_of){.max_iters = 3, .min_weight = 3, .truncation = 0.3});
}

TEST(near_prototypes_merge_like_whole_ones)
{
    for (int metric = 0; metric < 3; metric++)
        for (int dtype = 0; dtype < FKMI_N_DTYPES; dtype++)
            for (int weights = 0; weights < 2; weights++) {
                struct field_wish wish = {FIELD_WISH,
                                          .metric = (fkm_metric)metric,
                                          .dtype = (fkm_dtype)dtype,
                                          .dim = 30,
                                          .k = 12,
                                          .weight = weights,
                                          .feature_weights = weights,
                                          .seed = 5};

                check_passes(wish, (struct case_of){.max_iters = 3, .merge = 0.7, .relative = true});
                check_passes(wish, (struct case_of){
                                       .max_iters = 3, .merge = 1e9, .percentile = 0.2, .truncation = 0.2});
                wish.k = 80; /* found by scans */
                wish.n = 400;
                check_passes(wish, (struct case_of){.max_iters = 2, .merge = 0.5, .relative = true});
            }
}

TEST(targets_follow_the_cells)
{
    check_passes((struct field_wish){FIELD_WISH, .targets = 2, .dim = 8}, (struct case_of){.max_iters = 4});
}

TEST(one_class_is_searched_by_column)
{
    check_passes((struct field_wish){FIELD_WISH, .classes = 1, .k = 11, .dim = 30, .n = 300},
                 (struct case_of){.max_iters = 5});
}

TEST(threads_change_no_bit)
{
    struct field_wish wish = {FIELD_WISH, .csr = true, .n = 500, .dim = 40, .k = 6, .spread = 0.5};
    struct field one, many;

    field_make(&one, wish);
    wish.threads = 5;
    field_make(&many, wish);
    make_lists(&one);
    make_lists(&many);
    one.params.repulsion_factor = many.params.repulsion_factor = 0.1;
    CHECK_OK(field_lloyd(&one, 6, 0));
    CHECK_OK(field_lloyd(&many, 6, 0));
    CHECK_INT(one.state.lists.begin[one.state.k], many.state.lists.begin[many.state.k]);
    CHECK(memcmp(one.state.lists.value, many.state.lists.value,
                 (size_t)one.state.lists.begin[one.state.k] * sizeof(double)) == 0);
    field_free(&one);
    field_free(&many);
}

TEST(a_copy_and_points_say_the_same_as_lists)
{
    struct field whole, listed;
    struct fkmi_state copy;
    const struct field_wish wish = {FIELD_WISH, .csr = true, .dim = 17};

    field_make(&whole, wish);
    field_make(&listed, wish);
    make_lists(&listed);
    CHECK_OK(fkmi_state_copy(&copy, &listed.state));
    check_same_points(&whole.state, &copy);
    CHECK_OK(fkmi_state_need_points(&copy));
    CHECK(!copy.listed && copy.lists.begin == NULL);
    CHECK(memcmp(copy.points, whole.state.points, (size_t)(copy.k * copy.dim) * sizeof(double)) == 0);
    fkmi_memory_fail(1, 0);
    CHECK_INT(fkmi_state_need_points(&listed.state), FKM_ENOMEM);
    fkmi_memory_fail(0, 0);
    CHECK(strstr(fkm_last_error(), "12 prototypes of 17 features") != NULL);
    check_same_points(&whole.state, &listed.state);
    fkmi_state_free(&copy);
    field_free(&whole);
    field_free(&listed);
}

/* ---- batches of a stream */

struct stream_of {
    double decay, repulsion, min_weight, truncation;
    bool unit;
    double merge, percentile;
};

/* Batches of other rows each time: the first ones, then more and more. */
static void next_batch(struct field *f, int t, struct fkmi_moved *moved)
{
    f->rows.n = f->wish.n * (t + 1) / 6;
    CHECK_OK(field_ema(f, (uint64_t)t, moved));
}

static void start_stream(struct field *f, struct stream_of how)
{
    f->params.decay = how.decay;
    f->params.repulsion_factor = how.repulsion;
    f->params.min_weight = how.min_weight;
    f->params.sparse = how.truncation > 0;
    f->params.truncation_threshold = how.truncation;
    f->params.normalize_prototypes = how.unit;
    set_merging(&f->params, how.merge, how.percentile, false);
    f->state.frozen[1] = 1;
}

static void check_stream(struct field_wish wish, struct stream_of how)
{
    struct field whole, listed;

    wish.csr = true;
    field_make(&whole, wish);
    field_make(&listed, wish);
    make_lists(&listed);
    start_stream(&whole, how);
    start_stream(&listed, how);
    for (int t = 0; t < 6; t++) {
        struct fkmi_moved a, b;

        next_batch(&whole, t, &a);
        next_batch(&listed, t, &b);
        check_same_points(&whole.state, &listed.state);
        CHECK_INT(a.merged, b.merged);
        CHECK_NEAR(a.shift, b.shift, 1e-5 * (1 + a.shift));
        CHECK_NEAR(a.mean_distance, b.mean_distance, 1e-6 * (1 + a.mean_distance));
    }
    if (how.merge > 0)
        CHECK(whole.state.k < (int64_t)wish.classes * wish.k);
    field_free(&whole);
    field_free(&listed);
}

TEST(batches_give_the_bits_of_whole_points)
{
    for (int metric = 0; metric < 3; metric++)
        for (int dtype = 0; dtype < FKMI_N_DTYPES; dtype++)
            for (int weights = 0; weights < 2; weights++)
                check_stream(
                    (struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric, .dtype = (fkm_dtype)dtype,
                                        .dim = 70, .weight = weights, .feature_weights = weights, .seed = 5},
                    (struct stream_of){.decay = weights ? 0.9 : 1, .unit = true, .min_weight = 1e-3});
}

TEST(batches_push_like_those_of_whole_points)
{
    for (int metric = 0; metric < 3; metric++)
        for (int unit = 0; unit < 2; unit++)
            check_stream((struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric, .dim = 9,
                                             .spread = 0.3, .weight = true},
                         (struct stream_of){.decay = 1, .repulsion = 0.2, .unit = unit, .min_weight = 1e-3});
}

TEST(dead_prototypes_split_others_as_whole_ones_do)
{
    for (int metric = 0; metric < 3; metric++)
        for (uint64_t seed = 1; seed < 10; seed++)
            check_stream((struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric, .k = 9, .seed = seed},
                         (struct stream_of){.decay = 0.3, .min_weight = 0.5, .unit = true});
}

TEST(batches_prune_and_truncate_like_those_of_whole_points)
{
    for (int metric = 0; metric < 3; metric++)
        check_stream((struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric, .dim = 20, .k = 8},
                     (struct stream_of){.decay = 0.8, .min_weight = 2, .truncation = 0.3, .unit = true});
}

TEST(batches_merge_like_those_of_whole_points)
{
    for (int metric = 0; metric < 3; metric++)
        for (int k = 8; k < 100; k *= 10)
            check_stream(
                (struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric, .dim = 20, .k = k, .n = 300},
                (struct stream_of){.decay = 0.8,
                                   .min_weight = 1e-3,
                                   .truncation = 0.3,
                                   .unit = true,
                                   .merge = 1e9,
                                   .percentile = 0.1});
}

TEST(targets_and_one_class_follow_batches)
{
    check_stream((struct field_wish){FIELD_WISH, .targets = 2, .dim = 8},
                 (struct stream_of){.decay = 0.9, .min_weight = 1e-3});
    check_stream((struct field_wish){FIELD_WISH, .classes = 1, .k = 11, .dim = 30, .n = 300},
                 (struct stream_of){.decay = 1, .min_weight = 1e-3});
}

TEST(threads_change_no_bit_of_a_batch)
{
    struct field_wish wish = {FIELD_WISH, .csr = true, .n = 500, .dim = 40, .k = 6, .spread = 0.5};
    const struct stream_of how = {.decay = 0.9, .repulsion = 0.1, .min_weight = 1e-3, .unit = true};
    struct field one, many;

    field_make(&one, wish);
    make_lists(&one);
    start_stream(&one, how);
    for (wish.threads = 2; wish.threads <= 16; wish.threads *= 2) {
        struct fkmi_moved moved;

        field_make(&many, wish);
        make_lists(&many);
        start_stream(&many, how);
        for (int t = 0; t < 4; t++) {
            if (wish.threads == 2)
                next_batch(&one, t, &moved);
            next_batch(&many, t, &moved);
        }
        CHECK_INT(one.state.lists.begin[one.state.k], many.state.lists.begin[many.state.k]);
        CHECK(memcmp(one.state.lists.value, many.state.lists.value,
                     (size_t)one.state.lists.begin[one.state.k] * sizeof(double)) == 0);
        CHECK(memcmp(one.state.mass, many.state.mass, (size_t)one.state.k * sizeof(double)) == 0);
        field_free(&many);
    }
    field_free(&one);
}

TEST(a_failed_batch_of_lists_moves_nothing)
{
    const struct field_wish wish = {FIELD_WISH, .csr = true, .dim = 40, .targets = 2, .threads = 2};
    struct field f;
    struct fkmi_state before;
    fkm_status status = FKM_ENOMEM;

    field_make(&f, wish);
    make_lists(&f);
    start_stream(&f, (struct stream_of){.decay = 0.3, .repulsion = 0.1, .min_weight = 0.5});
    CHECK_OK(fkmi_state_copy(&before, &f.state));
    for (int64_t n = 1; status != FKM_OK; n++) {
        struct fkmi_moved moved;
        const int64_t k = f.state.k;

        fkmi_memory_fail(n, 0);
        status = field_ema(&f, 1, &moved);
        fkmi_memory_fail(0, 0);
        CHECK(status == FKM_OK || status == FKM_ENOMEM);
        if (status == FKM_OK)
            break;
        CHECK(memcmp(before.lists.begin, f.state.lists.begin, (size_t)(k + 1) * sizeof(int64_t)) == 0);
        CHECK(memcmp(before.lists.value, f.state.lists.value,
                     (size_t)before.lists.begin[k] * sizeof(double)) == 0);
        CHECK(memcmp(before.mass, f.state.mass, (size_t)k * sizeof(double)) == 0);
    }
    fkmi_state_free(&before);
    field_free(&f);
}

static bool same_lists(const struct fkmi_state *a, const struct fkmi_state *b)
{
    const int64_t n = a->lists.begin[a->k];

    return memcmp(a->lists.begin, b->lists.begin, (size_t)(a->k + 1) * sizeof *a->lists.begin) == 0 &&
           memcmp(a->lists.index, b->lists.index, (size_t)n * sizeof *a->lists.index) == 0 &&
           memcmp(a->lists.value, b->lists.value, (size_t)n * fkmi_dtype_size(a->dtype)) == 0;
}

TEST(pairs_merge_without_memory_to_scan_for_them)
{
    const struct field_wish wish = {FIELD_WISH, .csr = true, .dim = 40, .k = 80, .n = 400};
    const struct stream_of how = {
        .decay = 1, .min_weight = 1e-3, .unit = true, .merge = 1e9, .percentile = 0.1};
    struct fkmi_moved moved;
    struct field first;
    int64_t n_done = 0;

    field_make(&first, wish);
    make_lists(&first);
    start_stream(&first, how);
    CHECK_OK(field_ema(&first, 1, &moved));
    CHECK(moved.merged > 10);
    for (int64_t n = 1; n_done < 20;
         n++) { /* the last ones that fail are those of the scan, and then none does */
        struct field f;

        field_make(&f, wish);
        make_lists(&f);
        start_stream(&f, how);
        fkmi_memory_fail(n, 0);
        if (field_ema(&f, 1, &moved) == FKM_OK) {
            n_done++;
            CHECK(field_same_state(&first.state, &f.state) && same_lists(&first.state, &f.state));
        }
        fkmi_memory_fail(0, 0);
        field_free(&f);
    }
    field_free(&first);
}

TEST(a_steady_stream_of_lists_holds_no_more)
{
    const struct field_wish wish = {FIELD_WISH, .csr = true, .dim = 40};
    struct field f;
    struct fkmi_moved moved;
    size_t held;

    field_make(&f, wish);
    make_lists(&f);
    start_stream(&f, (struct stream_of){.decay = 1, .repulsion = 0.1, .min_weight = 1e-3, .unit = true});
    for (int t = 0; t < 4; t++)
        CHECK_OK(field_ema(&f, 1, &moved));
    held = fkmi_memory_held();
    for (int t = 0; t < 10; t++)
        CHECK_OK(field_ema(&f, 1, &moved));
    CHECK_INT((int64_t)held, (int64_t)fkmi_memory_held());
    field_free(&f);
}

/* ---- seeds */

TEST(seeds_are_different_rows_that_lie_apart)
{
    for (int metric = 0; metric < 3; metric++) {
        double total = 0, at_random = 0;

        for (uint64_t seed = 1; seed < 8; seed++) {
            struct field f;
            struct fkmi_space space;
            int64_t pick[8], found;

            field_make(&f, (struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric, .csr = true, .n = 90,
                                               .dim = 12, .spread = 6, .seed = seed});
            space = fkmi_state_space(&f.state, f.wish.metric);
            CHECK_OK(fkmi_seed_rows(f.context, &space, &f.rows, FKM_INIT_KMEANSPP, 6, fkmi_random_from(seed),
                                    FKMI_SCREEN_IF_WORTH, pick, &found));
            CHECK_INT(found, 6);
            for (int i = 0; i < f.wish.n; i++) { /* the potential is below that of the first rows */
                double least = INFINITY, first = INFINITY;

                for (int j = 0; j < 6; j++) {
                    const double *x = f.loaded + i * f.wish.dim;

                    least = fmin(least, naive_distance(f.wish.metric, x, f.loaded + pick[j] * f.wish.dim, f.w,
                                                       NULL, f.wish.dim));
                    first = fmin(first, naive_distance(f.wish.metric, x, f.loaded + j * f.wish.dim, f.w, NULL,
                                                       f.wish.dim));
                }
                total += least;
                at_random += first;
            }
            for (int j = 0; j < 6; j++)
                for (int h = 0; h < j; h++)
                    CHECK(pick[j] != pick[h]);
            field_free(&f);
        }
        CHECK(total < at_random);
    }
}

TEST(equal_rows_and_empty_ones_give_one_seed)
{
    const float values[] = {1, 2, 1, 2, 1, 2};
    const int32_t indices[] = {0, 3, 0, 3, 0, 3};
    const int64_t indptr[] = {0, 2, 4, 6}, empty[] = {0, 0, 0, 0};
    int64_t pick[3], found;
    fkm_context *context;

    CHECK_OK(fkm_context_create(NULL, &context));
    for (int metric = 0; metric < 3; metric++) {
        const struct fkmi_space space = {.metric = (fkm_metric)metric, .dim = 4, .real = FKMI_REAL_F32};
        struct fkmi_rows rows = {.n = 3, .dim = 4, .values = values, .indices = indices, .indptr = indptr};

        CHECK_OK(fkmi_seed_rows(context, &space, &rows, FKM_INIT_KMEANSPP, 3, fkmi_random_from(1),
                                FKMI_SCREEN_IF_WORTH, pick, &found));
        CHECK_INT(found, 1);
        rows.indptr = empty;
        CHECK_OK(fkmi_seed_rows(context, &space, &rows, FKM_INIT_KMEANSPP, 3, fkmi_random_from(1),
                                FKMI_SCREEN_IF_WORTH, pick, &found));
        CHECK_INT(found, 1);
    }
    fkm_context_free(context);
}
