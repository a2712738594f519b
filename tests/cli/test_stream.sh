#!/usr/bin/env bash
# test_stream.sh — fit --stream: batches, checkpoints, interruptions; a resumed run ends as an undisturbed one.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/support.sh"
set -m # background jobs with their own signals

# A class that appears late: a checkpoint must know the classes of its past.
{ blobs 20000 41; blobs 20000 42 | tail -n +2 | sed 's/green$/violet/'; } >rows.csv
blobs 600 43 >test.csv
stream=(fit --stream --task classifier --target colour --distance euclidean --k-init 4 --batch-size 32)

# ---- undisturbed
exits 0 "stream" "$fkm" "${stream[@]}" --data rows.csv --standardize --epochs 6 --model whole.fkm --eval test.csv
says "stream" "4 classes"
exits 0 "evaluate" "$fkm" evaluate --model whole.fkm --data test.csv --json
at_least "evaluate" accuracy 0.4
exits 0 "a checkpoint does not disturb" "$fkm" "${stream[@]}" --data rows.csv --standardize --epochs 6 --model other.fkm \
    --checkpoint other.ckpt --checkpoint-batches 50
same "a checkpoint does not disturb" whole.fkm other.fkm
exits 0 "resuming what is finished" "$fkm" "${stream[@]}" --data rows.csv --standardize --epochs 6 --model other2.fkm \
    --checkpoint other.ckpt --resume
same "resuming what is finished" whole.fkm other2.fkm
exits 2 "resuming with other parameters" "$fkm" "${stream[@]}" --data rows.csv --standardize --epochs 6 --model x.fkm \
    --checkpoint other.ckpt --resume --k-init 5
says "resuming with other parameters" "k_init = 4, now it is 5"
absent "resuming with other parameters" x.fkm
exits 65 "resuming from what is no checkpoint" "$fkm" "${stream[@]}" --data rows.csv --standardize --model x.fkm \
    --checkpoint whole.fkm --resume

# ---- disturbed: interrupted with SIGNAL again and again, resumed, byte for byte the same
# catches PROCESS: it handles SIGINT and SIGTERM by now.
catches() {
    local mask
    mask=$(sed -n 's/^SigCgt:[^0-9a-f]*//p' "/proc/$1/status" 2>/dev/null)
    [ -n "$mask" ] && [ $((0x$mask & 0x4002)) = $((0x4002)) ]
}

# disturb TITLE SIGNAL CODE REFERENCE ARGUMENTS...
disturb() {
    local title=$1 signal=$2 expected=$3 reference=$4 code job stops=0 round
    shift 4
    rm -f part.ckpt part.fkm
    for round in 1 2 3 4 5 6 7 8; do
        "$fkm" "$@" --model part.fkm --checkpoint part.ckpt --checkpoint-batches 40 --resume >"$out" 2>"$err" </dev/null &
        job=$!
        if [ $round -le 4 ]; then
            # Once there is something to keep, at another moment each time.
            for _ in $(seq 200); do [ -e part.ckpt ] || [ -e part.fkm ] && break; sleep 0.01; done
            for _ in $(seq 200); do catches $job || [ -e part.fkm ] && break; sleep 0.01; done
            sleep "0.0$((round * 2))"
            kill -"$signal" $job 2>/dev/null
        fi
        wait $job
        code=$?
        [ $code = 0 ] && break
        stops=$((stops + 1))
        # stopped before there was anything to keep
        if [ "$signal" != KILL ] && [ $code -gt 128 ] && ! [ -e part.ckpt ]; then continue; fi
        if [ $code != "$expected" ]; then fail "$title: exit code $code instead of $expected" "$err"; return; fi
        if [ "$signal" != KILL ] && ! [ -e part.ckpt ]; then fail "$title: no checkpoint is kept" "$err"; return; fi
        if [ "$signal" != KILL ] && [ -e part.fkm ]; then fail "$title: an interrupted run wrote the model"; return; fi
    done
    if [ $stops = 0 ]; then skip "$title: the run ended before it could be interrupted"; return; fi
    same "$title, $stops times" "$reference" part.fkm
}
disturb "SIGINT" INT 75 whole.fkm "${stream[@]}" --data rows.csv --standardize --epochs 6
disturb "SIGTERM" TERM 75 whole.fkm "${stream[@]}" --data rows.csv --standardize --epochs 6
disturb "SIGKILL" KILL 137 whole.fkm "${stream[@]}" --data rows.csv --standardize --epochs 6

exits 0 "both phases" "$fkm" "${stream[@]}" --data rows.csv --epochs 4 --finetune 4 --lr 0.02 --model both.fkm
says "both phases" "gradient steps"
disturb "SIGINT in both phases" INT 75 both.fkm "${stream[@]}" --data rows.csv --epochs 4 --finetune 4 --lr 0.02
disturb "SIGKILL in both phases" KILL 137 both.fkm "${stream[@]}" --data rows.csv --epochs 4 --finetune 4 --lr 0.02

# Of texts, also before their words are all known.
letters 12000 44 >letters.csv
words=(fit --stream --task classifier --target topic --k-init 2 --batch-size 32 --text body --data letters.csv --epochs 5)
exits 0 "texts" "$fkm" "${words[@]}" --model words.fkm
disturb "SIGINT while reading texts" INT 75 words.fkm "${words[@]}"
disturb "SIGKILL while reading texts" KILL 137 words.fkm "${words[@]}"

# ---- interrupted without a checkpoint
"$fkm" "${stream[@]}" --data rows.csv --epochs 1000 --model never.fkm 2>"$err" &
job=$!
sleep 0.5
kill -INT $job
wait $job
code=$?
if [ $code = 130 ]; then pass; else fail "SIGINT without a checkpoint: exit code $code instead of 130" "$err"; fi
absent "SIGINT without a checkpoint" never.fkm
"$fkm" "${stream[@]}" --data rows.csv --epochs 1000 --model never.fkm 2>"$err" &
job=$!
sleep 0.5
kill -TERM $job
wait $job
code=$?
if [ $code = 143 ]; then pass; else fail "SIGTERM without a checkpoint: exit code $code instead of 143" "$err"; fi
"$fkm" fit --task classifier --target colour --data rows.csv --distance euclidean --k-init 50 --finetune 100000 \
    --model never.fkm 2>"$err" &
job=$!
sleep 1
kill -INT $job
wait $job
code=$?
if [ $code = 130 ]; then pass; else fail "SIGINT while rows are in memory: exit code $code instead of 130" "$err"; fi
absent "SIGINT while rows are in memory" never.fkm
absent "SIGINT while rows are in memory" never.fkm.partial
# inside one long call: seeding alone would take a minute or more
awk 'BEGIN { srand(7); for (i = 0; i < 20000; i++) { for (j = 0; j < 20; j++) printf "%s%.3f", j ? "," : "", rand(); print "" } }' \
    >many.csv
"$fkm" fit --task clusterer --data many.csv --k-init 15000 --model never.fkm 2>"$err" &
job=$!
sleep 2
before=$SECONDS
kill -INT $job
wait $job
code=$?
if [ $code = 130 ]; then pass; else fail "SIGINT while seeding: exit code $code instead of 130" "$err"; fi
if [ $((SECONDS - before)) -lt 15 ]; then pass; else fail "SIGINT while seeding: $((SECONDS - before)) s" "$err"; fi
absent "SIGINT while seeding" never.fkm
# a pipe that says nothing
mkfifo silent
sleep 60 >silent &
sleeper=$!
"$fkm" predict --model whole.fkm --data - <silent >"$out" 2>"$err" &
job=$!
sleep 0.5
kill -INT $job
wait $job
code=$?
kill -KILL $sleeper 2>/dev/null
if [ $code = 130 ]; then pass; else fail "SIGINT while waiting for a pipe: exit code $code instead of 130" "$err"; fi

# ---- standard input
"$fkm" "${stream[@]}" --data - --model piped.fkm <rows.csv 2>"$err"
code=$?
if [ $code = 0 ]; then pass; else fail "a stream from stdin: exit code $code" "$err"; fi
exits 0 "the same from the file" "$fkm" "${stream[@]}" --data rows.csv --model file.fkm
same "a stream from stdin" file.fkm piped.fkm
cat rows.csv | "$fkm" "${stream[@]}" --data - --model piped2.fkm 2>"$err"
same "a stream from a pipe" file.fkm piped2.fkm

# ---- other formats
head -3001 rows.csv >head.csv
exits 0 "convert" "$fkm" convert head.csv head.svm --target colour
exits 0 "convert" "$fkm" convert head.csv head.npy --target colour --target-output kinds.npy
gzip -kf head.csv
exits 0 "a stream of libsvm" "$fkm" fit --stream --task classifier --data head.svm --model svm.fkm --batch-size 500
exits 0 "a stream of npy" "$fkm" fit --stream --task classifier --data head.npy --target kinds.npy --model npy.fkm \
    --distance euclidean --standardize --batch-size 500 --epochs 2
exits 0 "a compressed stream, two passes" "$fkm" "${stream[@]}" --data head.csv.gz --epochs 2 --model gz.fkm
exits 0 "the same uncompressed" "$fkm" "${stream[@]}" --data head.csv --epochs 2 --model plain.fkm
same "a compressed stream" plain.fkm gz.fkm
exits 65 "standardize a sparse stream" "$fkm" fit --stream --task classifier --data head.svm --model x.fkm --standardize
absent "standardize a sparse stream" x.fkm
printf '1,2,red\n3,oops,blue\n' >bad.csv
exits 65 "a bad row" "$fkm" fit --stream --task classifier --data bad.csv --target 2 --model x.fkm --header no
says "a bad row" "oops"
absent "a bad row" x.fkm
finish
