/* inspect.h — a model opened for looking.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_INSPECT_H
#define FKM_CLI_INSPECT_H

#include <stdarg.h>

#include "session.h"

/* The prototypes of a class or tag. */
struct group {
    int64_t label, k;
    double mass, spread;
};
struct inspect {
    struct output output;
    struct schema schema;
    fkm_model *model;
    fkm_model_info info;
    int64_t top;
    bool wants_points;
    double *mass, *targets, *points, *feature_weights; /* NULL: there are none */
    int64_t *label, *classes;
    struct group *groups;
    int64_t n_groups;
    double total_mass;
};
/* inspect_csv.c */
int inspect_history_csv(struct inspect *model);
int inspect_centroids_csv(struct inspect *model);

#endif
