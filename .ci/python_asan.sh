#!/usr/bin/env bash
# python_asan.sh [SANITIZERS [PYTEST ARGUMENTS...]] — the tests of the Python extension under sanitizers: address,undefined
# unless told otherwise, or thread. PYTHON is an interpreter with numpy, scikit-learn and pytest; BUILD the folder.
# SPDX-License-Identifier: Apache-2.0
set -eu
cd "$(dirname "$0")/.."
sanitizers=${1:-address,undefined}
[ $# -eq 0 ] || shift
python=${PYTHON:-build/venv-test/bin/python}
build=${BUILD:-build/python-${sanitizers/,/-}}
gcc=${CC:-gcc}

cmake -S . -B "$build" -G Ninja -DCMAKE_C_COMPILER="$gcc" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DCMAKE_C_FLAGS_RELWITHDEBINFO="-O1 -g" -DFKM_SANITIZE="$sanitizers" -DFKM_BUILD_PYTHON=ON -DFKM_BUILD_CLI=OFF \
    -DFKM_BUILD_TESTS=OFF -DFKM_INSTALL=OFF -DPython_EXECUTABLE="$(command -v "$python")" >"$build.log" 2>&1 ||
    { cat "$build.log"; exit 1; }
cmake --build "$build" --target fkm_python -j "${JOBS:-2}" -- --quiet

# The package with that extension: the sources by link.
package=$build/package/fast_kmeans
rm -rf "$build/package" && mkdir -p "$package"
for file in python/fast_kmeans/*; do
    case $file in *.so | *__pycache__) ;; *) ln -s "$PWD/$file" "$package/" ;; esac
done
cp "$build"/python/_core*.so "$package/"

# The interpreter itself is not instrumented, so the runtime comes first, and what the interpreter keeps is no leak.
# A sanitizer keeps freed memory and slows everything down: growth and seconds are measured without one.
runtime=libasan.so
steady=()
case $sanitizers in
*thread*)
    runtime=libtsan.so
    setarch -R true 2>/dev/null && steady=(setarch -R)
    ;;
esac
[ $# -gt 0 ] || set -- tests/python/test_core_{module,borrow,model,errors,threads}.py
LD_PRELOAD=$("$gcc" -print-file-name=$runtime) PYTHONPATH=$build/package PYTHONDONTWRITEBYTECODE=1 \
    ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 \
    TSAN_OPTIONS=die_after_fork=0:report_signal_unsafe=0:halt_on_error=1 \
    "${steady[@]}" "$python" -m pytest -q -p no:cacheprovider "$@"
