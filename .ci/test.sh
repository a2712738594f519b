#!/usr/bin/env bash
# test.sh — everything that decides whether a change is good: the tests as shipped and under AddressSanitizer and
# UBSan, the threads under ThreadSanitizer, the fuzz targets from their seeds, the Python package with its wheel and
# pages, the build without options.
# Results lie in build/results. FUZZ_SECONDS per target, JOBS at a time.
# SPDX-License-Identifier: Apache-2.0
set -u
cd "$(dirname "$0")/.." || exit 1
jobs=${JOBS:-$(nproc)}
fuzz_seconds=${FUZZ_SECONDS:-20}
results=$PWD/build/results
rm -rf "$results"
mkdir -p "$results"

# step NAME COMMAND...: runs it, remembers how it ended, says how long it took.
step() {
    local name=$1 begin=$SECONDS word=ok
    shift
    echo "== $name"
    "$@" || word=FAILED
    echo "$word $name" | tee -a "$results/steps.txt"
    echo "   $((SECONDS - begin)) s"
    [ $word = ok ]
}

build() { # preset, extra cmake arguments...
    cmake --preset "$@" >"$results/configure-$1.log" 2>&1 || { cat "$results/configure-$1.log"; return 1; }
    cmake --build --preset "$1" -j "$jobs" -- --quiet
}

# ctest's own verdict is in the XML, so that a failing test is counted once and not as a failed step too.
run_tests() { # preset, command to run ctest under...
    local preset=$1
    shift
    "$@" ctest --preset "$preset" -j "$jobs" --output-junit "$results/$preset.xml" \
        --test-output-size-passed 1000000 --test-output-size-failed 1000000 | grep -v '^ *Start '
    grep -q '<testcase' "$results/$preset.xml" || { echo "no test ran in $preset"; return 1; }
}

thread_tests() { # builds only the tests whose name says thread
    local names
    cmake --preset tsan >"$results/configure-tsan.log" 2>&1 || { cat "$results/configure-tsan.log"; return 1; }
    names=$(ctest --preset tsan -N | sed -n 's/^ *Test *#[0-9]*: *//p')
    [ -n "$names" ] || { echo "no test has 'thread' in its name"; return 1; }
    # shellcheck disable=SC2086 # a list of words
    cmake --build --preset tsan -j "$jobs" --target $names -- --quiet
}

arm_kernels="test_tiles test_vectors test_dispatch test_accumulate"
arm_build() { # the tests of the kernels alone: qemu is slow
    cmake --preset aarch64 >"$results/configure-aarch64.log" 2>&1 || { cat "$results/configure-aarch64.log"; return 1; }
    # shellcheck disable=SC2086 # a list of words
    cmake --build --preset aarch64 -j "$jobs" --target $arm_kernels -- --quiet
}
arm_tests() {
    ctest --preset aarch64 -j "$jobs" -R "^(${arm_kernels// /|})\$" --output-junit "$results/aarch64.xml" |
        grep -v '^ *Start '
    grep -q '<testcase' "$results/aarch64.xml" || { echo "no test ran in aarch64"; return 1; }
}

fuzz_one() { # topic
    if fuzz/run.sh "$fuzz_seconds" build/fuzz "$1" >"$results/fuzz_$1.log" 2>&1; then
        echo "ok fuzz_$1" | tee -a "$results/steps.txt"
    else
        cat "$results/fuzz_$1.log"
        echo "FAILED fuzz_$1" | tee -a "$results/steps.txt"
    fi
}

fuzz() {
    local seeds
    for seeds in fuzz/seeds/*/; do
        while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
        fuzz_one "$(basename "$seeds")" &
    done
    wait
}

# ThreadSanitizer cannot place its shadow under the widest address randomisation.
steady=()
setarch -R true 2>/dev/null && steady=(setarch -R)

# Said aloud, because make demo configures the same folder without tests.
with_faiss=OFF
[ -e /usr/include/faiss/IndexHNSW.h ] && with_faiss=ON
step build-release build release -DFKM_BUILD_TESTS=ON -DFKM_WITH_FAISS=$with_faiss && step tests-release run_tests release
step build-asan-ubsan build asan-ubsan && step tests-asan-ubsan run_tests asan-ubsan
step build-tsan thread_tests && step tests-tsan run_tests tsan "${steady[@]}"
if command -v aarch64-linux-gnu-gcc >/dev/null && command -v qemu-aarch64 >/dev/null; then
    step build-aarch64 arm_build && step tests-aarch64 arm_tests
else
    echo "skipped aarch64: no cross compiler, or no qemu-aarch64" | tee -a "$results/steps.txt"
fi
if .ci/has_fuzzer.sh; then
    step build-fuzz build fuzz && fuzz
else
    echo "skipped fuzz: no clang-14 with libFuzzer" | tee -a "$results/steps.txt"
fi
if step build-python .ci/python.sh install; then
    step tests-python .ci/python.sh tests
    step tests-oldest-scikit-learn .ci/python.sh oldest
    step python-extension-asan-ubsan .ci/python_asan.sh
    step python-wheel .ci/python.sh wheel
    step python-docs .ci/python.sh docs
fi
step build-minimal build minimal -DFKM_BUILD_TESTS=OFF && step fkm-minimal build/minimal/cli/fkm version

python3 .ci/count.py "$results"
