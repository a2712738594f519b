/* params.c — the one table of parameters: names, kinds, defaults, valid values, help, and where each lives.
 *
 * Everything that reads, writes, checks or explains a parameter walks this table, so a new parameter is a
 * field of fkm_params, a value in FKM_PARAMS_INIT and a row here.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/params.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"

/* How the field is stored; CHOICE and BOOL are int-sized. */
enum storage { IN_CHOICE, IN_BOOL, IN_INT32, IN_INT64, IN_UINT64, IN_REAL };

struct param {
    fkm_param_info info;
    size_t offset;
    enum storage storage;
    double least, most;
    bool above, below; /* least, most themselves are not valid */
    const char *word;  /* a word the value may be, "auto" or "none"; it stands for word_value */
    double word_value;
    bool word_negative; /* every negative value means the word */
};

#define CLUSTER    (1u << FKM_TASK_CLUSTER)
#define CLASSIFY   (1u << FKM_TASK_CLASSIFY)
#define MULTILABEL (1u << FKM_TASK_MULTILABEL)
#define REGRESS    (1u << FKM_TASK_REGRESS)
#define ALL_TASKS  (CLUSTER | CLASSIFY | MULTILABEL | REGRESS)
#define LARGE      1e18 /* below INT64_MAX, and exact */
#define INT32_MOST 2147483647.0

#define ROW(name_, field_, kind_, storage_, standard_, tasks_, help_)                                        \
    .info.name = name_, .info.kind = kind_, .info.standard = standard_, .info.tasks = tasks_,                \
    .info.help = help_, .offset = offsetof(fkm_params, field_), .storage = storage_
#define CHOICE(name_, field_, choices_, standard_, tasks_, help_)                                            \
    {                                                                                                        \
        ROW(name_, field_, FKM_PARAM_CHOICE, IN_CHOICE, standard_, tasks_, help_), .info.choices = choices_  \
    }
#define BOOL(name_, field_, standard_, tasks_, help_)                                                        \
    {                                                                                                        \
        ROW(name_, field_, FKM_PARAM_BOOL, IN_BOOL, standard_, tasks_, help_), .info.valid = "true or false" \
    }
#define WHOLE(name_, field_, storage_, standard_, valid_, tasks_, help_, ...)                                \
    {                                                                                                        \
        ROW(name_, field_, FKM_PARAM_INT, storage_, standard_, tasks_, help_), .info.valid = valid_,         \
                                                                               __VA_ARGS__                   \
    }
#define REAL(name_, field_, standard_, valid_, tasks_, help_, ...)                                           \
    {                                                                                                        \
        ROW(name_, field_, FKM_PARAM_REAL, IN_REAL, standard_, tasks_, help_), .info.valid = valid_,         \
                                                                               __VA_ARGS__                   \
    }
#define OR_WORD(word_, value_) .info.choices = word_, .word = word_, .word_value = value_
#define OR_NEGATIVE(word_)     OR_WORD(word_, -1), .word_negative = true
#define AT_LEAST_1_INT32       .least = 1, .most = INT32_MOST
#define AT_LEAST_1             .least = 1, .most = LARGE
#define NOT_NEGATIVE           .least = 0, .most = INFINITY, .below = true
#define POSITIVE               .least = 0, .above = true, .most = INFINITY, .below = true

#define METRICS "cosine|euclidean|l1"
#define SOFTS   "hard|mean|scaled|softmax_scaled"

static const struct param params_table[] = {
    CHOICE("task", task, "clusterer|classifier|multilabel|regressor", "classifier", ALL_TASKS,
           "what the model learns"),
    CHOICE("distance", metric, METRICS, "cosine", ALL_TASKS, "how far a row is from a prototype"),
    CHOICE("dtype", dtype, "float32|float16|bfloat16|float64", "float32", ALL_TASKS,
           "storage of prototypes; sums are float32, or float64 for float64"),
    CHOICE("init_mode", init, "kmeans++|random", "kmeans++", ALL_TASKS,
           "how the first prototypes are chosen"),
    CHOICE("soft_type", soft, SOFTS, "scaled", ALL_TASKS,
           "how the nearest prototypes share a row; 'hard' and 'mean' have no gradients"),
    REAL("temperature", temperature, "1", "> 0", ALL_TASKS, "divides distances for 'softmax_scaled'",
         POSITIVE),
    WHOLE("top_k", top_k, IN_INT32, "5", ">= 1, or -1 for all", ALL_TASKS, "prototypes blended at inference",
          AT_LEAST_1_INT32, .word_value = -1),
    WHOLE("top_k_train", top_k_train, IN_INT32, "auto", ">= 1", ALL_TASKS,
          "prototypes routed in training; 'auto': top_k, for classes and tags at least 8", AT_LEAST_1_INT32,
          OR_WORD("auto", 0)),
    REAL("idw_power", idw_power, "auto", "> 0", ALL_TASKS,
         "exponent of 'scaled'; 'auto': 4 for euclidean and cosine, 8 for l1", POSITIVE, OR_WORD("auto", 0)),
    BOOL("auto_feature_weights", auto_feature_weights, "false", ALL_TASKS,
         "weigh features by how well they separate"),
    WHOLE("negative_sampling", negative_sampling, IN_INT64, "none", ">= 1", CLASSIFY,
          "classes sampled for each gradient batch; 'none': all", AT_LEAST_1, OR_WORD("none", 0)),
    REAL("diversity_reg", diversity_reg, "0", ">= 0", ALL_TASKS,
         "penalty on prototypes of a class being alike", NOT_NEGATIVE),
    REAL("l2_reg", l2_reg, "0", ">= 0", ALL_TASKS, "penalty on leaving the end of phase 1", NOT_NEGATIVE),
    BOOL("use_faiss", use_faiss, "false", ALL_TASKS, "answers by approximate search (faiss)"),
    BOOL("use_compile", use_compile, "false", ALL_TASKS,
         "measure how scans of this model run fastest; same answers"),
    WHOLE("random_state", seed, IN_UINT64, "42", ">= 0", ALL_TASKS, "the seed of all random choices"),
    WHOLE("batch_size", batch_size, IN_INT64, "10240", ">= 1", ALL_TASKS, "rows worked on at a time",
          AT_LEAST_1),
    WHOLE("finetune_batch_size", finetune_batch_size, IN_INT64, "256", ">= 1", ALL_TASKS,
          "rows per gradient step", AT_LEAST_1),
    REAL("learning_rate", learning_rate, "auto", "in (0, 10]", ALL_TASKS,
         "of gradient steps, in spreads of the prototypes; 'auto': 0.03, or what the search finds",
         .least = 0, .above = true, .most = 10, OR_WORD("auto", 0)),
    CHOICE("missing", missing, "error|mask", "error", ALL_TASKS, "what a NaN in a row means"),
    WHOLE("k_init", k_init, IN_INT32, "3", ">= 1", CLUSTER | CLASSIFY | MULTILABEL,
          "clusters, or prototypes per class or tag; 'auto': by the spread of the rows", AT_LEAST_1_INT32,
          OR_WORD("auto", FKM_K_AUTO)),
    WHOLE("k_max", k_max, IN_INT64, "none", ">= 1", ALL_TASKS, "most prototypes of the whole model",
          AT_LEAST_1, OR_WORD("none", 0)),
    BOOL("auto_scale", auto_scale, "false", ALL_TASKS,
         "'auto' counts measure distances in units of the variance"),
    REAL("min_weight", min_weight, "0.001", ">= 0", ALL_TASKS, "lighter prototypes are removed",
         NOT_NEGATIVE),
    REAL("truncation_threshold", truncation_threshold, "0.0001", ">= 0", ALL_TASKS,
         "smaller coordinates become 0 in sparse models", NOT_NEGATIVE),
    BOOL("sparse", sparse, "false", ALL_TASKS, "keep prototypes sparse (truncation_threshold)"),
    REAL("merge_threshold", merge_threshold, "none", ">= 0", ALL_TASKS,
         "prototypes of a class nearer than this merge", NOT_NEGATIVE, OR_NEGATIVE("none")),
    BOOL("relative_merge", relative_merge, "false", ALL_TASKS,
         "merge_threshold counts in mean distances between prototypes"),
    REAL("percentile_threshold", percentile_threshold, "none", "in [0, 1]", ALL_TASKS,
         "merging and truncation act only below this quantile too", .least = 0, .most = 1,
         OR_NEGATIVE("none")),
    REAL("decay", decay, "1", "in (0, 1]", ALL_TASKS, "masses are multiplied by this before each batch",
         .least = 0, .above = true, .most = 1),
    REAL("repulsion_factor", repulsion_factor, "0.05", ">= 0", CLASSIFY,
         "how strongly rows push prototypes of other classes away", NOT_NEGATIVE),
    CHOICE("repulsion_mode", repulsion, "window|glvq", "window", CLASSIFY, "which rows push, and how much"),
    CHOICE("assignment", assignment, "hard|linear|softmax", "hard", CLASSIFY,
           "how phase 1 shares a row among prototypes"),
    REAL("lambda_penalty", lambda_penalty, "0.1", ">= 0", CLASSIFY,
         "similarity lost by prototypes of other classes in soft assignment", NOT_NEGATIVE),
    REAL("label_smoothing", label_smoothing, "0", "in [0, 1)", CLASSIFY,
         "probability spread over all classes", .least = 0, .most = 1, .below = true),
    BOOL("prototype_scale", prototype_scale, "false", CLASSIFY | REGRESS,
         "a temperature and a bias for each prototype"),
    REAL("noise", noise, "0", ">= 0", ALL_TASKS,
         "noise on rows in training, in standard deviations of the feature", NOT_NEGATIVE),
    BOOL("normalize_prototypes", normalize_prototypes, "true", ALL_TASKS,
         "cosine: prototypes have length 1 after each gradient step"),
    REAL("asl_gamma_neg", asl_gamma_neg, "4", ">= 0", MULTILABEL, "focus of the loss on hard negatives",
         NOT_NEGATIVE),
    REAL("asl_gamma_pos", asl_gamma_pos, "1", ">= 0", MULTILABEL, "focus of the loss on hard positives",
         NOT_NEGATIVE),
    REAL("asl_clip", asl_clip, "0.05", "in [0, 1)", MULTILABEL,
         "negatives less probable than this are ignored", .least = 0, .most = 1, .below = true),
    WHOLE("k_targets", k_targets, IN_INT32, "20", ">= 1", REGRESS,
          "strata of the targets; 'auto': by their spread", AT_LEAST_1_INT32, OR_WORD("auto", FKM_K_AUTO)),
    WHOLE("k_features", k_features, IN_INT32, "10", ">= 1", REGRESS,
          "prototypes in each stratum; 'auto': by the spread of its rows", AT_LEAST_1_INT32,
          OR_WORD("auto", FKM_K_AUTO)),
    CHOICE("target_distance", target_metric, METRICS, "euclidean", REGRESS,
           "how targets are clustered into strata"),
    CHOICE("target_assignment", target_assignment, SOFTS, "scaled", REGRESS,
           "how a prototype gets its target from its rows"),
};
#define N_PARAMS (sizeof params_table / sizeof *params_table)
static_assert(sizeof(fkm_task) == sizeof(int32_t), "choices are read as int32_t");

/* ---- choices: "a|b|c" */

static const char *choice_at(const char *choices, int index, size_t *length)
{
    for (; index > 0 && choices; index--) {
        choices = strchr(choices, '|');
        choices = choices ? choices + 1 : NULL;
    }
    if (!choices || index < 0)
        return NULL;
    *length = strcspn(choices, "|");
    return choices;
}

static int choice_of(const char *choices, const char *text)
{
    size_t length;
    const char *choice;

    for (int i = 0; (choice = choice_at(choices, i, &length)) != NULL; i++)
        if (strlen(text) == length && memcmp(choice, text, length) == 0)
            return i;
    return -1;
}

/* ---- fields */

static size_t field_size(const struct param *param)
{
    switch (param->storage) {
    case IN_INT64:
    case IN_UINT64:
    case IN_REAL:
        return 8;
    default:
        return 4;
    }
}

static const void *field_in(const fkm_params *params, const struct param *param)
{
    return (const char *)params + param->offset;
}

static int32_t read_int32(const fkm_params *params, const struct param *param)
{
    int32_t value;

    memcpy(&value, field_in(params, param), sizeof value);
    return value;
}

static int64_t read_int64(const fkm_params *params, const struct param *param)
{
    int64_t value;

    if (param->storage == IN_INT32)
        return read_int32(params, param);
    memcpy(&value, field_in(params, param), sizeof value);
    return value;
}

static double read_real(const fkm_params *params, const struct param *param)
{
    double value;

    memcpy(&value, field_in(params, param), sizeof value);
    return value;
}

static void write_field(fkm_params *params, const struct param *param, const void *value, size_t size)
{
    assert(size == field_size(param));
    memcpy((char *)params + param->offset, value, size);
}

/* ---- text of values and of complaints */

static void print_value(const fkm_params *params, const struct param *param, char *text, size_t size)
{
    size_t length;
    const char *choice;
    char number[32];

    switch (param->storage) {
    case IN_CHOICE:
        choice = choice_at(param->info.choices, read_int32(params, param), &length);
        if (choice)
            snprintf(text, size, "%.*s", (int)length, choice);
        else
            snprintf(text, size, "%d", read_int32(params, param));
        return;
    case IN_BOOL:
        if (read_int32(params, param) == 0 || read_int32(params, param) == 1)
            snprintf(text, size, "%s", read_int32(params, param) ? "true" : "false");
        else
            snprintf(text, size, "%d", read_int32(params, param));
        return;
    case IN_UINT64:
        snprintf(text, size, "%llu", (unsigned long long)read_int64(params, param));
        return;
    case IN_INT32:
    case IN_INT64:
        if (param->word && (double)read_int64(params, param) == param->word_value)
            snprintf(text, size, "%s", param->word);
        else
            snprintf(text, size, "%lld", (long long)read_int64(params, param));
        return;
    case IN_REAL:
        if (param->word && (read_real(params, param) == param->word_value ||
                            (param->word_negative && read_real(params, param) < 0))) {
            snprintf(text, size, "%s", param->word);
            return;
        }
        fkmi_print_double(number, read_real(params, param));
        snprintf(text, size, "%s", number);
        return;
    }
}

/* "distance is 'manhattan'; valid: cosine, euclidean, l1", "temperature is 0; it must be > 0". */
static fkm_status refuse_value(const struct param *param, const char *value, bool quote)
{
    const char *mark = quote ? "'" : "";
    char valid[256];
    size_t length = 0;

    if (param->storage != IN_CHOICE)
        return fkmi_fail(FKM_EINVAL, "%s is %s%.64s%s; it must be %s%s%s%s", param->info.name, mark, value,
                         mark, param->info.valid, param->word ? " or '" : "", param->word ? param->word : "",
                         param->word ? "'" : "");
    for (const char *from = param->info.choices; *from && length + 3 < sizeof valid; from++) {
        if (*from == '|') {
            valid[length++] = ',';
            valid[length++] = ' ';
        } else
            valid[length++] = *from;
    }
    valid[length] = '\0';
    return fkmi_fail(FKM_EINVAL, "%s is %s%.64s%s; valid: %s", param->info.name, mark, value, mark, valid);
}

/* ---- checks */

static bool in_range(const struct param *param, double value)
{
    if (value == param->word_value && (param->word || param->word_value != 0))
        return true;
    if (param->word_negative && value < 0)
        return true;
    return (param->above ? value > param->least : value >= param->least) &&
           (param->below ? value < param->most : value <= param->most); /* NaN is in no range */
}

static fkm_status check_field(const fkm_params *params, const struct param *param)
{
    char text[64];
    size_t length;
    bool valid = true;

    switch (param->storage) {
    case IN_CHOICE:
        valid = choice_at(param->info.choices, read_int32(params, param), &length) != NULL;
        break;
    case IN_BOOL:
        valid = read_int32(params, param) == 0 || read_int32(params, param) == 1;
        break;
    case IN_INT32:
    case IN_INT64:
        valid = in_range(param, (double)read_int64(params, param));
        break;
    case IN_UINT64:
        break;
    case IN_REAL:
        valid = in_range(param, read_real(params, param));
        break;
    }
    if (valid)
        return FKM_OK;
    print_value(params, param, text, sizeof text);
    return refuse_value(param, text, false);
}

/* The part of the caller's struct that exists, over the defaults; every field is in the table. */
static fkm_status take_fields(fkm_params *out, const fkm_params *params)
{
    const fkm_params standard = FKM_PARAMS_INIT;
    const size_t size = params->struct_size;

    if (size > sizeof *out)
        return fkmi_fail(
            FKM_EINVAL,
            "params.struct_size is %zu, this library knows %zu bytes: it is older than its caller", size,
            sizeof *out);
    if (size <= sizeof size)
        return fkmi_fail(FKM_EINVAL, "params.struct_size is %zu; begin with FKM_PARAMS_INIT (%zu)", size,
                         sizeof *out);
    *out = standard;
    for (size_t i = 0; i < N_PARAMS; i++)
        if (params_table[i].offset + field_size(&params_table[i]) <= size)
            write_field(out, &params_table[i], field_in(params, &params_table[i]),
                        field_size(&params_table[i]));
    return FKM_OK;
}

fkm_status fkmi_params_take(fkm_params *out, const fkm_params *params)
{
    fkm_params taken;

    if (!params)
        return fkmi_fail(FKM_EINVAL, "params is NULL");
    FKMI_TRY(take_fields(&taken, params));
    for (size_t i = 0; i < N_PARAMS; i++)
        FKMI_TRY(check_field(&taken, &params_table[i]));
    if (taken.use_faiss && taken.metric == FKM_METRIC_L1)
        return fkmi_fail(FKM_EINVAL, "use_faiss is true; it does not go with distance 'l1'");
    *out = taken;
    return FKM_OK;
}

fkm_status fkm_params_check(const fkm_params *params)
{
    fkm_params taken;

    return fkmi_params_take(&taken, params);
}

/* ---- by name */

static fkm_status find(const char *name, const struct param **out)
{
    char names[FKMI_MESSAGE_BYTES];
    size_t length = 0;

    if (!name)
        return fkmi_fail(FKM_EINVAL, "the parameter's name is NULL");
    names[0] = '\0';
    for (size_t i = 0; i < N_PARAMS; i++) {
        const char *known = params_table[i].info.name;

        if (strcmp(known, name) == 0) {
            *out = &params_table[i];
            return FKM_OK;
        }
        if (length < sizeof names)
            length +=
                (size_t)snprintf(names + length, sizeof names - length, "%s%s", i > 0 ? ", " : "", known);
    }
    return fkmi_fail(FKM_EINVAL, "there is no parameter '%.64s'; valid: %s", name, names);
}

static fkm_status find_in(const fkm_params *params, const char *name, const struct param **out)
{
    if (!params)
        return fkmi_fail(FKM_EINVAL, "params is NULL");
    FKMI_TRY(find(name, out));
    if ((*out)->offset + field_size(*out) > params->struct_size)
        return fkmi_fail(FKM_EINVAL,
                         "params.struct_size is %zu, too small to hold %s; begin with FKM_PARAMS_INIT (%zu)",
                         params->struct_size, name, sizeof *params);
    return FKM_OK;
}

static bool parse_uint64(const char *text, uint64_t *out)
{
    uint64_t value = 0;

    if (!*text)
        return false;
    for (; *text; text++) {
        const uint64_t digit = (uint64_t)(*text - '0');

        if (*text < '0' || *text > '9' || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

static bool parse_bool(const char *text, int32_t *out)
{
    *out = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    return *out || strcmp(text, "false") == 0 || strcmp(text, "0") == 0;
}

/* *quote: the text is no number at all, rather than one out of range. */
static bool parse_field(fkm_params *params, const struct param *param, const char *text, bool *quote)
{
    const bool is_word = param->word && strcmp(text, param->word) == 0;
    int32_t narrow = 0;
    int64_t whole = 0;
    uint64_t natural = 0;
    double real = 0;

    *quote = true;
    switch (param->storage) {
    case IN_CHOICE:
        narrow = choice_of(param->info.choices, text);
        write_field(params, param, &narrow, sizeof narrow);
        return narrow >= 0;
    case IN_BOOL:
        if (!parse_bool(text, &narrow))
            return false;
        write_field(params, param, &narrow, sizeof narrow);
        return true;
    case IN_UINT64:
        if (!parse_uint64(text, &natural))
            return false;
        write_field(params, param, &natural, sizeof natural);
        return true;
    case IN_INT32:
    case IN_INT64:
        if (is_word)
            whole = (int64_t)param->word_value;
        else if (!fkmi_parse_int64(text, strlen(text), &whole))
            return false;
        *quote = false;
        if (!in_range(param, (double)whole))
            return false;
        narrow = (int32_t)whole;
        if (param->storage == IN_INT32)
            write_field(params, param, &narrow, sizeof narrow);
        else
            write_field(params, param, &whole, sizeof whole);
        return true;
    case IN_REAL:
        if (is_word)
            real = param->word_value;
        else if (!fkmi_parse_double(text, strlen(text), &real))
            return false;
        *quote = false;
        if (!in_range(param, real))
            return false;
        write_field(params, param, &real, sizeof real);
        return true;
    }
    return false;
}

fkm_status fkm_params_set(fkm_params *params, const char *name, const char *value)
{
    const struct param *param;
    fkm_params changed;
    bool quote;

    FKMI_TRY(find_in(params, name, &param));
    if (!value)
        return fkmi_fail(FKM_EINVAL, "the value of %s is NULL", name);
    if (!parse_field(&changed, param, value, &quote))
        return refuse_value(param, value, quote);
    write_field(params, param, field_in(&changed, param), field_size(param));
    return FKM_OK;
}

fkm_status fkm_params_get(const fkm_params *params, const char *name, char *text, size_t size)
{
    const struct param *param;
    char value[64];

    if (!text || size == 0)
        return fkmi_fail(FKM_EINVAL, "there is no room for a value");
    text[0] = '\0';
    FKMI_TRY(find_in(params, name, &param));
    FKMI_TRY(check_field(params, param));
    print_value(params, param, value, sizeof value);
    if (strlen(value) >= size)
        return fkmi_fail(FKM_EINVAL, "%s is '%s': that needs %zu bytes, there are %zu", name, value,
                         strlen(value) + 1, size);
    memcpy(text, value, strlen(value) + 1);
    return FKM_OK;
}

size_t fkm_param_count(void) { return N_PARAMS; }

const fkm_param_info *fkm_param_at(size_t index)
{
    return index < N_PARAMS ? &params_table[index].info : NULL;
}

/* ---- names of values */

const char *fkmi_task_name(fkm_task task)
{
    static const char *const names[] = {"clusterer", "classifier", "multilabel", "regressor"};

    assert((unsigned)task < 4);
    return names[task];
}

const char *fkmi_metric_name(fkm_metric metric)
{
    static const char *const names[] = {"cosine", "euclidean", "l1"};

    assert((unsigned)metric < 3);
    return names[metric];
}

const char *fkmi_soft_name(fkm_soft soft)
{
    static const char *const names[] = {"hard", "mean", "scaled", "softmax_scaled"};

    assert((unsigned)soft < 4);
    return names[soft];
}
