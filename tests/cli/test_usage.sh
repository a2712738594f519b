#!/usr/bin/env bash
# test_usage.sh — help texts, usage errors, exit codes: what the command says before it works.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/support.sh"

# ---- help
expected help "fkm --help" "$fkm" --help
expected help "fkm help" "$fkm" help
expected help_finetune "fkm help finetune" "$fkm" help finetune
expected help_predict "fkm help predict" "$fkm" help predict
expected help_predict "fkm predict --help" "$fkm" predict --help
expected help_predict "fkm predict -h among others" "$fkm" predict --model m.fkm -h
expected help_evaluate "fkm help evaluate" "$fkm" help evaluate
expected help_inspect "fkm help inspect" "$fkm" help inspect
expected help_convert "fkm help convert" "$fkm" help convert
expected help_version "fkm help version" "$fkm" help version
exits 0 "fkm help fit" "$fkm" help fit
for word in --k-init --distance --soft-type --temperature --top-k --repulsion-factor --asl-gamma-neg --k-targets \
    --k-features --target-assignment --random-state --stream --resume --standardize "default kmeans++" \
    "Parameters of regressor" "in [0, 1)"; do
    prints "help fit" "$word"
done
for command in fit finetune predict evaluate inspect convert version; do
    exits 0 "help $command" "$fkm" help $command
    silent "help $command"
    ok "lines of help $command fit 100 columns" awk 'length($0) > 100 { print; bad = 1 } END { exit bad }' "$out"
done

# ---- the page and the manual know every option
root=$here/../..
for option in $(for command in fit finetune predict evaluate inspect convert version; do
    "$fkm" help $command | sed '/^Parameters of/,$d; /^Examples:/,$d' | grep -o '^  [-a-z, ]*--[a-z-]*' | grep -o -- '--[a-z-]*'
done | sort -u); do
    [ "$option" = --help ] || [ "$option" = --model ] || [ "$option" = --data ] ||
        ok "docs/cli.md knows $option" grep -q -- "$option" "$root/docs/cli.md"
    ok "fkm.1 knows $option" grep -q -- "$(printf %s "$option" | sed 's/-/\\\\-/g')" "$root/cli/fkm.1"
done
if command -v man >/dev/null && command -v groff >/dev/null; then
    ok "fkm.1 is a manual page" test -z "$(LC_ALL=C man --warnings -l "$root/cli/fkm.1" 2>&1 >/dev/null)"
else
    skip "fkm.1 is a manual page"
fi

# ---- version
exits 0 "version" "$fkm" version
ok "version names itself" grep -Eq '^fkm [0-9]+\.[0-9]+\.[0-9]+ \([a-z0-9]+, [0-9]+ threads?\)$' "$out"
exits 0 "--version" "$fkm" --version
exits 0 "version --json" "$fkm" version --json
prints "version --json" '"isa": "'
exits 0 "version --threads" "$fkm" version --threads 1
prints "version --threads" ", 1 thread)"

# ---- usage errors: exit code 2, the words on stderr, nothing on stdout
usage() { # SAYS ARGUMENTS...
    local text=$1
    shift
    exits 2 "fkm $*" "$fkm" "$@"
    says "fkm $*" "$text"
    says "fkm $*" "Try 'fkm"
    if [ -s "$out" ]; then fail "fkm $*: stdout is not empty" "$out"; else pass; fi
}
usage "no command"
usage "unknown command 'fti'; did you mean 'fit'?" fti
usage "unknown command 'frobnicate'" frobnicate
usage "unknown command 'x'" help x
usage "unknown option --k-int; did you mean --k-init?" fit --k-int 3
usage "unknown option --distnce; did you mean --distance?" fit --distnce=l1
usage "unknown option -z" fit -z
usage "unknown option --frobnicate" fit --frobnicate
usage "--k-init is a parameter of fkm fit" predict --k-init 3
usage "--proba is not an option of fkm fit" fit --proba
usage "--data needs a value" fit --data
usage "--data needs a value" fit --data --model m.fkm
usage "--data is empty" fit --data ""
usage "--max-iters is '0'; valid: a whole number >= 1" fit --max-iters 0
usage "--max-iters is '3x'; valid" fit --max-iters 3x
usage "--tol is 'nan'; valid: a number >= 0" fit --tol nan
usage "--lr is 'fast'; valid: auto or a number" fit --lr fast
usage "--lr is '11'; valid: auto or a number in (0, 10]" finetune --model m --data x --lr 11
usage "--format is 'xls'; valid: auto|csv|tsv|libsvm|npy" predict --format xls
usage "--stream is 'perhaps'; valid: yes, no" fit --stream=perhaps
usage "--memory-limit is 'lots'; valid" fit --memory-limit lots
usage "--threads is '0'; valid" fit --threads 0
usage "distance is 'euclid'; valid: cosine, euclidean, l1" fit --distance euclid
usage "k_init is 0" fit --k-init 0
usage "temperature" fit --temperature -1
usage "asl-clip is not a parameter of the regressor" fit --task regressor --data x.csv --model m.fkm --asl-clip 0.1
usage "--task is missing" fit --data x.csv --model m.fkm
usage "--task is 'sorter'; valid: clusterer|classifier|multilabel|regressor" fit --task sorter
usage "--data is missing" fit --task classifier --model m.fkm
usage "--model is missing" fit --task classifier --data x.csv
usage "--model is missing" predict --data x.csv
usage "'train.csv' belongs to no option" fit train.csv
usage "--checkpoint needs --stream" fit --task clusterer --data x --model m --checkpoint c
usage "--resume needs --checkpoint" fit --task clusterer --data x --model m --stream --resume
usage "--checkpoint and --model are the same file, m" fit --task clusterer --data x --model m --stream --checkpoint m
usage "--tol needs all rows in memory" fit --task clusterer --data x --model m --stream --tol 1
usage "standard input can be read once" fit --task clusterer --data - --model m --stream --epochs 2
usage "--finetune needs gradients" fit --task classifier --data x --model m --finetune 3 --soft-type hard
usage "--lr belongs to phase 2" fit --task clusterer --data x --model m --lr 0.1
usage "--early-stopping-rounds needs --eval" fit --task clusterer --data x --model m --finetune 3 --early-stopping-rounds 2
usage "exclude each other" finetune --model m --data x --eval y --eval-fraction 0.1
usage "--eval-fraction is 1" finetune --model m --data x --eval-fraction 1
usage "exclude each other" inspect m.fkm --json --history
usage "cannot tell the format" convert a.csv b.xyz

# ---- configuration files
printf '# a comment\n\nk_init = 5\ndistance = "euclidean"\nstream = no\n' >good.conf
printf 'k_init = 5\nk-int = 3\n' >unknown.conf
printf 'k_init 5\n' >form.conf
printf 'k_init = none\n' >value.conf
exits 66 "config: everything is known, then the data is missing" "$fkm" fit --task classifier --config good.conf \
    --data missing.csv --target y --model m.fkm
exits 2 "config: unknown name" "$fkm" fit --config unknown.conf
says "config: unknown name" "unknown.conf:2: unknown option --k-int; did you mean --k-init?"
exits 2 "config: form" "$fkm" fit --config form.conf
says "config: form" "form.conf:1: 'k_init 5' is not of the form name = value"
exits 2 "config: value" "$fkm" fit --config value.conf
says "config: value" "value.conf:1: k_init is 'none'"
printf '\357\273\277k_init = none\r\n' >windows.conf
exits 2 "config: with a byte order mark" "$fkm" fit --config windows.conf
says "config: with a byte order mark" "windows.conf:1: k_init is 'none'"
printf 'k_init = 3\nconfig = value.conf\n' >nested.conf
exits 2 "config: within itself" "$fkm" fit --config nested.conf
says "config: within itself" "nested.conf:2: --config belongs on the command line"
exits 2 "config: no text" "$fkm" fit --config /dev/zero
says "config: no text" "/dev/zero is no configuration file: it is longer than 1 MiB"
mkdir conf.d
exits 66 "config: a folder" "$fkm" fit --config conf.d
says "config: a folder" "cannot read conf.d"
exits 66 "config: missing" "$fkm" fit --config nowhere.conf

# ---- files that are not there, or may not be written
mkdir folder
echo 'a,b' >rows.csv
exits 66 "no data" "$fkm" fit --task clusterer --data missing.csv --model m.fkm
says "no data" "cannot read missing.csv: No such file or directory"
exits 66 "data is a folder" "$fkm" fit --task clusterer --data folder --model m.fkm
exits 66 "no model" "$fkm" predict --model missing.fkm --data rows.csv
says "no model" "cannot read missing.fkm"
exits 66 "no model to inspect" "$fkm" inspect missing.fkm
exits 65 "no model file at all" "$fkm" inspect rows.csv
exits 73 "model in no folder" "$fkm" fit --task clusterer --data rows.csv --model nowhere/m.fkm
says "model in no folder" "cannot create nowhere/m.fkm"
exits 73 "model is a folder" "$fkm" fit --task clusterer --data rows.csv --model folder
exits 73 "model is a device" "$fkm" fit --task clusterer --data rows.csv --model /dev/null
ok "/dev/null is still a device" test -c /dev/null
exits 65 "rows that are none" "$fkm" fit --task clusterer --data rows.csv --model m.fkm
absent "rows that are none" m.fkm

# ---- stdout that does not take it all
"$fkm" --help >/dev/full 2>"$err"
code=$?
if [ $code = 74 ]; then pass; else fail "help to a full disk: exit code $code instead of 74" "$err"; fi
says "help to a full disk" "cannot write standard output: No space left on device"
finish
