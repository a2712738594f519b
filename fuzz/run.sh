#!/bin/sh
# run.sh SECONDS [BUILD [TOPIC ...]]: runs every fuzz target of a build for so many seconds, from the kept inputs, on
# a scratch copy of them. A finding is kept in fuzz/findings/ and makes this exit with 1.
# SPDX-License-Identifier: Apache-2.0
set -u
here=$(cd "$(dirname "$0")" && pwd)
seconds=${1:?usage: run.sh SECONDS [BUILD [TOPIC ...]]}
build=${2:-$here/../build/fuzz}
if [ $# -ge 2 ]; then shift 2; else shift; fi
topics=${*:-"csv libsvm npy safetensors json model"}
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
failed=0

for topic in $topics; do
    program=$(find "$build" -type f -name "fuzz_$topic" | head -n 1)
    if [ -z "$program" ]; then
        echo "fuzz_$topic is not built in $build" >&2
        failed=1
        continue
    fi
    mkdir -p "$scratch/$topic" "$scratch/found"
    cp "$here/seeds/$topic"/* "$scratch/$topic/"
    echo "fuzz_$topic: $seconds seconds from $(ls "$scratch/$topic" | wc -l) inputs"
    if ! "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 \
        -artifact_prefix="$scratch/found/$topic-" "$scratch/$topic" >"$scratch/log" 2>&1; then
        failed=1
        mkdir -p "$here/findings"
        cp "$scratch/found/$topic-"* "$here/findings/" 2>/dev/null
        tail -n 40 "$scratch/log" >&2
        echo "fuzz_$topic FAILED: the input is in $here/findings" >&2
    fi
    grep -E 'stat::(number_of_executed_units|average_exec_per_sec)' "$scratch/log"
done
exit $failed
