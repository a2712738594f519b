/* test.c — runs the registered tests, one line each.
 * SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

static struct test_case *first, **last = &first;
static jmp_buf leave;
static const char *skipped;

void test_register(struct test_case *test)
{
    *last = test;
    last = &test->next;
}

_Noreturn void test_fail(const char *file, int line, const char *format, ...)
{
    va_list arguments;

    printf("  %s:%d: ", file, line);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    longjmp(leave, 1);
}

_Noreturn void test_skip(const char *reason)
{
    skipped = reason;
    longjmp(leave, 2);
}

int main(int argc, char **argv)
{
    static int n_passed, n_failed, n_skipped;
    static struct test_case *test;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (test = first; test; test = test->next) {
        if (argc > 1 && !strstr(test->name, argv[1]))
            continue;
        switch (setjmp(leave)) {
        case 0:
            test->run();
            n_passed++;
            printf("ok %s\n", test->name);
            break;
        case 1:
            n_failed++;
            printf("FAILED %s\n", test->name);
            break;
        default:
            n_skipped++;
            printf("skipped %s: %s\n", test->name, skipped);
        }
    }
    printf("%d passed, %d failed, %d skipped\n", n_passed, n_failed, n_skipped);
    if (n_failed > 0)
        return EXIT_FAILURE;
    return n_passed == 0 && n_skipped > 0 ? 77 : EXIT_SUCCESS;
}
