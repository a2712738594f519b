#!/usr/bin/env bash
# test_files.sh — files as an operator meets them: replaced, linked, written by two, of any name and kind.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/support.sh"

blobs 300 61 >rows.csv
exits 0 "fit" "$fkm" fit --task classifier --data rows.csv --target colour --distance euclidean --standardize --model m.fkm

# ---- a file that is replaced keeps its permissions, a link stays a link
permissions() { # TITLE FILE EXPECTED
    local found
    found=$(stat -c %a "$2")
    if [ "$found" = "$3" ]; then pass; else fail "$1: permissions of $2 are $found instead of $3"; fi
}
umask 022
exits 0 "a new answer" "$fkm" predict --model m.fkm --data rows.csv --output answers.csv
permissions "a new answer" answers.csv 644
cp answers.csv expected.csv
chmod 640 answers.csv
chmod 600 m.fkm
ln -s m.fkm current.fkm
ln -s answers.csv current.csv
exits 0 "answers through a link" "$fkm" predict --model current.fkm --data rows.csv --output current.csv
permissions "answers through a link" answers.csv 640
same "answers through a link" answers.csv expected.csv
cp -p m.fkm before.fkm
exits 0 "a model through a link" "$fkm" finetune --model current.fkm --data rows.csv --epochs 2
permissions "a model through a link" m.fkm 600
ok "a model through a link: the link is one" test -L current.fkm
ok "answers through a link: the link is one" test -L current.csv
if cmp -s m.fkm before.fkm; then fail "a model through a link: the model is the old one"; else pass; fi

ln -s nowhere.csv lost.csv
exits 73 "answers through a link that leads nowhere" "$fkm" predict --model m.fkm --data rows.csv --output lost.csv
says "answers through a link that leads nowhere" "cannot create lost.csv: the symbolic link leads nowhere"
exits 73 "a model through a link that leads nowhere" "$fkm" fit --task clusterer --data rows.csv --target colour --model lost.csv
ok "a link that leads nowhere stays one" test -L lost.csv

# ---- one writer at a time: the second is told so and leaves the first alone
mkfifo slow
touch shared.csv
chmod 600 shared.csv
"$fkm" predict --model m.fkm --data - --output shared.csv <slow 2>"$work/.first" &
first=$!
exec 7>slow
printf 'width,height,depth\n1,2,3\n' >&7
for _ in $(seq 200); do [ -e shared.csv.partial ] && break; sleep 0.01; done
permissions "half of a private file" shared.csv.partial 600
exits 73 "a second writer" "$fkm" predict --model m.fkm --data rows.csv --output shared.csv
says "a second writer" "cannot create shared.csv: it is being written already"
exec 7>&-
wait $first
code=$?
if [ $code = 0 ]; then pass; else fail "the first writer: exit code $code" "$work/.first"; fi
ok "the first writer: its one row" test "$(wc -l <shared.csv)" = 2
absent "the first writer" shared.csv.partial
# what a killed writer left is taken over
printf 'much more than what comes now %0999d\n' 1 >answers.csv.partial
exits 0 "a leftover" "$fkm" predict --model m.fkm --data rows.csv --output answers.csv
same "a leftover" answers.csv <("$fkm" predict --model m.fkm --data rows.csv)
absent "a leftover" answers.csv.partial

# ---- pipes with names are read once, as standard input is
cut -d, -f1-3 rows.csv >features.csv
"$fkm" predict --model m.fkm --data - <features.csv >piped.csv
mkfifo pipe.csv
cat features.csv >pipe.csv &
exits 0 "predict from a named pipe" "$fkm" predict --model m.fkm --data pipe.csv
same "predict from a named pipe" "$out" piped.csv
cat rows.csv >pipe.csv &
exits 0 "evaluate from a named pipe" "$fkm" evaluate --model m.fkm --data pipe.csv
prints "evaluate from a named pipe" accuracy
cat rows.csv >pipe.csv &
exits 0 "stream from a named pipe" "$fkm" fit --stream --task classifier --data pipe.csv --target colour --model p.fkm
exits 0 "the same from the file" "$fkm" fit --stream --task classifier --data rows.csv --target colour --model f.fkm
same "stream from a named pipe" p.fkm f.fkm
exits 2 "two passes over a named pipe" "$fkm" fit --stream --task classifier --data pipe.csv --target colour --model p.fkm \
    --epochs 2
says "two passes over a named pipe" "pipe.csv can be read once"
exits 2 "texts of a named pipe" "$fkm" fit --task classifier --data pipe.csv --target colour --text width --model p.fkm
says "texts of a named pipe" "pipe.csv can be read once, and --text reads it twice"
wait

# ---- names of any bytes
odd=$(printf 'r\377\303\244.csv')
cp rows.csv "$odd"
exits 0 "a name that is no UTF-8" "$fkm" evaluate --model m.fkm --data "$odd" --json
prints "a name that is no UTF-8" '"data": "r\ufffdä.csv"'

# ---- rows that no model can learn from are told with their file
printf 'a,b,y\n1,2,u\n3,4,v\n-1e30,5,v\n' >large.csv
printf 'a,b,y\n1,2,u\n3,4,v\n' >small.csv
large=(fit --task classifier --target y --model l.fkm)
exits 65 "a value too large" "$fkm" "${large[@]}" --data large.csv
says "a value too large" "large.csv: row 2, column 0 is -1e+30"
exits 65 "a value too large in --eval" "$fkm" "${large[@]}" --data small.csv --eval large.csv
says "a value too large in --eval" "large.csv: eval: row 2, column 0 is -1e+30"
exits 65 "a value too large in a stream" "$fkm" "${large[@]}" --data large.csv --stream --batch-size 2
says "a value too large in a stream" "large.csv: batch 1: row 0, column 0 is -1e+30"
absent "a value too large" l.fkm

# ---- inputs that are not there are 66, inputs of a kind that is not read are 65
exits 0 "convert" "$fkm" convert rows.csv rows.npy --target colour --target-output kinds.npy
npy=(fit --task classifier --data rows.npy --distance euclidean --model n.fkm)
exits 66 "no targets" "$fkm" "${npy[@]}" --target nowhere.npy
says "no targets" "cannot read nowhere.npy: No such file"
exits 66 "no weights" "$fkm" "${npy[@]}" --target kinds.npy --weight nowhere.npy
says "no weights" "cannot read nowhere.npy: No such file"
exits 66 "no targets of --eval" "$fkm" "${npy[@]}" --target kinds.npy --eval rows.npy --eval-target nowhere.npy
says "no targets of --eval" "cannot read nowhere.npy: No such file"
sed 's/False/True /' rows.npy >columns.npy
exits 65 "an array in column-major order" "$fkm" fit --task clusterer --data columns.npy --model n.fkm
says "an array in column-major order" "columns.npy is in column-major order"
absent "an array in column-major order" n.fkm
if [ "$(id -u)" = 0 ]; then
    skip "a model that may not be read: root may read everything"
else
    chmod 0 m.fkm
    exits 66 "a model that may not be read" "$fkm" inspect m.fkm
fi
finish
