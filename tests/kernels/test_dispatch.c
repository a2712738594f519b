/* test_dispatch.c — the choice of an instruction set; FKM_ISA is read once, so each choice is a process of
 * its own.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cpu.h"
#include "kernels/kernels.h"
#include "support/test.h"

/* Whether a process with FKM_ISA=wanted uses `expected`. */
static bool chooses(const char *wanted, const char *expected)
{
    const pid_t child = fork();
    int result = 1;

    if (child == 0) {
        if (wanted)
            setenv("FKM_ISA", wanted, 1);
        else
            unsetenv("FKM_ISA");
        _exit(strcmp(fkm_isa(), expected) == 0 && strcmp(fkmi_kernels_best()->isa, expected) == 0 ? 0 : 1);
    }
    waitpid(child, &result, 0);
    return WIFEXITED(result) && WEXITSTATUS(result) == 0;
}

TEST(the_environment_names_an_instruction_set)
{
    const struct fkmi_kernels *tables[8];
    const int n = fkmi_kernels_all(tables, 8);

    CHECK(n >= 1);
    CHECK_TEXT("scalar", tables[n - 1]->isa);
    for (int i = 0; i < n; i++)
        CHECK(chooses(tables[i]->isa, tables[i]->isa));
    CHECK(chooses(NULL, tables[0]->isa));
    CHECK(chooses("", tables[0]->isa));
    CHECK(chooses("mmx", tables[0]->isa));
    CHECK(chooses("AVX2", tables[0]->isa));
}

#if defined(__aarch64__)
TEST(each_64_bit_arm_has_neon)
{
    CHECK(chooses("neon", "neon"));
    CHECK(chooses("neon_dot", fkmi_cpu_has_neon_dot() ? "neon_dot" : "neon"));
    CHECK(chooses(NULL, fkmi_cpu_has_neon_dot() ? "neon_dot" : "neon"));
}
#endif

TEST(every_table_is_whole)
{
    const struct fkmi_kernels *tables[8];
    const int n = fkmi_kernels_all(tables, 8);

    CHECK_INT(1, fkmi_kernels_all(tables, 1));
    for (int i = 0; i < n; i++)
        for (int t = 0; t < FKMI_N_DTYPES; t++) {
            const struct fkmi_tile *tile = &tables[i]->tile[t];

            CHECK(tile->rows >= 1 && tile->rows <= 32 && tile->cols >= 1 && tile->cols <= 32);
            CHECK(tile->dot && tile->l1 && tile->l1_weighted && tile->dot_sparse && tile->l1_sparse);
            CHECK(tile->dot_sparse_f64 && tile->l1_sparse_f64);
            CHECK(tile->pack && tile->above && tile->highest);
            for (int real = 0; real < FKMI_N_REALS; real++)
                CHECK(tables[i]->vector[real].load[t] && tables[i]->vector[real].store[t]);
        }
}
