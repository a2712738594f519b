#!/usr/bin/env bash
# test_faiss.sh — --use-faiss answers in a build with FKM_WITH_FAISS, and is refused by name in every other one.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/support.sh"

blobs 3000 5 >rows.csv
fit=("$fkm" fit --quiet --task classifier --data rows.csv --target colour --distance euclidean --k-init 60 --standardize)
exits 0 "fit, exact" "${fit[@]}" --model exact.fkm
if ! "${fit[@]}" --model fast.fkm --use-faiss true >"$out" 2>"$err"; then
    says "without faiss" "use_faiss is true, and no approximate search is there"
    absent "without faiss" fast.fkm
    skip "answers by faiss: this fkm is built without it"
    finish
fi
exits 0 "predict, exact" "$fkm" predict --quiet --model exact.fkm --data rows.csv --output exact.csv
exits 0 "predict by faiss" "$fkm" predict --quiet --model fast.fkm --data rows.csv --output fast.csv
ok "faiss answers like a scan, or nearly" \
    awk 'FNR == NR { a[FNR] = $0; next } { same += a[FNR] == $0 } END { exit !(same > 0.98 * FNR) }' exact.csv fast.csv
exits 2 "l1 is refused" "${fit[@]}" --model l1.fkm --use-faiss true --distance l1
finish
