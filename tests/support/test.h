/* test.h — TEST(name) { CHECK(...) }: a page of test harness. A failing check ends its test, not the program.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_TESTS_SUPPORT_TEST_H
#define FKM_TESTS_SUPPORT_TEST_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "fastkmeans/fastkmeans.h"

struct test_case {
    const char *name;
    void (*run)(void);
    struct test_case *next;
};
void test_register(struct test_case *test);
_Noreturn void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void test_skip(const char *reason);

/* Defines and registers a test; tests run in the order of the file. main() is in test.c:
 *   test_x [name part]   runs only tests whose name contains the part. */
#define TEST(test_name)                                                                                      \
    static void test_name(void);                                                                             \
    static struct test_case test_case_##test_name = {#test_name, test_name, NULL};                           \
    __attribute__((constructor)) static void test_register_##test_name(void)                                 \
    {                                                                                                        \
        test_register(&test_case_##test_name);                                                               \
    }                                                                                                        \
    static void test_name(void)

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            test_fail(__FILE__, __LINE__, "%s", #condition);                                                 \
    } while (0)
#define CHECK_OK(call)                                                                                       \
    do {                                                                                                     \
        const fkm_status test_status_ = (call);                                                              \
        if (test_status_ != FKM_OK)                                                                          \
            test_fail(__FILE__, __LINE__, "%s: %s: %s", #call, fkm_status_name(test_status_),                \
                      fkm_last_error());                                                                     \
    } while (0)
#define CHECK_STATUS(expected, call)                                                                         \
    do {                                                                                                     \
        const fkm_status test_status_ = (call);                                                              \
        if (test_status_ != (expected))                                                                      \
            test_fail(__FILE__, __LINE__, "%s: %s instead of %s", #call, fkm_status_name(test_status_),      \
                      #expected);                                                                            \
    } while (0)
#define CHECK_INT(expected, actual)                                                                          \
    do {                                                                                                     \
        const long long test_e_ = (long long)(expected), test_a_ = (long long)(actual);                      \
        if (test_e_ != test_a_)                                                                              \
            test_fail(__FILE__, __LINE__, "%s is %lld, expected %lld", #actual, test_a_, test_e_);           \
    } while (0)
/* |actual - expected| <= tolerance; NaN never passes. */
#define CHECK_NEAR(expected, actual, tolerance)                                                              \
    do {                                                                                                     \
        const double test_e_ = (double)(expected), test_a_ = (double)(actual);                               \
        if (!(fabs(test_a_ - test_e_) <= (tolerance)) && !(test_a_ == test_e_))                              \
            test_fail(__FILE__, __LINE__, "%s is %.9g, expected %.9g (+-%g)", #actual, test_a_, test_e_,     \
                      (double)(tolerance));                                                                  \
    } while (0)
#define CHECK_TEXT(expected, actual)                                                                         \
    do {                                                                                                     \
        const char *test_e_ = (expected), *test_a_ = (actual);                                               \
        if (!test_a_ || strcmp(test_e_, test_a_) != 0)                                                       \
            test_fail(__FILE__, __LINE__, "%s is \"%s\", expected \"%s\"", #actual,                          \
                      test_a_ ? test_a_ : "NULL", test_e_);                                                  \
    } while (0)
/* text contains part. */
#define CHECK_SAYS(part, text)                                                                               \
    do {                                                                                                     \
        const char *test_a_ = (text);                                                                        \
        if (!test_a_ || !strstr(test_a_, (part)))                                                            \
            test_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", test_a_ ? test_a_ : "NULL", (part)); \
    } while (0)

#endif
