/* test_number.c — decimal text against the C library, by the million, and under a locale with commas.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"

#include <locale.h>
#include <stdlib.h>

#include "base/random.h"
#include "support/test.h"

static double read(const char *text)
{
    double value = -12345;

    if (!fkmi_parse_double(text, strlen(text), &value))
        test_fail(__FILE__, __LINE__, "'%s' was not read", text);
    return value;
}

static bool reads(const char *text)
{
    double value;

    return fkmi_parse_double(text, strlen(text), &value);
}

static double double_of(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

TEST(numbers_in_all_their_spellings)
{
    CHECK_NEAR(0, read("0"), 0);
    CHECK_NEAR(12.5, read("12.5"), 0);
    CHECK_NEAR(-0.001, read("-1e-3"), 0);
    CHECK_NEAR(0.5, read(".5"), 0);
    CHECK_NEAR(5, read("5."), 0);
    CHECK_NEAR(5, read("+5"), 0);
    CHECK_NEAR(1e22, read("1E+22"), 0);
    CHECK_NEAR(1, read("0000001.000"), 0);
    CHECK_NEAR(1e-10, read("0.0000000001"), 0);
    CHECK(signbit(read("-0")));
    CHECK(isnan(read("NaN")));
    CHECK(isnan(read("-nan")));
    CHECK_NEAR((double)INFINITY, read("Inf"), 0);
    CHECK_NEAR(-(double)INFINITY, read("-INFINITY"), 0);
}

TEST(what_is_no_number_is_refused)
{
    static const char *const wrong[] = {
        "",     " 1",  "1 ",  "+",     "-",    ".",       "e5", ".e5",   "1e",  "1e+",   "1.2.3",
        "0x10", "1,5", "--1", "1_000", "nano", "infinit", "1f", "1e5.0", "+-1", "1e309", "-1e999999999999"};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (reads(wrong[i]))
            test_fail(__FILE__, __LINE__, "'%s' was read", wrong[i]);
    CHECK(!fkmi_parse_double("1\0", 2, &(double){0}));
}

TEST(only_the_given_bytes_are_read)
{
    double value;

    CHECK(fkmi_parse_double("12345", 2, &value));
    CHECK_NEAR(12, value, 0);
    CHECK(fkmi_parse_double("1.5e300", 3, &value));
    CHECK_NEAR(1.5, value, 0);
}

TEST(the_hard_cases_round_correctly)
{
    /* Published cases: halfway points, the smallest and largest numbers, long tails. */
    CHECK(read("9007199254740993") == 0x1p53);
    CHECK(read("9007199254740993.00000000000000000000000000000000000000001") == 0x1.0000000000001p53);
    CHECK(read("2.2250738585072011e-308") == 0x0.fffffffffffffp-1022);
    CHECK(read("2.2250738585072012e-308") == 0x1p-1022);
    CHECK(read("4.9406564584124654e-324") == 0x1p-1074);
    CHECK(read("2.4703282292062327e-324") == 0); /* below half of the smallest */
    CHECK(read("2.4703282292062328e-324") == 0x1p-1074);
    CHECK(read("1.7976931348623157e308") == 0x1.fffffffffffffp1023);
    CHECK(read("1.7976931348623158e308") == 0x1.fffffffffffffp1023);
    CHECK(!reads("1.7976931348623159e308"));
    CHECK(read("1e-400") == 0);
    CHECK(read("1e-99999999999999999999") == 0);
}

TEST(a_thousand_digits_are_read_to_the_last)
{
    char text[3000];

    /* 1 + 2^-53 lies in the middle of two doubles; a digit far behind decides. */
    strcpy(text, "1.00000000000000011102230246251565404236316680908203125");
    CHECK(read(text) == 1);
    memset(text + strlen(text), '0', 2000);
    text[2050] = '\0';
    CHECK(read(text) == 1);
    strcat(text, "1");
    CHECK(read(text) == 0x1.0000000000001p0);
    memset(text, '0', 2000); /* zeros in front count for nothing */
    strcpy(text + 2000, "7");
    CHECK(read(text) == 7);
    memset(text + 1, '0', 2000);
    text[0] = '3';
    strcpy(text + 2001, "e-2000");
    CHECK(read(text) == 3);
}

TEST(random_numbers_are_read_as_the_c_library_reads_them)
{
    struct fkmi_random random = fkmi_random_from(11);

    for (int i = 0; i < 300000; i++) {
        const uint64_t digits = fkmi_random_u64(&random) >> fkmi_random_below(&random, 60);
        const int exponent = (int)fkmi_random_below(&random, i % 2 ? 60 : 650) - (i % 2 ? 30 : 340);
        char text[64];
        double value;

        snprintf(text, sizeof text, "%llue%d", (unsigned long long)digits, exponent);
        if (!fkmi_parse_double(text, strlen(text), &value))
            value = (double)INFINITY;
        if (value != strtod(text, NULL))
            test_fail(__FILE__, __LINE__, "%s is read as %.17g", text, value);
    }
}

TEST(every_double_comes_back_from_its_text)
{
    struct fkmi_random random = fkmi_random_from(12);
    char text[32];

    for (int i = 0; i < 200000; i++) {
        uint64_t bits = fkmi_random_u64(&random);
        double value, back;

        if (i % 4 == 0)
            bits &= 0x800fffffffffffffu; /* subnormal */
        value = double_of(bits);
        if (!isfinite(value))
            continue;
        fkmi_print_double(text, value);
        CHECK(fkmi_parse_double(text, strlen(text), &back));
        CHECK(back == value);
        CHECK(strtod(text, NULL) == value);
    }
}

TEST(text_is_as_short_as_it_can_be)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0.1, "0.1"},
                 {1.0 / 3, "0.3333333333333333"},
                 {100, "100"},
                 {1e300, "1e+300"},
                 {-2.5, "-2.5"},
                 {5e-324, "5e-324"},
                 {0, "0"},
                 {-0.0, "-0"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {1e15, "1e+15"},
                 {123456789, "123456789"}};
    char text[32];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fkmi_print_double(text, cases[i].value);
        CHECK_TEXT(cases[i].text, text);
    }
    fkmi_print_double(text, NAN);
    CHECK_TEXT("nan", text);
    fkmi_print_double(text, -INFINITY);
    CHECK_TEXT("-inf", text);
    fkmi_print_double(text, -0x1.fffffffffffffp-1023);
    CHECK(strlen(text) < 32);
}

TEST(a_locale_with_commas_changes_nothing)
{
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8", "fr_FR.utf8", "de_DE"};
    char text[32];
    bool found = false;

    for (size_t i = 0; i < sizeof names / sizeof *names && !found; i++)
        found = setlocale(LC_ALL, names[i]) != NULL && strcmp(localeconv()->decimal_point, ",") == 0;
    if (!found)
        test_skip("no such locale here");
    fkmi_print_double(text, 1.5);
    CHECK_TEXT("1.5", text);
    CHECK_NEAR(1.5, read("1.5"), 0);
    CHECK(read("1.23456789012345678901234567890123") == 0x1.3c0ca428c59fbp0);
    CHECK(!reads("1,5"));
    setlocale(LC_ALL, "C");
}

TEST(whole_numbers)
{
    int64_t value;

    CHECK(fkmi_parse_int64("9223372036854775807", 19, &value) && value == INT64_MAX);
    CHECK(fkmi_parse_int64("-9223372036854775808", 20, &value) && value == INT64_MIN);
    CHECK(fkmi_parse_int64("+007", 4, &value) && value == 7);
    CHECK(fkmi_parse_int64("-0", 2, &value) && value == 0);
    CHECK(!fkmi_parse_int64("9223372036854775808", 19, &value));
    CHECK(!fkmi_parse_int64("-9223372036854775809", 20, &value));
    CHECK(!fkmi_parse_int64("99999999999999999999", 20, &value));
    CHECK(!fkmi_parse_int64("", 0, &value));
    CHECK(!fkmi_parse_int64("-", 1, &value));
    CHECK(!fkmi_parse_int64("1.0", 3, &value));
    CHECK(!fkmi_parse_int64(" 1", 2, &value));
}
