/* test_importance.c — ANOVA weights against two passes over all rows.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unit/prototypes/field.h"

#include <stdlib.h>

#include "prototypes/importance.h"

/* w = max(1e-3, 1 - V_w / V_t) by definition, on the stored values. */
static void naive_weights(const struct field *f, int n_classes, double *weights)
{
    const int n = f->wish.n, dim = f->wish.dim;
    double sum = 0;

    for (int d = 0; d < dim; d++) {
        double within = 0, total = 0;
        for (int c = -1; c < n_classes; c++) { /* -1: all rows that have a class */
            double mean = 0, weight = 0, m2 = 0;
            for (int i = 0; i < n; i++)
                if (f->slot[i] >= 0 && (c < 0 || f->slot[i] == c)) {
                    const double u = field_weight(f, i) * field_mask(f, i, d);
                    weight += u;
                    mean += u * f->x[i * dim + d];
                }
            mean = weight > 0 ? mean / weight : 0;
            for (int i = 0; i < n; i++)
                if (f->slot[i] >= 0 && (c < 0 || f->slot[i] == c)) {
                    const double e = f->x[i * dim + d] - mean;
                    m2 += field_weight(f, i) * field_mask(f, i, d) * e * e;
                }
            if (c < 0)
                total = m2;
            else
                within += m2;
        }
        weights[d] = total > 0 ? fmax(1e-3, 1 - within / total) : 1e-3;
        sum += weights[d];
    }
    for (int d = 0; d < dim; d++)
        weights[d] *= dim / sum;
}

static void add(struct fkmi_importance *importance, const struct field *f, int64_t begin, int64_t end,
                int64_t n_classes)
{
    const struct fkmi_rows part = fkmi_rows_slice(&f->rows, begin, end - begin);

    CHECK_OK(fkmi_importance_add(f->context, importance, &part, f->slot + begin, n_classes));
}

TEST(weights_match_two_passes)
{
    for (int kind = 0; kind < 16; kind++) {
        struct field f;
        struct fkmi_importance importance = {0};
        double expected[70], weights[70];

        if ((kind & 2) && (kind & 4))
            continue; /* sparse rows have no mask */
        field_make(&f, (struct field_wish){
                           FIELD_WISH, .dim = 70, .weight = kind & 1, .csr = kind & 2, .mask = kind & 4,
                           .dtype = kind & 8 ? FKM_DTYPE_F16 : FKM_DTYPE_F64, .threads = 2, .spread = 3});
        f.slot[3] = f.slot[50] = -1;
        naive_weights(&f, 3, expected);
        add(&importance, &f, 0, 120, 3);
        fkmi_importance_weights(&importance, weights);
        for (int d = 0; d < 70; d++)
            CHECK_NEAR(expected[d], weights[d], 1e-10);
        fkmi_importance_free(&importance);
        field_free(&f);
    }
}

TEST(batches_add_up_in_any_order)
{
    for (int csr = 0; csr < 2; csr++) {
        struct field f;
        struct fkmi_importance forward = {0}, backward = {0}, copy;
        double expected[5], weights[5], offset = csr ? 0 : 1e6; /* a large offset must not cancel */

        field_make(&f, (struct field_wish){FIELD_WISH, .csr = csr, .offset = offset, .weight = true});
        naive_weights(&f, 3, expected);
        for (int64_t i = 0; i < 120; i += 17)
            add(&forward, &f, i, i + 17 < 120 ? i + 17 : 120, 3);
        for (int64_t i = 119; i >= 0; i--)
            add(&backward, &f, i, i + 1, f.slot[i] + 1); /* classes appear one by one */
        CHECK_OK(fkmi_importance_copy(&copy, &forward));
        fkmi_importance_free(&forward);
        fkmi_importance_weights(&copy, weights);
        for (int d = 0; d < 5; d++)
            CHECK_NEAR(expected[d], weights[d], 1e-6);
        fkmi_importance_weights(&backward, weights);
        for (int d = 0; d < 5; d++)
            CHECK_NEAR(expected[d], weights[d], 1e-6);
        fkmi_importance_free(&copy);
        fkmi_importance_free(&backward);
        field_free(&f);
    }
}

TEST(one_class_or_constant_features_weigh_alike)
{
    struct field f;
    struct fkmi_importance importance = {0};
    double weights[5];

    field_make(&f, (struct field_wish){FIELD_WISH, .classes = 1});
    add(&importance, &f, 0, 120, 1);
    fkmi_importance_weights(&importance, weights);
    for (int d = 0; d < 5; d++)
        CHECK_NEAR(1, weights[d], 1e-12);
    fkmi_importance_free(&importance);
    field_free(&f);
}

TEST(threads_do_not_change_a_bit)
{
    double first[300];

    for (int threads = 1; threads <= 8; threads *= 2) {
        struct field f;
        struct fkmi_importance importance = {0};
        double weights[300];

        field_make(&f, (struct field_wish){FIELD_WISH, .dim = 300, .threads = threads});
        add(&importance, &f, 0, 120, 3);
        fkmi_importance_weights(&importance, weights);
        if (threads == 1)
            memcpy(first, weights, sizeof first);
        CHECK(memcmp(first, weights, sizeof first) == 0);
        fkmi_importance_free(&importance);
        field_free(&f);
    }
}

TEST(a_failed_addition_changes_nothing)
{
    for (int csr = 0; csr < 2; csr++) {
        struct field f;
        struct fkmi_importance importance = {0};
        double before[5], after[5];
        fkm_status status;

        field_make(&f, (struct field_wish){FIELD_WISH, .csr = csr, .classes = 9});
        add(&importance, &f, 0, 40, 9);
        fkmi_importance_weights(&importance, before);
        for (int64_t n = 1;; n++) {
            (void)fkmi_memory_fail(n, 0);
            status = fkmi_importance_add(f.context, &importance, &f.rows, f.slot, 30);
            (void)fkmi_memory_fail(0, 0);
            if (status == FKM_OK)
                break;
            CHECK_INT(FKM_ENOMEM, status);
            CHECK_INT(9, importance.n_classes);
            fkmi_importance_weights(&importance, after);
            CHECK(memcmp(before, after, sizeof before) == 0);
            CHECK(n < 50);
        }
        fkmi_importance_free(&importance);
        field_free(&f);
    }
}
