/* classes.c — labels to slots: open addressing with linear probing, at most half full.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/classes.h"

#include <assert.h>
#include <string.h>

#define FIRST_CAPACITY 16
#define FREE           (-1)

void fkmi_classes_free(struct fkmi_classes *classes)
{
    fkmi_free(classes->label);
    fkmi_free(classes->slot);
    fkmi_free(classes->by_slot);
    *classes = (struct fkmi_classes){0};
}

/* Labels often count 0, 1, 2, ...: the finaliser of splitmix64 spreads them. */
static int64_t home_of(int64_t label, int64_t capacity)
{
    uint64_t h = (uint64_t)label + UINT64_C(0x9e3779b97f4a7c15);

    h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ (h >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (int64_t)((h ^ (h >> 31)) & (uint64_t)(capacity - 1));
}

/* The place of label, or the free place where it belongs. */
static int64_t place_of(const struct fkmi_classes *classes, int64_t label)
{
    int64_t place = home_of(label, classes->capacity);

    while (classes->slot[place] != FREE && classes->label[place] != label)
        place = (place + 1) & (classes->capacity - 1);
    return place;
}

int32_t fkmi_classes_find(const struct fkmi_classes *classes, int64_t label)
{
    return classes->capacity == 0 ? -1 : classes->slot[place_of(classes, label)];
}

static void put(struct fkmi_classes *classes, int64_t label, int32_t slot)
{
    const int64_t place = place_of(classes, label);

    assert(classes->slot[place] == FREE);
    classes->label[place] = label;
    classes->slot[place] = slot;
    classes->by_slot[slot] = label;
}

/* An empty table of room for n classes; the old one stays untouched on failure. */
static fkm_status make_table(struct fkmi_classes *table, int64_t n)
{
    int64_t capacity = FIRST_CAPACITY;
    fkm_status status = FKM_OK;

    *table = (struct fkmi_classes){0};
    while (capacity < 2 * n)
        capacity *= 2;
    FKMI_TRY_GOTO(fkmi_alloc(&table->label, capacity, sizeof *table->label));
    FKMI_TRY_GOTO(fkmi_alloc(&table->slot, capacity, sizeof *table->slot));
    FKMI_TRY_GOTO(fkmi_alloc(&table->by_slot, capacity / 2, sizeof *table->by_slot));
    table->capacity = capacity;
    memset(table->slot, 0xff, (size_t)capacity * sizeof *table->slot);
done:
    if (status != FKM_OK)
        fkmi_classes_free(table);
    return status;
}

fkm_status fkmi_classes_add(struct fkmi_classes *classes, int64_t label)
{
    if (classes->n == INT32_MAX)
        return fkmi_fail(FKM_EINVAL, "more than %d classes", INT32_MAX);
    if (2 * (classes->n + 1) > classes->capacity) {
        struct fkmi_classes larger;
        FKMI_TRY(make_table(&larger, 2 * (classes->n + 1)));
        for (int64_t slot = 0; slot < classes->n; slot++)
            put(&larger, classes->by_slot[slot], (int32_t)slot);
        larger.n = classes->n;
        fkmi_classes_free(classes);
        *classes = larger;
    }
    put(classes, label, (int32_t)classes->n);
    classes->n++;
    return FKM_OK;
}

fkm_status fkmi_classes_rebuild(struct fkmi_classes *classes, const int64_t *label_by_slot, int64_t n)
{
    struct fkmi_classes fresh;

    FKMI_TRY(make_table(&fresh, n));
    for (int64_t slot = 0; slot < n; slot++)
        put(&fresh, label_by_slot[slot], (int32_t)slot);
    fresh.n = n;
    fkmi_classes_free(classes);
    *classes = fresh;
    return FKM_OK;
}

/* Frees a place and closes the gap: later entries of the run that may live there move up. */
static void remove_at(struct fkmi_classes *classes, int64_t hole)
{
    const int64_t around = classes->capacity - 1;

    for (int64_t next = (hole + 1) & around; classes->slot[next] != FREE; next = (next + 1) & around) {
        const int64_t home = home_of(classes->label[next], classes->capacity);
        if (((next - home) & around) >= ((next - hole) & around)) {
            classes->label[hole] = classes->label[next];
            classes->slot[hole] = classes->slot[next];
            hole = next;
        }
    }
    classes->slot[hole] = FREE;
}

void fkmi_classes_truncate(struct fkmi_classes *classes, int64_t n)
{
    for (; classes->n > n; classes->n--)
        remove_at(classes, place_of(classes, classes->by_slot[classes->n - 1]));
}

/* ---- ranks: a heap sort, which needs no memory, unless labels ascend already */

static void sift(const int64_t *label, int64_t *order, int64_t root, int64_t n)
{
    for (int64_t child; (child = 2 * root + 1) < n; root = child) {
        int64_t swapped;
        if (child + 1 < n && label[order[child]] < label[order[child + 1]])
            child++;
        if (label[order[root]] >= label[order[child]])
            return;
        swapped = order[root];
        order[root] = order[child];
        order[child] = swapped;
    }
}

void fkmi_classes_rank(const int64_t *label_by_slot, int64_t n, int64_t *order)
{
    bool ascending = true;

    for (int64_t slot = 0; slot < n; slot++) {
        order[slot] = slot;
        ascending = ascending && (slot == 0 || label_by_slot[slot - 1] <= label_by_slot[slot]);
    }
    if (ascending)
        return;
    for (int64_t root = n / 2; root-- > 0;)
        sift(label_by_slot, order, root, n);
    for (int64_t end = n; end-- > 1;) {
        const int64_t largest = order[0];
        order[0] = order[end];
        order[end] = largest;
        sift(label_by_slot, order, 0, end);
    }
}
