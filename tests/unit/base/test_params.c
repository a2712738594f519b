/* test_params.c — the table covers the struct; text in, text out; every invalid value is named.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/params.h"

#include <stddef.h>

#include "support/test.h"

static void check_refused(const char *name, const char *value, const char *message)
{
    fkm_params params = FKM_PARAMS_INIT, before = params;

    CHECK_STATUS(FKM_EINVAL, fkm_params_set(&params, name, value));
    CHECK_TEXT(message, fkm_last_error());
    CHECK(memcmp(&params, &before, sizeof params) == 0);
}

static void check_get(const fkm_params *params, const char *name, const char *value)
{
    char text[64];

    CHECK_OK(fkm_params_get(params, name, text, sizeof text));
    CHECK_TEXT(value, text);
}

TEST(the_defaults_are_valid_and_are_those_of_the_table)
{
    const fkm_params params = FKM_PARAMS_INIT;

    CHECK_OK(fkm_params_check(&params));
    for (size_t i = 0; i < fkm_param_count(); i++)
        check_get(&params, fkm_param_at(i)->name, fkm_param_at(i)->standard);
    CHECK(!fkm_param_at(fkm_param_count()));
}

TEST(every_row_of_the_table_is_complete)
{
    for (size_t i = 0; i < fkm_param_count(); i++) {
        const fkm_param_info *info = fkm_param_at(i);

        CHECK(info->name && info->standard && info->help && info->tasks != 0 && info->tasks < 16);
        CHECK(info->kind == FKM_PARAM_CHOICE ? info->choices != NULL : info->valid != NULL);
        for (size_t j = 0; j < i; j++)
            CHECK(strcmp(info->name, fkm_param_at(j)->name) != 0);
    }
}

/* A struct full of 0xa5, taken with every parameter at its default text: no byte of a field may be left. */
TEST(the_table_covers_every_field)
{
    fkm_params params;
    const unsigned char *bytes = (const unsigned char *)&params;
    size_t run = 0;

    memset(&params, 0xa5, sizeof params);
    params.struct_size = sizeof params;
    for (size_t i = 0; i < fkm_param_count(); i++)
        CHECK_OK(fkm_params_set(&params, fkm_param_at(i)->name, fkm_param_at(i)->standard));
    for (size_t at = 0; at < sizeof params; at++) { /* four bytes may be padding before an eight-byte field */
        run = bytes[at] == 0xa5 ? run + 1 : 0;
        CHECK(run <= 4);
        CHECK(run < 4 || at % 8 == 7);
    }
}

TEST(values_are_set_by_name_and_read_back)
{
    static const struct {
        const char *name, *value, *back;
    } cases[] = {{"task", "regressor", NULL},
                 {"distance", "l1", NULL},
                 {"dtype", "bfloat16", NULL},
                 {"dtype", "float64", NULL},
                 {"init_mode", "random", NULL},
                 {"soft_type", "softmax_scaled", NULL},
                 {"temperature", "0.25", NULL},
                 {"temperature", "1e-3", "0.001"},
                 {"top_k", "-1", NULL},
                 {"top_k", "16", NULL},
                 {"top_k_train", "12", NULL},
                 {"top_k_train", "auto", NULL},
                 {"idw_power", "2.5", NULL},
                 {"auto_feature_weights", "1", "true"},
                 {"auto_feature_weights", "0", "false"},
                 {"negative_sampling", "100", NULL},
                 {"negative_sampling", "none", NULL},
                 {"diversity_reg", "0.01", NULL},
                 {"use_compile", "true", NULL},
                 {"random_state", "18446744073709551615", NULL},
                 {"random_state", "0", NULL},
                 {"batch_size", "1000000000000", NULL},
                 {"learning_rate", "0.05", NULL},
                 {"learning_rate", "auto", NULL},
                 {"missing", "mask", NULL},
                 {"k_init", "auto", NULL},
                 {"k_init", "7", NULL},
                 {"k_max", "none", NULL},
                 {"k_max", "5", NULL},
                 {"merge_threshold", "0", NULL},
                 {"merge_threshold", "none", NULL},
                 {"percentile_threshold", "1", NULL},
                 {"percentile_threshold", "none", NULL},
                 {"decay", "0.99", NULL},
                 {"repulsion_mode", "glvq", NULL},
                 {"assignment", "linear", NULL},
                 {"label_smoothing", "0.1", NULL},
                 {"asl_clip", "0", NULL},
                 {"k_targets", "auto", NULL},
                 {"k_features", "3", NULL},
                 {"target_distance", "cosine", NULL},
                 {"target_assignment", "hard", NULL}};
    fkm_params params = FKM_PARAMS_INIT;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_OK(fkm_params_set(&params, cases[i].name, cases[i].value));
        check_get(&params, cases[i].name, cases[i].back ? cases[i].back : cases[i].value);
        CHECK_OK(fkm_params_check(&params));
    }
    CHECK_INT(FKM_TASK_REGRESS, params.task);
    CHECK_INT(FKM_METRIC_L1, params.metric);
    CHECK_INT(FKM_DTYPE_F64, params.dtype);
    CHECK_INT(16, params.top_k);
    CHECK_INT(0, params.top_k_train);
    CHECK_INT(7, params.k_init);
    CHECK_INT(FKM_K_AUTO, params.k_targets);
    CHECK(params.merge_threshold < 0 && params.percentile_threshold < 0);
    CHECK_NEAR(0, params.learning_rate, 0);
}

TEST(invalid_values_are_named_with_what_is_valid)
{
    check_refused("distance", "manhattan", "distance is 'manhattan'; valid: cosine, euclidean, l1");
    check_refused("distance", "cos", "distance is 'cos'; valid: cosine, euclidean, l1");
    check_refused("distance", "", "distance is ''; valid: cosine, euclidean, l1");
    check_refused("temperature", "0", "temperature is 0; it must be > 0");
    check_refused("temperature", "hot", "temperature is 'hot'; it must be > 0");
    check_refused("temperature", "nan", "temperature is nan; it must be > 0");
    check_refused("temperature", "inf", "temperature is inf; it must be > 0");
    check_refused("k_init", "0", "k_init is 0; it must be >= 1 or 'auto'");
    check_refused("k_init", "many", "k_init is 'many'; it must be >= 1 or 'auto'");
    check_refused("k_init", "3.5", "k_init is '3.5'; it must be >= 1 or 'auto'");
    check_refused("k_init", "2147483648", "k_init is 2147483648; it must be >= 1 or 'auto'");
    check_refused("top_k", "0", "top_k is 0; it must be >= 1, or -1 for all");
    check_refused("top_k", "-2", "top_k is -2; it must be >= 1, or -1 for all");
    check_refused("top_k_train", "-1", "top_k_train is -1; it must be >= 1 or 'auto'");
    check_refused("batch_size", "0", "batch_size is 0; it must be >= 1");
    check_refused("random_state", "-1", "random_state is '-1'; it must be >= 0");
    check_refused("random_state", "18446744073709551616",
                  "random_state is '18446744073709551616'; it must be >= 0");
    check_refused("label_smoothing", "1", "label_smoothing is 1; it must be in [0, 1)");
    check_refused("percentile_threshold", "1.5",
                  "percentile_threshold is 1.5; it must be in [0, 1] or 'none'");
    check_refused("decay", "0", "decay is 0; it must be in (0, 1]");
    check_refused("sparse", "yes", "sparse is 'yes'; it must be true or false");
    check_refused("missing", "drop", "missing is 'drop'; valid: error, mask");
}

TEST(names_that_do_not_exist_are_answered_with_those_that_do)
{
    fkm_params params = FKM_PARAMS_INIT;

    CHECK_STATUS(FKM_EINVAL, fkm_params_set(&params, "k", "3"));
    CHECK_SAYS("there is no parameter 'k'; valid: task, distance, ", fkm_last_error());
    CHECK_SAYS(", target_assignment", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkm_params_set(&params, NULL, "3"));
    CHECK_STATUS(FKM_EINVAL, fkm_params_set(&params, "k_init", NULL));
    CHECK_STATUS(FKM_EINVAL, fkm_params_set(NULL, "k_init", "3"));
}

TEST(fields_are_checked_too)
{
    fkm_params params = FKM_PARAMS_INIT;

    params.metric = (fkm_metric)7;
    CHECK_STATUS(FKM_EINVAL, fkm_params_check(&params));
    CHECK_TEXT("distance is 7; valid: cosine, euclidean, l1", fkm_last_error());
    params.metric = (fkm_metric)-1;
    CHECK_STATUS(FKM_EINVAL, fkm_params_check(&params));
    params = (fkm_params)FKM_PARAMS_INIT;
    params.temperature = NAN;
    CHECK_STATUS(FKM_EINVAL, fkm_params_check(&params));
    CHECK_TEXT("temperature is nan; it must be > 0", fkm_last_error());
    params = (fkm_params)FKM_PARAMS_INIT;
    params.sparse = 2;
    CHECK_STATUS(FKM_EINVAL, fkm_params_check(&params));
    CHECK_TEXT("sparse is 2; it must be true or false", fkm_last_error());
    params = (fkm_params)FKM_PARAMS_INIT;
    params.merge_threshold = -3; /* any negative number means none */
    CHECK_OK(fkm_params_check(&params));
    check_get(&params, "merge_threshold", "none");
    params.merge_threshold = NAN;
    CHECK_STATUS(FKM_EINVAL, fkm_params_check(&params));
    CHECK_STATUS(FKM_EINVAL, fkm_params_check(NULL));
}

TEST(an_approximate_index_has_no_l1)
{
    fkm_params params = FKM_PARAMS_INIT;

    CHECK_OK(fkm_params_set(&params, "use_faiss", "true"));
    CHECK_OK(fkm_params_check(&params));
    params.metric = FKM_METRIC_L1;
    CHECK_STATUS(FKM_EINVAL, fkm_params_check(&params));
    CHECK_SAYS("it does not go with distance 'l1'", fkm_last_error());
}

TEST(a_shorter_struct_gets_defaults_behind_its_end)
{
    fkm_params old = FKM_PARAMS_INIT, taken;
    char text[8];

    old.k_init = 9;
    old.asl_clip = 7; /* lies behind the end, so it is never looked at */
    old.struct_size = offsetof(fkm_params, repulsion_factor);
    CHECK_OK(fkmi_params_take(&taken, &old));
    CHECK_INT(9, taken.k_init);
    CHECK_NEAR(0.05, taken.asl_clip, 0);
    CHECK_INT(sizeof taken, taken.struct_size);
    CHECK_STATUS(FKM_EINVAL, fkm_params_set(&old, "asl_clip", "0.1"));
    CHECK_SAYS("struct_size", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkm_params_get(&old, "asl_clip", text, sizeof text));
}

TEST(impossible_struct_sizes_are_refused)
{
    fkm_params params = FKM_PARAMS_INIT;
    char expected[64];

    params.struct_size = 0;
    CHECK_STATUS(FKM_EINVAL, fkm_params_check(&params));
    CHECK_SAYS("begin with FKM_PARAMS_INIT", fkm_last_error());
    params.struct_size = sizeof params + 8;
    CHECK_STATUS(FKM_EINVAL, fkm_params_check(&params));
    snprintf(expected, sizeof expected, "%zu, this library knows %zu", sizeof params + 8, sizeof params);
    CHECK_SAYS(expected, fkm_last_error());
}

TEST(a_value_needs_room)
{
    const fkm_params params = FKM_PARAMS_INIT;
    char text[7];

    CHECK_OK(fkm_params_get(&params, "distance", text, 7));
    CHECK_STATUS(FKM_EINVAL, fkm_params_get(&params, "distance", text, 6));
    CHECK_SAYS("needs 7 bytes, there are 6", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkm_params_get(&params, "distance", text, 0));
    CHECK_STATUS(FKM_EINVAL, fkm_params_get(&params, "nothing", text, 7));
}

TEST(enums_have_names)
{
    CHECK_TEXT("multilabel", fkmi_task_name(FKM_TASK_MULTILABEL));
    CHECK_TEXT("clusterer", fkmi_task_name(FKM_TASK_CLUSTER));
    CHECK_TEXT("euclidean", fkmi_metric_name(FKM_METRIC_EUCLIDEAN));
    CHECK_TEXT("softmax_scaled", fkmi_soft_name(FKM_SOFT_SOFTMAX_SCALED));
}
