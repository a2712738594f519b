/* test_json.c — what RFC 8259 allows is read, everything else is refused with its place; what is written
 * reads back.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include "base/memory.h"
#include "support/test.h"

enum { NODES = 100 };

static fkm_status parse(struct fkmi_json *json, const char *text)
{
    return fkmi_json_parse(json, text, strlen(text), NODES);
}

TEST(a_document_becomes_nodes_in_order)
{
    struct fkmi_json json;
    const struct fkmi_json_node *node;
    int64_t whole;

    CHECK_OK(parse(
        &json, " {\"a\": [1, -2.5e1, []], \"b\": {\"c\": \"x\", \"d\": null}, \"e\": true, \"f\":false} "));
    CHECK_INT(10, json.n_nodes);
    CHECK_INT(FKMI_JSON_OBJECT, json.nodes[0].kind);
    CHECK_INT(4, json.nodes[0].n_children);
    CHECK_INT(10, json.nodes[0].end);
    node = fkmi_json_member(&json, &json.nodes[0], "a");
    CHECK(node && node->kind == FKMI_JSON_ARRAY);
    CHECK_INT(3, node->n_children);
    CHECK_INT(5, node->end);
    CHECK(!node[1].key);
    CHECK(fkmi_json_int64(&node[1], &whole) && whole == 1);
    CHECK(!fkmi_json_int64(&node[2], &whole)); /* -2.5e1 is no integer as written */
    CHECK_NEAR(-25, node[2].number, 0);
    CHECK_TEXT("-2.5e1", node[2].text);
    CHECK_INT(0, node[3].n_children);
    node = fkmi_json_member(&json, &json.nodes[0], "b");
    CHECK(node && node->kind == FKMI_JSON_OBJECT);
    CHECK_TEXT("x", fkmi_json_member(&json, node, "c")->text);
    CHECK_INT(FKMI_JSON_NULL, fkmi_json_member(&json, node, "d")->kind);
    CHECK(!fkmi_json_member(&json, node, "e")); /* it is the parent's */
    CHECK(fkmi_json_member(&json, &json.nodes[0], "e")->boolean);
    CHECK(!fkmi_json_member(&json, &json.nodes[0], "f")->boolean);
    CHECK(!fkmi_json_member(&json, &json.nodes[1], "a")); /* arrays have no members */
    CHECK(!fkmi_json_int64(NULL, &whole));
    fkmi_json_free(&json);
    fkmi_json_free(&json);
}

TEST(values_of_every_kind_may_be_a_document)
{
    static const char *const right[] = {"0",
                                        "-0",
                                        "1.5",
                                        "1e5",
                                        "1E-5",
                                        "true",
                                        "false",
                                        "null",
                                        "\"\"",
                                        "\"\\\"\"",
                                        "[]",
                                        "{}",
                                        "[ ]",
                                        "{ }",
                                        "[[]]",
                                        "\t\r\n 1 ",
                                        "{\"\":1}",
                                        "\"\xc3\xa9\"",
                                        "\"\xf0\x9f\x98\x80\"",
                                        "[1,2]",
                                        "\"\x7f\""};
    struct fkmi_json json;

    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        if (parse(&json, right[i]) != FKM_OK)
            test_fail(__FILE__, __LINE__, "'%s': %s", right[i], fkm_last_error());
        fkmi_json_free(&json);
    }
}

TEST(everything_else_is_refused)
{
    static const char *const wrong[] = {"",
                                        " ",
                                        "01",
                                        "+1",
                                        "1.",
                                        ".5",
                                        "1e",
                                        "1e+",
                                        "-",
                                        "--1",
                                        "0x1",
                                        "1e999",
                                        "NaN",
                                        "Infinity",
                                        "tru",
                                        "nul",
                                        "True",
                                        "[",
                                        "]",
                                        "[1",
                                        "[1,",
                                        "[1,]",
                                        "[,1]",
                                        "[1 2]",
                                        "{",
                                        "}",
                                        "{\"a\"",
                                        "{\"a\":",
                                        "{\"a\":1",
                                        "{\"a\":1,}",
                                        "{a:1}",
                                        "{1:1}",
                                        "{\"a\" 1}",
                                        "{\"a\":1 \"b\":2}",
                                        "[}",
                                        "{]",
                                        "[1}",
                                        "{\"a\":1]",
                                        "1 2",
                                        "[] []",
                                        "\"",
                                        "\"a",
                                        "\"\\\"",
                                        "\"\\x\"",
                                        "\"\\u12\"",
                                        "\"\\u12g4\"",
                                        "\"\\u0000\"",
                                        "\"\\ud800\"",
                                        "\"\\udc00\"",
                                        "\"\\ud800\\u0041\"",
                                        "\"\\ud800\\ud800\"",
                                        "\"\t\"",
                                        "\"\n\"",
                                        "\"\x01\"",
                                        "\"\x80\"",
                                        "\"\xc0\x80\"",
                                        "\"\xc3\"",
                                        "\"\xe0\x80\x80\"",
                                        "\"\xed\xa0\x80\"",
                                        "\"\xf0\x80\x80\x80\"",
                                        "\"\xf4\x90\x80\x80\"",
                                        "\"\xf5\x80\x80\x80\"",
                                        "\"\xff\"",
                                        "\xef\xbb\xbf"
                                        "1",
                                        "/**/1",
                                        "'a'",
                                        "[1]x",
                                        "{\"a\":1,\"a\":2}",
                                        "{\"x\":{\"a\":1,\"b\":2,\"a\":3}}",
                                        "{\"a\":1,\"\\u0061\":2}"};
    const size_t before = fkmi_memory_held();
    struct fkmi_json json;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (parse(&json, wrong[i]) != FKM_EDATA)
            test_fail(__FILE__, __LINE__, "'%s' was accepted", wrong[i]);
        CHECK_SAYS("byte ", fkm_last_error());
        CHECK(!json.nodes && !json.text);
    }
    CHECK_STATUS(FKM_EDATA, fkmi_json_parse(&json, "1\0", 2, NODES));
    CHECK_STATUS(FKM_EDATA, fkmi_json_parse(&json, "\"\0\"", 3, NODES));
    CHECK_INT(before, fkmi_memory_held());
}

TEST(a_complaint_names_the_byte)
{
    struct fkmi_json json;

    CHECK_STATUS(FKM_EDATA, parse(&json, "[1, 2, x]"));
    CHECK_TEXT("JSON, byte 7: a value was expected", fkm_last_error());
    CHECK_STATUS(FKM_EDATA, parse(&json, "{\"a\": 1, \"b\": 2, \"a\": 3}"));
    CHECK_TEXT("JSON, byte 17: member 'a' occurs twice", fkm_last_error());
}

TEST(the_same_name_in_different_objects_is_fine)
{
    struct fkmi_json json;

    CHECK_OK(parse(&json, "[{\"a\":1,\"b\":{\"a\":2,\"b\":3}},{\"a\":4}]"));
    fkmi_json_free(&json);
}

TEST(depth_and_number_of_values_are_bounded)
{
    struct fkmi_json json;
    char deep[64];

    memset(deep, '[', 16);
    memset(deep + 16, ']', 16);
    CHECK_OK(fkmi_json_parse(&json, deep, 32, NODES));
    CHECK_INT(16, json.n_nodes);
    fkmi_json_free(&json);
    memset(deep, '[', 17);
    memset(deep + 17, ']', 17);
    CHECK_STATUS(FKM_EDATA, fkmi_json_parse(&json, deep, 34, NODES));
    CHECK_SAYS("nested too deeply", fkm_last_error());
    CHECK_OK(fkmi_json_parse(&json, "[1,2,3]", 7, 4));
    fkmi_json_free(&json);
    CHECK_STATUS(FKM_EDATA, fkmi_json_parse(&json, "[1,2,3]", 7, 3));
    CHECK_SAYS("more than 3 values", fkm_last_error());
    CHECK_STATUS(FKM_EDATA, fkmi_json_parse(&json, "1", 1, 0));
}

TEST(escapes_become_characters)
{
    struct fkmi_json json;

    CHECK_OK(parse(&json, "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\ud83d\\ude00\""));
    CHECK_TEXT("\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", json.nodes[0].text);
    fkmi_json_free(&json);
}

TEST(many_members_are_searched_for_duplicates)
{
    enum { N = 3000 };
    struct fkmi_json json;
    char *text;
    size_t length = 0;

    CHECK_OK(fkmi_alloc(&text, N * 16 + 64, 1));
    for (int i = 0; i < N; i++)
        length += (size_t)sprintf(text + length, "%c\"k%d\":%d", i ? ',' : '{', (i * 1237) % N, i);
    text[length] = '}';
    CHECK_OK(fkmi_json_parse(&json, text, length + 1, N + 1));
    for (int i = 0; i < N; i += 100) {
        char key[16];
        int64_t value;

        snprintf(key, sizeof key, "k%d", (i * 1237) % N);
        CHECK(fkmi_json_int64(fkmi_json_member(&json, &json.nodes[0], key), &value));
        CHECK_INT(i, value);
    }
    fkmi_json_free(&json);
    length += (size_t)sprintf(text + length, ",\"k77\":0}");
    CHECK_STATUS(FKM_EDATA, fkmi_json_parse(&json, text, length, N + 5));
    CHECK_SAYS("member 'k77' occurs twice", fkm_last_error());
    fkmi_free(text);
}

TEST(what_is_written_reads_back)
{
    struct fkmi_json_writer writer = {0};
    struct fkmi_json json;
    const struct fkmi_json_node *list;
    int64_t whole;

    fkmi_json_begin(&writer, NULL, '{');
    fkmi_json_string(&writer, "te\"xt", "a\\b\"c\n\x01\x7f\xc3\xa9");
    fkmi_json_string(&writer, "nothing", NULL);
    fkmi_json_begin(&writer, "list", '[');
    fkmi_json_double(&writer, NULL, 0.1);
    fkmi_json_double(&writer, NULL, NAN);
    fkmi_json_integer(&writer, NULL, INT64_MIN);
    fkmi_json_begin(&writer, NULL, '{');
    fkmi_json_end(&writer, '}');
    fkmi_json_boolean(&writer, NULL, true);
    fkmi_json_end(&writer, ']');
    fkmi_json_boolean(&writer, "no", false);
    fkmi_json_end(&writer, '}');
    CHECK_OK(writer.status);
    CHECK_TEXT("{\"te\\\"xt\":\"a\\\\b\\\"c\\u000a\\u0001\x7f\xc3\xa9\",\"nothing\":null,"
               "\"list\":[0.1,null,-9223372036854775808,{},true],\"no\":false}",
               writer.text);
    CHECK_INT(strlen(writer.text), writer.length);
    CHECK_OK(parse(&json, writer.text));
    CHECK_TEXT("a\\b\"c\n\x01\x7f\xc3\xa9", fkmi_json_member(&json, &json.nodes[0], "te\"xt")->text);
    list = fkmi_json_member(&json, &json.nodes[0], "list");
    CHECK_NEAR(0.1, list[1].number, 0);
    CHECK(fkmi_json_int64(&list[3], &whole) && whole == INT64_MIN);
    fkmi_json_free(&json);
    fkmi_json_writer_free(&writer);
    CHECK(!writer.text);
}

TEST(a_writer_grows_and_remembers_its_first_failure)
{
    struct fkmi_json_writer writer = {0};

    fkmi_json_begin(&writer, NULL, '[');
    for (int i = 0; i < 5000; i++)
        fkmi_json_integer(&writer, NULL, i);
    fkmi_json_end(&writer, ']');
    CHECK_OK(writer.status);
    CHECK_INT(2 + 4999 + 10 + 180 + 2700 + 16000, writer.length);
    fkmi_json_writer_free(&writer);

    fkmi_json_begin(&writer, NULL, '[');
    fkmi_json_string(&writer, NULL, "bad \xff byte");
    fkmi_json_string(&writer, NULL, "good");
    CHECK_STATUS(FKM_EINVAL, writer.status);
    fkmi_json_writer_free(&writer);

    fkmi_memory_fail(1, 0);
    fkmi_json_begin(&writer, NULL, '[');
    fkmi_memory_fail(0, 0);
    fkmi_json_end(&writer, ']');
    CHECK_STATUS(FKM_ENOMEM, writer.status);
    fkmi_json_writer_free(&writer);
}

TEST(running_out_of_memory_leaks_nothing)
{
    const char *text =
        "{\"a\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30]}";
    const size_t before = fkmi_memory_held();
    struct fkmi_json json;
    fkm_status status = FKM_ENOMEM;
    int64_t n = 0;

    while (status != FKM_OK) {
        CHECK(n < 100);
        fkmi_memory_fail(++n, 0);
        status = parse(&json, text);
        CHECK(status == FKM_OK || status == FKM_ENOMEM);
        if (status != FKM_OK)
            CHECK_INT(before, fkmi_memory_held());
    }
    fkmi_memory_fail(0, 0);
    CHECK(n > 3);
    fkmi_json_free(&json);
    CHECK_INT(before, fkmi_memory_held());
}
