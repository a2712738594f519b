/* 03_tags.c — tags notes by their words: rows are sparse (CSR), a row may carry several tags or one.
 * Build: cc 03_tags.c $(pkg-config --cflags --libs fastkmeans)
 * SPDX-License-Identifier: Apache-2.0 */
#include <fastkmeans/fastkmeans.h>

#include <stdio.h>
#include <stdlib.h>

enum { N = 900, D = 300, WORDS = 8, TAGS = 3 };

static void check(fkm_status status)
{
    if (status == FKM_OK)
        return;
    fprintf(stderr, "%s: %s\n", fkm_status_name(status), fkm_last_error());
    exit(EXIT_FAILURE);
}

static float ones[N * WORDS];
static int64_t row_start[N + 1], tag_start[N + 1];
static int32_t words[N * WORDS], tags[N * 2];

/* Each tag has 100 words. Row i speaks of tag i % 3, every other row of the next tag as well. */
static void write_note(int i)
{
    const int a = i % TAGS, b = i % 2 ? a : (a + 1) % TAGS, low = a < b ? a : b, high = a < b ? b : a;
    for (int w = 0; w < WORDS; w++) { /* word numbers ascend within a row */
        words[i * WORDS + w] = (int32_t)(100 * (w < WORDS / 2 ? low : high) + 12 * w + rand() % 12);
        ones[i * WORDS + w] = 1;
    }
    row_start[i + 1] = row_start[i] + WORDS;
    tag_start[i + 1] = tag_start[i] + (low == high ? 1 : 2);
    tags[tag_start[i]] = low, tags[tag_start[i + 1] - 1] = high;
}

int main(void)
{
    fkm_params params = FKM_PARAMS_INIT;
    fkm_batch batch = FKM_BATCH_INIT;
    fkm_context *context = NULL;
    fkm_model *model = NULL;
    uint8_t has[TAGS];
    for (int i = 0; i < N; i++)
        write_note(i);
    batch.n_rows = N, batch.n_cols = D, batch.values = ones, batch.indptr = row_start, batch.indices = words;
    batch.tag_indptr = tag_start, batch.tags = tags, batch.n_tags = TAGS;

    params.task = FKM_TASK_MULTILABEL;
    check(fkm_context_create(NULL, &context));
    check(fkm_model_create(context, &params, &model));
    check(fkm_model_fit(model, &batch, NULL));
    check(fkm_model_finetune(model, &batch, NULL));

    batch.n_rows = 1; /* ask about the first note: it was given tags 0 and 1 */
    check(fkm_model_predict_tags(model, &batch, FKM_STRATEGY_ADAPTIVE, 1, has));
    printf("the first note has: tag 0 %d, tag 1 %d, tag 2 %d\n", has[0], has[1], has[2]);
    fkm_model_free(model);
    fkm_context_free(context);
    return has[0] && has[1] && !has[2] ? EXIT_SUCCESS : EXIT_FAILURE;
}
