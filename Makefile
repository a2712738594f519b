# make demo    installs what is missing, builds, learns scikit-learn's bundled data sets with the command and from
#              Python and prints the figures
# make test    everything that decides whether a change is good
# make bench   every figure: the benchmarks (make bench-programs), then the tables against scikit-learn, faiss, PyTorch,
#              scipy and, with SUPERKMEANS=folder, SuperKMeans (make bench-peers; an hour)
# make docs    builds the pages for Python users: build/docs/index.html
# Anything else is plain CMake: cmake --preset dev && cmake --build --preset dev && ctest --preset dev
# SPDX-License-Identifier: Apache-2.0
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 20
export JOBS FUZZ_SECONDS

.PHONY: demo test bench bench-programs bench-peers docs format format-check release clean deps deps-test

demo: release
	examples/demo.sh
	.ci/python.sh quickstart

release: deps
	cmake --preset release -DFKM_BUILD_TESTS=OFF -DFKM_WITH_FAISS=OFF
	cmake --build --preset release -j $(JOBS)

test: deps-test
	.ci/test.sh

bench: bench-programs bench-peers

bench-programs: deps
	cmake --preset bench
	cmake --build --preset bench -j $(JOBS)
	@for program in build/bench/bench/bench_*; do \
		if [ -f "$$program" ] && [ -x "$$program" ]; then "$$program"; fi; \
	done

# One command for the tables beside others in bench/RESULTS.md. SUPERKMEANS: a checkout of that library; PEERS and
# SPARSE_PEERS: options of bench/peers.py and of bench/sparse_peers.py.
bench-peers: deps
	cmake --preset bench
	cmake --build --preset bench -j $(JOBS) --target bench_machine bench_sparse
	.ci/python.sh peers $(PEERS)
	.ci/python.sh sparse-peers $(SPARSE_PEERS)

docs: deps
	.ci/python.sh docs

deps:
	@.ci/deps.sh build

deps-test:
	@.ci/deps.sh test

SOURCES = $(shell git ls-files '*.c' '*.h')
format:
	clang-format-14 -i $(SOURCES)
format-check:
	@if command -v clang-format-14 >/dev/null; then clang-format-14 --dry-run --Werror $(SOURCES); \
	else echo "no clang-format-14 here"; fi

clean:
	rm -rf build
