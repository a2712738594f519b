#!/usr/bin/env bash
# test_learn.sh — the four tasks from rows to answers: fit, finetune, evaluate, predict, inspect.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/support.sh"

blobs 900 11 >train.csv
blobs 300 12 >test.csv
cut -d, -f1-3 test.csv >unlabelled.csv
surface 1500 21 >surface_train.csv
surface 400 22 >surface_test.csv
songs 800 31 >songs_train.csv
songs 300 32 >songs_test.csv
lines() { ok "$1" test "$(wc -l <"$2")" = "$3"; }

# ---- classifier
classifier=(--task classifier --distance euclidean --standardize --k-init 4 --target colour)
exits 0 "fit" "$fkm" fit "${classifier[@]}" --data train.csv --model colour.fkm --finetune 10 --eval test.csv
says "fit" "3 classes from 900 rows x 3 features (standardized)"
says "fit" "wrote colour.fkm"
says "fit" "test.csv: accuracy "
exits 0 "evaluate" "$fkm" evaluate --model colour.fkm --data test.csv
prints "evaluate" "accuracy"
exits 0 "evaluate --json" "$fkm" evaluate --model colour.fkm --data test.csv --json
at_least "evaluate --json" accuracy 0.95
at_least "evaluate --json" macro_f1 0.95
at_least "evaluate --json" nearest_accuracy 0.9
at_most "evaluate --json" log_loss 0.4
at_least "evaluate --json" rows 300
cp "$out" scores.json
exits 0 "predict" "$fkm" predict --model colour.fkm --data test.csv --output answers.csv --quiet
silent "predict --quiet"
lines "predict" answers.csv 301
right=$(paste -d, answers.csv <(cut -d, -f4 test.csv) | awk -F, 'NR > 1 && $1 == $2' | wc -l)
accuracy=$(awk -v n="$right" 'BEGIN { print n / 300 }')
ok "predict agrees with evaluate" awk -v a="$accuracy" -v b="$(sed -n 's/.*"accuracy": \([0-9.]*\).*/\1/p' scores.json)" \
    'BEGIN { exit !(a - b < 1e-4 && b - a < 1e-4) }'
exits 0 "predict without the target" "$fkm" predict --model colour.fkm --data unlabelled.csv --output answers2.csv
same "predict without the target" answers.csv answers2.csv
"$fkm" predict --model colour.fkm --data - <unlabelled.csv >answers3.csv 2>"$err"
same "predict from stdin" answers.csv answers3.csv
cat test.csv | "$fkm" predict --model colour.fkm --data - --target colour >answers4.csv 2>"$err"
same "predict from a pipe with the target" answers.csv answers4.csv
tail -n +2 unlabelled.csv >bare.csv
exits 0 "predict without a header" "$fkm" predict --model colour.fkm --data bare.csv --header no --output answers5.csv
same "predict without a header" answers.csv answers5.csv
gzip -c test.csv >test.csv.gz
tr , '\t' <test.csv >test.tsv
for file in test.csv.gz test.tsv; do
    exits 0 "predict from $file" "$fkm" predict --model colour.fkm --data $file --output answers6.csv
    same "predict from $file" answers.csv answers6.csv
done
exits 0 "one thread, the same answers" "$fkm" predict --model colour.fkm --data test.csv --threads 1 --output answers7.csv
same "one thread, the same answers" answers.csv answers7.csv
exits 0 "predict --proba" "$fkm" predict --model colour.fkm --data test.csv --proba
ok "probability columns are named" test "$(head -1 "$out")" = "prediction,red,green,blue"
ok "probabilities sum to 1 and the largest is the prediction" awk -F, 'NR == 1 { split($0, name); next }
    { sum = 0; best = 2
      for (i = 2; i <= NF; i++) { sum += $i; if ($i > $best) best = i }
      if (sum < 0.9999 || sum > 1.0001 || name[best] != $1) exit 1 }' "$out"
exits 0 "predict --top" "$fkm" predict --model colour.fkm --data test.csv --top 2
ok "top columns" test "$(head -1 "$out")" = "prediction,top_1,proba_1,top_2,proba_2"
ok "the first of the top is the prediction" awk -F, 'NR > 1 && ($1 != $2 || $2 == $4 || $3 < $5) { exit 1 }' "$out"
exits 0 "predict --top of more than there are" "$fkm" predict --model colour.fkm --data test.csv --top 9
ok "all classes" awk -F, 'NF != 7 || (NR > 1 && $3 + $5 + $7 < 0.9999) { exit 1 }' "$out"
exits 0 "predict --nearest" "$fkm" predict --model colour.fkm --data test.csv --nearest 2
ok "nearest columns" test "$(head -1 "$out")" = \
    "prediction,nearest_1,distance_1,weight_1,nearest_2,distance_2,weight_2"
ok "the nearest come first" awk -F, 'NR > 1 && $3 > $6 { exit 1 }' "$out"
exits 0 "a second fit, the same bytes" "$fkm" fit "${classifier[@]}" --data train.csv --model again.fkm --finetune 10 \
    --eval test.csv --threads 1 --quiet
silent "fit --quiet"
same "a second fit, the same bytes" colour.fkm again.fkm
exits 0 "fit --json" "$fkm" fit "${classifier[@]}" --data train.csv --model json.fkm --json --eval test.csv -q
at_least "fit --json" prototypes 3
at_least "fit --json" accuracy 0.9
printf 'task = classifier\ntarget = colour\ndistance = cosine\nk_init = 4\nstandardize = yes\n' >fit.conf
exits 0 "fit --config, the command line comes first" "$fkm" fit --config fit.conf --data train.csv --model config.fkm \
    --distance euclidean --finetune 10 --eval test.csv
same "fit --config, the command line comes first" colour.fkm config.fkm

# ---- finetune
exits 0 "fit alone" "$fkm" fit "${classifier[@]}" --data train.csv --model step.fkm
cp step.fkm step1.fkm
exits 0 "finetune in place" "$fkm" finetune --model step.fkm --data train.csv --epochs 10 --eval test.csv
says "finetune in place" "gradient steps"
ok "finetune changed the model" test "$(cmp -s step.fkm step1.fkm; echo $?)" = 1
exits 0 "finetune --output" "$fkm" finetune --model step1.fkm --data train.csv --epochs 10 --eval test.csv --output step2.fkm
same "finetune --output" step.fkm step2.fkm
exits 0 "finetune, then evaluate" "$fkm" evaluate --model step.fkm --data test.csv --json
at_least "finetune, then evaluate" accuracy 0.95
exits 0 "finetune with a search and early stopping" "$fkm" finetune --model step1.fkm --data train.csv --epochs 20 \
    --lr auto --eval-fraction 0.2 --early-stopping-rounds 3 --output step3.fkm
says "finetune with a search and early stopping" "held-out rows: score"
exits 0 "a hard model" "$fkm" fit "${classifier[@]}" --data train.csv --model hard.fkm --soft-type hard
exits 1 "a hard model has no gradients" "$fkm" finetune --model hard.fkm --data train.csv
says "a hard model has no gradients" "hard"

# ---- inspect
exits 0 "inspect" "$fkm" inspect colour.fkm
for text in "classifier" "euclidean" "green" "prototypes per class" "colour" "width, height, depth" "finetune"; do
    prints "inspect" "$text"
done
exits 0 "inspect --json" "$fkm" inspect --model colour.fkm --json
prints "inspect --json" '"name": "green"'
prints "inspect --json" '"k_init": 4'
if command -v python3 >/dev/null; then
    ok "inspect --json is JSON" python3 -m json.tool "$out"
    ok "evaluate --json is JSON" python3 -m json.tool scores.json
else
    skip "JSON"
fi
exits 0 "inspect --history" "$fkm" inspect colour.fkm --history
ok "history has a header and lines" awk -F, 'NR == 1 && $0 != "phase,epoch,loss,shift,eval,lr,k" { exit 1 }
    NF != 7 { exit 1 } END { exit NR < 11 }' "$out"
exits 0 "inspect --centroids" "$fkm" inspect colour.fkm --centroids
ok "prototypes are in the units of the data" awk -F, 'NR == 1 { if ($0 != "prototype,mass,class,width,height,depth") exit 1; next }
    $4 < -9000 || $4 > 9000 || $5 < -3 || $5 > 16 || $6 < -0.2 || $6 > 0.2 { exit 1 }
    { if ($4 > 2000) right = 1; if ($4 < -2000) left = 1 } END { exit !(left && right) }' "$out"

# ---- rows that do not fit the model
cut -d, -f1,2,4 test.csv >narrow.csv
sed '1s/height/length/' test.csv >renamed.csv
awk -F, -v OFS=, 'NR == 2 { $4 = "violet" } { print }' test.csv >violet.csv
exits 65 "a renamed column" "$fkm" predict --model colour.fkm --data renamed.csv
says "a renamed column" "feature column 1 is 'length', the model was trained with 'height' there"
exits 65 "a missing column" "$fkm" evaluate --model colour.fkm --data narrow.csv
exits 65 "no target to score" "$fkm" evaluate --model colour.fkm --data unlabelled.csv
exits 65 "an unknown class" "$fkm" evaluate --model colour.fkm --data violet.csv
says "an unknown class" "the model does not know the class 'violet'"
exits 0 "an unknown class does not disturb answers" "$fkm" predict --model colour.fkm --data violet.csv
exits 65 "text where a number should be" "$fkm" fit --task classifier --data train.csv --target width --model x.fkm
absent "a failed fit" x.fkm
absent "a failed fit" x.fkm.partial
exits 2 "no target" "$fkm" fit --task classifier --data train.csv --model x.fkm
exits 2 "probabilities of a clusterer" "$fkm" predict --model colour.fkm --data test.csv --strategy gap
head -c 1000 colour.fkm >short.fkm
exits 65 "half a model" "$fkm" predict --model short.fkm --data test.csv
cp colour.fkm flipped.fkm
printf '\377' | dd of=flipped.fkm bs=1 seek=2000 conv=notrunc 2>/dev/null
exits 65 "a damaged model" "$fkm" predict --model flipped.fkm --data test.csv
sed '5s/^[^,]*/NA/; 9s/,[^,]*/,/' test.csv >holes.csv
exits 0 "missing values are masked" "$fkm" evaluate --model colour.fkm --data holes.csv --json
at_least "missing values are masked" accuracy 0.95
exits 65 "missing values as an error" "$fkm" evaluate --model colour.fkm --data holes.csv --missing error
exits 1 "a memory limit" "$fkm" fit "${classifier[@]}" --data train.csv --model x.fkm --memory-limit 20K
absent "a memory limit" x.fkm

# ---- outputs that fail
"$fkm" predict --model colour.fkm --data test.csv >/dev/full 2>"$err"
code=$?
if [ $code = 74 ]; then pass; else fail "predict to a full disk: exit code $code instead of 74" "$err"; fi
for command in "inspect colour.fkm" "evaluate --model colour.fkm --data test.csv --json"; do
    "$fkm" $command >/dev/full 2>"$err"
    code=$?
    if [ $code = 74 ]; then pass; else fail "$command to a full disk: exit code $code instead of 74" "$err"; fi
done
"$fkm" predict --model colour.fkm --data test.csv --proba --nearest 3 2>"$err" | head -1 >/dev/null
code=${PIPESTATUS[0]}
if [ $code = 0 ]; then pass; else fail "predict into a closed pipe: exit code $code instead of 0" "$err"; fi
silent "predict into a closed pipe"
exits 73 "answers into no folder" "$fkm" predict --model colour.fkm --data test.csv --output nowhere/a.csv
exits 65 "answers to bad rows" "$fkm" predict --model colour.fkm --data renamed.csv --output none.csv
absent "answers to bad rows" none.csv
absent "answers to bad rows" none.csv.partial

# ---- regressor
exits 0 "regressor" "$fkm" fit --task regressor --data surface_train.csv --target price,size --model surface.fkm \
    --distance euclidean --standardize --soft-type softmax_scaled --finetune 20 --eval surface_test.csv
says "regressor" "surface_test.csv: root mean square error"
exits 0 "evaluate a regressor" "$fkm" evaluate --model surface.fkm --data surface_test.csv --json
at_least "evaluate a regressor" r2 0.8
at_most "evaluate a regressor" rmse 0.6
exits 0 "predict values" "$fkm" predict --model surface.fkm --data surface_test.csv --output values.csv
lines "predict values" values.csv 401
ok "values carry the names of the targets" test "$(head -1 values.csv)" = "price,size"
ok "values are near the truth" awk -F, 'NR == FNR { if (FNR > 1) truth[FNR] = $4; next } FNR > 1 { d = $1 - truth[FNR]; sum += d * d; n++ }
    END { exit !(n == 400 && sum / n < 0.5) }' surface_test.csv values.csv
exits 2 "a regressor has no probabilities" "$fkm" predict --model surface.fkm --data surface_test.csv --proba
exits 0 "prototypes of a regressor" "$fkm" inspect surface.fkm --centroids
ok "prototypes of a regressor" test "$(head -1 "$out")" = "prototype,mass,price,size,a,b,c"

# ---- multilabel
exits 0 "multilabel" "$fkm" fit --task multilabel --data songs_train.csv --target tags --model songs.fkm \
    --distance euclidean --standardize --soft-type softmax_scaled --k-init 4 --finetune 30
says "multilabel" "of 4 tags"
exits 0 "evaluate tags" "$fkm" evaluate --model songs.fkm --data songs_test.csv --json
at_least "evaluate tags" micro_f1 0.8
at_least "evaluate tags" precision_at_1 0.6
exits 0 "predict tags" "$fkm" predict --model songs.fkm --data songs_test.csv --output tags.csv
lines "predict tags" tags.csv 301
ok "tags have names" grep -Eq '(rock|jazz|folk|pop)(;|$)' tags.csv
exits 0 "one tag each" "$fkm" predict --model songs.fkm --data songs_test.csv --strategy top_k --top-k 1
ok "one tag each" awk 'NR > 1 && ($0 ~ /;/ || $0 == "") { exit 1 }' "$out"
exits 0 "gap and probabilities" "$fkm" predict --model songs.fkm --data songs_test.csv --strategy gap --proba
ok "a column for each tag" test "$(head -1 "$out" | tr ',' '\n' | sort | tr '\n' ,)" = "folk,jazz,pop,prediction,rock,"
exits 0 "the most probable tags" "$fkm" predict --model songs.fkm --data songs_test.csv --top 4
ok "the most probable tags" awk -F, 'NR > 1 && (NF != 9 || $3 < $5 || $5 < $7 || $7 < $9) { exit 1 }' "$out"
exits 2 "--top-k alone" "$fkm" predict --model songs.fkm --data songs_test.csv --top-k 2
{ cat songs_test.csv; echo '0,0,2,2,folk;polka'; } >polka.csv
exits 0 "an unknown tag counts as missed" "$fkm" evaluate --model songs.fkm --data polka.csv --json
says "an unknown tag counts as missed" "does not know the tag 'polka'"
at_least "an unknown tag counts as missed" micro_f1 0.8
exits 0 "convert tags" "$fkm" convert songs_train.csv songs.svm --target tags --task multilabel
exits 0 "multilabel from libsvm" "$fkm" fit --task multilabel --data songs.svm --model sparse.fkm --soft-type softmax_scaled \
    --k-init 2 --finetune 5
exits 0 "evaluate sparse tags" "$fkm" evaluate --model sparse.fkm --data songs.svm --json
at_least "evaluate sparse tags" micro_f1 0.4

# ---- clusterer
cut -d, -f1-3 train.csv >points.csv
exits 0 "clusterer" "$fkm" fit --task clusterer --data points.csv --model points.fkm --distance euclidean --standardize --k-init 6
exits 0 "evaluate clusters" "$fkm" evaluate --model points.fkm --data points.csv --json
at_most "evaluate clusters" sse 1500
exits 0 "predict clusters" "$fkm" predict --model points.fkm --data points.csv
ok "six clusters" test "$(tail -n +2 "$out" | sort -u | wc -l)" = 6
exits 2 "probabilities of a clusterer" "$fkm" predict --model points.fkm --data points.csv --proba

# ---- libsvm and npy
for name in train test; do
    awk -F, -v OFS=, 'NR > 1 { $1 /= 1000; $3 *= 100 } { print }' $name.csv >scaled.csv
    exits 0 "convert to libsvm" "$fkm" convert scaled.csv $name.svm --target colour
done
exits 0 "fit from libsvm" "$fkm" fit --task classifier --data train.svm --model svm.fkm --distance euclidean --k-init 4 \
    --finetune 5
exits 0 "evaluate libsvm" "$fkm" evaluate --model svm.fkm --data test.svm --json
at_least "evaluate libsvm" accuracy 0.95
exits 0 "predict libsvm" "$fkm" predict --model svm.fkm --data test.svm
ok "names of classes in libsvm" grep -qx green "$out"
exits 65 "standardize sparse rows" "$fkm" fit --task classifier --data train.svm --model x.fkm --standardize
exits 0 "convert to npy" "$fkm" convert train.csv train.npy --target colour --target-output colour.npy
exits 0 "convert to npy" "$fkm" convert test.csv test.npy --target colour --target-output colour_test.npy
exits 0 "fit from npy" "$fkm" fit --task classifier --data train.npy --target colour.npy --model npy.fkm \
    --distance euclidean --standardize --k-init 4 --finetune 10 --eval test.npy --eval-target colour_test.npy
exits 0 "evaluate npy" "$fkm" evaluate --model npy.fkm --data test.npy --target colour_test.npy --json
at_least "evaluate npy" accuracy 0.95
awk -F, -v OFS=, 'NR == 5 { $2 = "" } { print }' test.csv >holes.csv
exits 0 "convert holes" "$fkm" convert holes.csv holes.npy --target colour --target-output colour_test.npy
exits 0 "NaN is masked" "$fkm" evaluate --model npy.fkm --data holes.npy --target colour_test.npy --json
at_least "NaN is masked" accuracy 0.95
exits 65 "NaN as an error" "$fkm" evaluate --model npy.fkm --data holes.npy --target colour_test.npy --missing error
says "NaN as an error" "row 3, feature 1 is missing (NaN)"
exits 65 "NaN as an error in fit" "$fkm" fit --task clusterer --data holes.npy --model x.fkm --missing error
exits 2 "npy targets are files" "$fkm" evaluate --model npy.fkm --data test.npy
exits 0 "predict npy" "$fkm" predict --model npy.fkm --data test.npy --output npy.csv
same "the same answers from npy, by number" <(tail -n +2 answers.csv | sed 's/red/0/; s/green/1/; s/blue/2/') <(tail -n +2 npy.csv)

# ---- weights
awk -F, -v OFS=, 'NR == 1 { print $0, "w"; next } { print $0, ($4 == "blue" ? 0.5 : 1) }' train.csv >weighted.csv
exits 0 "weights" "$fkm" fit "${classifier[@]}" --data weighted.csv --weight w --model weighted.fkm
exits 0 "a model with weights answers rows without them" "$fkm" predict --model weighted.fkm --data test.csv
exits 0 "and rows with them" "$fkm" predict --model weighted.fkm --data weighted.csv
finish
