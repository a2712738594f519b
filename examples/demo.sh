#!/usr/bin/env bash
# demo.sh — learns four kinds of models with the command fkm on scikit-learn's bundled data and prints the figures.
# FKM names the command, DEMO the folder for files, PYTHON an interpreter with numpy and scikit-learn.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/.."
fkm=$(realpath "${FKM:-build/release/cli/fkm}")
demo=${DEMO:-build/demo}
python=${PYTHON:-python3}

if ! "$python" -c 'import numpy, sklearn' 2>/dev/null; then
    python=build/venv/bin/python
    "$python" -c 'import numpy, sklearn' 2>/dev/null ||
        { python3 -m venv build/venv && "$python" -m pip install --quiet numpy scikit-learn; }
fi
"$python" examples/demo_data.py "$demo"
cd "$demo"

say() { printf '\n== %s\n' "$*"; }
run() { # shows the command, then runs it
    echo "\$ fkm $*"
    "$fkm" "$@"
}

say "Classifier: handwritten digits, ten prototypes for each digit; phase 1, then phase 2"
run fit --task classifier --data digits_train.csv --target digit --distance euclidean --k-init 10 --model digits.fkm
run evaluate --model digits.fkm --data digits_test.csv
run finetune --model digits.fkm --data digits_train.csv --epochs 30
run evaluate --model digits.fkm --data digits_test.csv
run inspect --model digits.fkm --top 3
run predict --model digits.fkm --data digits_test.csv --output digits_answers.csv
head -n 4 digits_answers.csv

say "Regressor: progression of diabetes from ten measurements"
run fit --task regressor --data diabetes_train.csv --target progression --distance euclidean --standardize \
    --k-targets 4 --k-features 3 --soft-type softmax_scaled --top-k -1 --finetune 30 --model diabetes.fkm
run evaluate --model diabetes.fkm --data diabetes_test.csv

say "Multi-label: generated rows with about three of eight tags each"
run fit --task multilabel --data tags_train.svm --k-init 1 --finetune 40 --model tags.fkm
run evaluate --model tags.fkm --data tags_test.svm

say "Clusterer: the digits without their names, ten clusters"
run fit --task clusterer --data digits_pixels.csv --distance euclidean --k-init 10 --model clusters.fkm
run evaluate --model clusters.fkm --data digits_pixels.csv
