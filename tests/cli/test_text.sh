#!/usr/bin/env bash
# test_text.sh — text columns: learned, kept in the model, used by every later command; streams that are interrupted.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/support.sh"

letters 600 11 >train.csv
letters 200 12 >test.csv
learn=(fit --task classifier --data train.csv --target topic --k-init 1)

# ---- in memory
exits 0 "texts" "$fkm" "${learn[@]}" --text body --model a.fkm --eval test.csv
says "texts" "1 text columns"
says "texts" "110 terms of 600 texts"
exits 0 "texts are scored" "$fkm" evaluate --model a.fkm --data test.csv --json
at_least "texts are scored" accuracy 0.97
exits 0 "texts are answered" "$fkm" predict --model a.fkm --data test.csv --output answers.csv
ok "an answer for each text" test "$(wc -l <answers.csv)" = 201
printf 'body\n"Sport1, sport2: SPORT3!"\nmoney5 money7\n""\n' >raw.csv
exits 0 "texts without targets" "$fkm" predict --model a.fkm --data raw.csv
ok "words in any case" test "$(sed -n 2p "$out")" = sport
ok "words alone" test "$(sed -n 3p "$out")" = money
"$fkm" predict --model a.fkm --data - <raw.csv >piped.csv
same "from a pipe" "$out" piped.csv
sed 's/^body/words/' raw.csv >renamed.csv
exits 65 "a column of another name" "$fkm" predict --model a.fkm --data renamed.csv
says "a column of another name" "body"
exits 0 "a column of another name, said" "$fkm" predict --model a.fkm --data renamed.csv --text words
same "a column of another name, said" "$out" piped.csv
exits 0 "learning goes on" "$fkm" finetune --model a.fkm --data train.csv --output b.fkm --epochs 2
exits 0 "inspect" "$fkm" inspect a.fkm
prints "inspect" "topic"

# ---- other ways to make rows
exits 0 "several columns" "$fkm" "${learn[@]}" --text body,title --text-ngrams 2 --text-min-rows 3 --model c.fkm
says "several columns" "2 text columns"
exits 0 "several columns" "$fkm" evaluate --model c.fkm --data test.csv --json
at_least "several columns" accuracy 0.97
exits 0 "hashed" "$fkm" "${learn[@]}" --text body --text-hash --text-features 2000 --text-counts plain --model h.fkm
exits 0 "hashed" "$fkm" evaluate --model h.fkm --data test.csv --json
at_least "hashed" accuracy 0.95
exits 0 "the terms of most rows" "$fkm" "${learn[@]}" --text 1 --header yes --text-features 40 --model f.fkm
says "the terms of most rows" "40 terms of 600 texts"
exits 0 "texts into libsvm" "$fkm" convert train.csv train.svm --target topic --text body
exits 0 "texts into libsvm" "$fkm" fit --task classifier --data train.svm --k-init 1 --model s.fkm
"$fkm" convert train.csv - --to libsvm --target topic --text body 2>/dev/null >train2.svm
same "texts into libsvm" train.svm train2.svm

# ---- streams: the words are in the checkpoint
stream=(fit --stream --task classifier --data train.csv --target topic --k-init 1 --batch-size 50 --epochs 3 --text body)
exits 0 "stream" "$fkm" "${stream[@]}" --model whole.fkm --checkpoint whole.ckpt --checkpoint-batches 4
exits 0 "stream" "$fkm" evaluate --model whole.fkm --data test.csv --json
at_least "stream" accuracy 0.97
exits 0 "resumed" "$fkm" "${stream[@]}" --model again.fkm --checkpoint whole.ckpt --resume
same "resumed" whole.fkm again.fkm
exits 2 "resumed with other words" "$fkm" "${stream[@]}" --text-ngrams 2 --model x.fkm --checkpoint whole.ckpt --resume
says "resumed with other words" "other --text options"

# ---- refusals
exits 2 "options without --text" "$fkm" "${learn[@]}" --text-ngrams 2 --model x.fkm
says "options without --text" "--text-ngrams needs --text COLUMN"
exits 2 "too long terms" "$fkm" "${learn[@]}" --text body --text-ngrams 9 --model x.fkm
says "too long terms" "ngrams is 9, valid: 1 to 5"
exits 2 "standardized texts" "$fkm" "${learn[@]}" --text body --standardize --model x.fkm
exits 65 "no such column" "$fkm" "${learn[@]}" --text nobody --model x.fkm
says "no such column" 'no column is named "nobody" (text)'
exits 2 "a pipe cannot be read twice" "$fkm" fit --task classifier --data - --target topic --text body --model x.fkm
exits 65 "no term is left" "$fkm" "${learn[@]}" --text body --text-min-rows 1000 --model x.fkm
says "no term is left" "none of the 110 terms is in 1000 of the 600 texts"
exits 2 "texts of another format" "$fkm" "${learn[@]}" --text body --model x.fkm --data train.svm
absent "refusals" x.fkm
finish
