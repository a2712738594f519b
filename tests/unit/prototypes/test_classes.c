/* test_classes.c — labels to slots and back.
 * SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "prototypes/classes.h"

/* Labels that share low bits, lie apart, and touch both ends. */
static int64_t label_of(int64_t slot)
{
    switch (slot) {
    case 0:
        return INT64_MIN;
    case 1:
        return INT64_MAX;
    case 2:
        return -1;
    default:
        return slot % 2 ? slot * 1024 : -slot;
    }
}

TEST(every_label_finds_its_slot_and_no_other_does)
{
    struct fkmi_classes classes = {0};

    CHECK_INT(-1, fkmi_classes_find(&classes, 7));
    for (int64_t slot = 0; slot < 5000; slot++) {
        CHECK_INT(-1, fkmi_classes_find(&classes, label_of(slot)));
        CHECK_OK(fkmi_classes_add(&classes, label_of(slot)));
    }
    CHECK_INT(5000, classes.n);
    for (int64_t slot = 0; slot < 5000; slot++)
        CHECK_INT(slot, fkmi_classes_find(&classes, label_of(slot)));
    CHECK_INT(-1, fkmi_classes_find(&classes, 123456789));
    fkmi_classes_free(&classes);
}

TEST(truncating_forgets_the_later_slots_only)
{
    static const int64_t left[] = {4999, 2500, 2499, 3, 1, 0};
    struct fkmi_classes classes = {0};

    for (int64_t slot = 0; slot < 5000; slot++)
        CHECK_OK(fkmi_classes_add(&classes, label_of(slot)));
    for (int step = 0; step < 6; step++) {
        fkmi_classes_truncate(&classes, left[step]);
        CHECK_INT(left[step], classes.n);
        for (int64_t slot = 0; slot < 5000; slot++)
            CHECK_INT(slot < left[step] ? slot : -1, fkmi_classes_find(&classes, label_of(slot)));
    }
    CHECK_OK(fkmi_classes_add(&classes, 77));
    CHECK_INT(0, fkmi_classes_find(&classes, 77));
    fkmi_classes_free(&classes);
}

TEST(labels_come_back_by_slot)
{
    struct fkmi_classes classes = {0};

    for (int round = 0; round < 2; round++) {
        for (int64_t slot = classes.n; slot < 100; slot++)
            CHECK_OK(fkmi_classes_add(&classes, label_of(slot)));
        for (int64_t slot = 0; slot < 100; slot++)
            CHECK_INT(label_of(slot), classes.by_slot[slot]);
        fkmi_classes_truncate(&classes, 60);
    }
    fkmi_classes_free(&classes);
}

TEST(rebuilding_starts_from_the_given_labels)
{
    struct fkmi_classes classes = {0};
    const int64_t label[] = {9, -4, 1000000007};

    CHECK_OK(fkmi_classes_add(&classes, 5));
    CHECK_OK(fkmi_classes_rebuild(&classes, label, 3));
    CHECK_INT(3, classes.n);
    CHECK_INT(-1, fkmi_classes_find(&classes, 5));
    CHECK_INT(1, fkmi_classes_find(&classes, -4));
    fkmi_classes_free(&classes);
}

TEST(a_failed_addition_changes_nothing)
{
    struct fkmi_classes classes = {0};
    int64_t added = 0;

    for (int64_t n = 1; n < 20; n++) { /* grows several times */
        fkmi_memory_fail(1, 0);
        while (fkmi_classes_add(&classes, label_of(added)) == FKM_OK)
            added++;
        fkmi_memory_fail(0, 0);
        CHECK_INT(added, classes.n);
        CHECK_INT(-1, fkmi_classes_find(&classes, label_of(added)));
        for (int64_t slot = 0; slot < added; slot++)
            CHECK_INT(slot, fkmi_classes_find(&classes, label_of(slot)));
        CHECK_OK(fkmi_classes_add(&classes, label_of(added)));
        if (++added > 3000)
            break;
    }
    fkmi_classes_free(&classes);
}

TEST(ranks_ascend_by_label)
{
    int64_t label[777], order[777];

    for (int64_t slot = 0; slot < 777; slot++)
        label[slot] = slot * 7919 % 777 - 300; /* 777 and 7919 share no factor: all different */
    fkmi_classes_rank(label, 777, order);
    for (int64_t rank = 0; rank < 777; rank++)
        CHECK_INT(rank - 300, label[order[rank]]);
    fkmi_classes_rank(label, 0, order);
    fkmi_classes_rank(label, 1, order);
    CHECK_INT(0, order[0]);
    for (int64_t slot = 0; slot < 777; slot++)
        label[slot] = slot * slot - 50;
    fkmi_classes_rank(label, 777, order);
    for (int64_t rank = 0; rank < 777; rank++)
        CHECK_INT(rank, order[rank]);
}
