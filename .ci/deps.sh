#!/bin/sh
# deps.sh build|test — installs the Debian packages that are missing, and nothing that is there.
# SPDX-License-Identifier: Apache-2.0
set -eu

has() { command -v "$1" >/dev/null 2>&1; }
compiles() { echo "$1" | gcc -E -x c - >/dev/null 2>&1; }

cmake_is_new_enough() {
    has cmake || return 1
    version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    # shellcheck disable=SC2086 # two words on purpose
    set -- $version
    [ "$1" -gt 3 ] || { [ "$1" -eq 3 ] && [ "$2" -ge 22 ]; }
}

install() { # packages...
    [ $# -gt 0 ] || return 0
    echo "installing: $*"
    root=
    if [ "$(id -u)" -ne 0 ]; then
        has sudo || { echo "please install: $*" >&2; return 1; }
        root=sudo
    fi
    has apt-get || { echo "please install what this machine calls: $*" >&2; return 1; }
    $root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

missing=
cmake_is_new_enough || missing="$missing cmake"
has ninja || missing="$missing ninja-build"
has gcc || missing="$missing gcc"
compiles '#include <pthread.h>' || missing="$missing libc6-dev"
compiles '#include <zlib.h>' || missing="$missing zlib1g-dev"
has g++ || missing="$missing g++"
has pkg-config || missing="$missing pkg-config"
has python3 || missing="$missing python3"
{ has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; } || missing="$missing python3-venv"
has_python_headers() {
    has python3 && python3 -c 'import os, sysconfig
raise SystemExit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' 2>/dev/null
}
has_python_headers || missing="$missing python3-dev"
# shellcheck disable=SC2086 # a list of words
install $missing

# Fuzzing needs clang with its runtime; without them the fuzz targets are skipped by name.
if [ "$1" = test ] && ! .ci/has_fuzzer.sh; then
    install clang-14 libclang-rt-14-dev || echo "no clang-14: the fuzz targets will be skipped" >&2
fi

# The kernels' tests for 64-bit ARM run under qemu; without it they are skipped by name.
if [ "$1" = test ] && ! { has aarch64-linux-gnu-gcc && has qemu-aarch64; }; then
    install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user ||
        echo "no cross compiler or qemu: the kernels' tests for aarch64 will be skipped" >&2
fi

# Search by libfaiss is tested where it is (8 MB, 36 with LAPACK's headers); else its tests are skipped by name.
if [ "$1" = test ] && ! [ -e /usr/include/faiss/IndexHNSW.h ]; then
    install libfaiss-dev || echo "no libfaiss-dev: the test of faiss will be skipped" >&2
fi
