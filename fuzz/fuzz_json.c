/* fuzz_json.c — JSON: what is read can be written and reads back as the same tree.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "fuzz/fuzz.h"

#define NODES_MAX 2000

/* Writes node i and what is under it; the depth is bounded by the reader. */
static void write_node(struct fkmi_json_writer *writer, const struct fkmi_json *json, int32_t i)
{
    const struct fkmi_json_node *node = &json->nodes[i];
    int32_t child;

    switch (node->kind) {
    case FKMI_JSON_NULL:
        fkmi_json_string(writer, node->key, NULL);
        break;
    case FKMI_JSON_BOOL:
        fkmi_json_boolean(writer, node->key, node->boolean);
        break;
    case FKMI_JSON_NUMBER:
        fkmi_json_double(writer, node->key, node->number);
        break;
    case FKMI_JSON_STRING:
        fkmi_json_string(writer, node->key, node->text);
        break;
    default:
        fkmi_json_begin(writer, node->key, node->kind == FKMI_JSON_ARRAY ? '[' : '{');
        for (child = i + 1; child < node->end; child = json->nodes[child].end)
            write_node(writer, json, child);
        fkmi_json_end(writer, node->kind == FKMI_JSON_ARRAY ? ']' : '}');
    }
}

static void check_tree(const struct fkmi_json *json)
{
    int32_t i, child, n;

    REQUIRE(json->n_nodes >= 1 && json->n_nodes <= NODES_MAX && json->nodes[0].end == json->n_nodes);
    for (i = 0; i < json->n_nodes; i++) {
        const struct fkmi_json_node *node = &json->nodes[i];

        n = 0;
        REQUIRE(node->end > i && node->end <= json->n_nodes);
        for (child = i + 1; child < node->end; child = json->nodes[child].end) {
            REQUIRE((json->nodes[child].key != NULL) == (node->kind == FKMI_JSON_OBJECT));
            if (node->kind == FKMI_JSON_OBJECT)
                REQUIRE(fkmi_json_member(json, node, json->nodes[child].key) == &json->nodes[child]);
            n++;
        }
        REQUIRE(n == node->n_children);
    }
}

static void check_same(const struct fkmi_json *a, const struct fkmi_json *b)
{
    int32_t i;

    REQUIRE(a->n_nodes == b->n_nodes);
    for (i = 0; i < a->n_nodes; i++) {
        const struct fkmi_json_node *x = &a->nodes[i], *y = &b->nodes[i];

        REQUIRE(x->kind == y->kind && x->end == y->end && !x->key == !y->key);
        REQUIRE(!x->key || strcmp(x->key, y->key) == 0);
        REQUIRE(x->kind != FKMI_JSON_STRING || strcmp(x->text, y->text) == 0);
        REQUIRE(x->kind != FKMI_JSON_NUMBER || x->number == y->number);
        REQUIRE(x->kind != FKMI_JSON_BOOL || x->boolean == y->boolean);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fkmi_json json = {0}, again = {0};
    struct fkmi_json_writer writer = {0};
    char *text = malloc(size + 1); /* exactly as long, so that reading beyond it is seen */

    REQUIRE(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    if (fkmi_json_parse(&json, text, size, NODES_MAX) == FKM_OK) {
        check_tree(&json);
        write_node(&writer, &json, 0);
        REQUIRE(writer.status == FKM_OK);
        REQUIRE(fkmi_json_parse(&again, writer.text, writer.length, NODES_MAX) == FKM_OK);
        check_same(&json, &again);
    }
    fkmi_json_writer_free(&writer);
    fkmi_json_free(&json);
    fkmi_json_free(&again);
    free(text);
    return 0;
}
