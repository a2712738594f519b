#!/bin/sh
# Whether clang-14 is here with the libFuzzer and sanitizer runtimes.
# SPDX-License-Identifier: Apache-2.0
command -v clang-14 >/dev/null 2>&1 &&
    ls "$(clang-14 -print-resource-dir)"/lib/*/libclang_rt.fuzzer-* >/dev/null 2>&1
