#!/usr/bin/env bash
# test_convert.sh — rows from every format into every format and back.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/support.sh"

cat >plain.csv <<'END'
a,b,c,kind
1.5,0,-3,x
0,2.25,1e-07,y
123456789.5,0,0.1,"z, or w"
END
cat >short.csv <<'END'
a,b,c,kind
1.5,0,-3,x
0,2.25,1e-07,y
END
cat >missing.csv <<'END'
a,b
1,
,2
END

# ---- text to text
exits 0 "csv to tsv" "$fkm" convert plain.csv plain.tsv --target kind
printf 'a\tb\tc\tkind\n1.5\t0\t-3\tx\n0\t2.25\t1e-07\ty\n123456789.5\t0\t0.1\tz, or w\n' >expected.tsv
same "csv to tsv" expected.tsv plain.tsv
exits 0 "tsv to csv" "$fkm" convert plain.tsv again.csv --target kind
same "tsv to csv" plain.csv again.csv
exits 0 "csv to libsvm" "$fkm" convert --data short.csv --output short.svm --target kind
printf 'x 1:1.5 3:-3\ny 2:2.25 3:1e-07\n' >expected.svm
same "csv to libsvm" expected.svm short.svm
exits 0 "libsvm to csv" "$fkm" convert short.svm from_svm.csv
printf 'x0,x1,x2,target\n1.5,0,-3,x\n0,2.25,1e-07,y\n' >expected_svm.csv
same "libsvm to csv" expected_svm.csv from_svm.csv
exits 0 "libsvm, base 0" "$fkm" convert short.svm wide.csv --index-base 0
ok "libsvm, base 0, has one column more" grep -qx 'x0,x1,x2,x3,target' wide.csv
exits 0 "libsvm, 5 columns" "$fkm" convert short.svm wide.csv --n-cols 5
ok "libsvm, 5 columns" grep -qx 'x0,x1,x2,x3,x4,target' wide.csv
exits 0 "missing values stay missing" "$fkm" convert missing.csv missing_again.csv
same "missing values stay missing" missing.csv missing_again.csv
exits 65 "libsvm has no missing values" "$fkm" convert missing.csv missing.svm
says "libsvm has no missing values" "row 0, feature 1: the value is missing"
absent "libsvm has no missing values" missing.svm
absent "libsvm has no missing values" missing.svm.partial
exits 65 "missing values as an error" "$fkm" convert missing.csv x.csv --missing error
exits 65 "a class that is no word" "$fkm" convert plain.csv x.svm --target kind
says "a class that is no word" "'z, or w' cannot be written as libsvm"

# ---- tags
printf 'f,tags\n1,rock;jazz\n2,\n0,jazz\n' >tags.csv
exits 0 "tags to libsvm" "$fkm" convert tags.csv tags.svm --target tags --task multilabel
says "tags to libsvm" "0 = rock, 1 = jazz"
printf '0,1 1:1\n  1:2\n1\n' >expected_tags.svm
same "tags to libsvm" expected_tags.svm tags.svm
exits 0 "tags from libsvm" "$fkm" convert tags.svm tags2.csv --task multilabel
printf 'x0,target\n1,0;1\n2,\n0,1\n' >expected_tags.csv
same "tags from libsvm" expected_tags.csv tags2.csv

# ---- numbers as targets, weights
printf 'p,q,u,w\n1,2,3.5,1\n4,5,6.5,0.25\n' >targets.csv
exits 0 "two targets and a weight" "$fkm" convert targets.csv targets.tsv --target p,u --weight w --task regressor
printf 'q\tp\tu\tw\n2\t1\t3.5\t1\n5\t4\t6.5\t0.25\n' >expected.tsv
same "two targets and a weight" expected.tsv targets.tsv
exits 0 "two targets in libsvm" "$fkm" convert targets.csv targets.svm --target p,u --task regressor
printf '1,3.5 1:2 2:1\n4,6.5 1:5 2:0.25\n' >expected.svm
same "two targets in libsvm" expected.svm targets.svm
exits 2 "weights in libsvm" "$fkm" convert targets.csv x.svm --weight w
absent "weights in libsvm" x.svm

# ---- npy
exits 0 "csv to npy" "$fkm" convert short.csv short.npy --target kind --target-output kinds.npy --dtype float64
says "csv to npy" "'x' is 0"
exits 0 "npy to csv" "$fkm" convert short.npy from_npy.csv --target kinds.npy
printf 'x0,x1,x2,target\n1.5,0,-3,0\n0,2.25,1e-07,1\n' >expected_npy.csv
same "npy to csv" expected_npy.csv from_npy.csv
exits 0 "csv to npy, float32" "$fkm" convert short.csv single.npy --target kind --target-output kinds.npy
exits 0 "float32 keeps its shortest text" "$fkm" convert single.npy single.csv --target kinds.npy
same "float32 keeps its shortest text" expected_npy.csv single.csv
exits 0 "tags to npy" "$fkm" convert tags.csv t.npy --target tags --task multilabel --target-output tt.npy
exits 0 "tags from npy" "$fkm" convert t.npy tags3.csv --target tt.npy --task multilabel
printf 'x0,target\n1,0;1\n2,\n0,1\n' >expected_tags.csv
same "tags from npy" expected_tags.csv tags3.csv
exits 0 "missing to npy" "$fkm" convert missing.csv missing.npy
exits 0 "missing from npy" "$fkm" convert missing.npy missing3.csv
printf 'x0,x1\n1,\n,2\n' >expected_missing.csv
same "missing from npy" expected_missing.csv missing3.csv
exits 2 "npy to stdout" "$fkm" convert short.csv - --to npy --target kind --target-output k.npy
exits 2 "npy targets need a file" "$fkm" convert short.csv x.npy --target kind
absent "npy targets need a file" x.npy
if python3 -c 'import numpy' 2>/dev/null; then
    ok "numpy reads it" python3 - <<'END'
import numpy
x, y, t = numpy.load("short.npy"), numpy.load("kinds.npy"), numpy.load("tt.npy")
assert x.dtype == "float64" and x.tolist() == [[1.5, 0, -3], [0, 2.25, 1e-7]]
assert y.dtype == "int64" and y.tolist() == [0, 1]
assert t.tolist() == [[1, 1], [0, 0], [0, 1]]
assert numpy.load("single.npy").dtype == "float32"
END
else
    skip "numpy reads it"
fi

# ---- standard input and output, compressed files
gzip -k plain.csv
exits 0 "gzip" "$fkm" convert plain.csv.gz - --to tsv --target kind
same "gzip" plain.tsv "$out"
"$fkm" convert - - --target kind <plain.csv >piped.csv 2>"$err"
same "stdin to stdout" plain.csv piped.csv
cat plain.tsv | "$fkm" convert - - --format tsv --target kind >piped.csv 2>"$err"
same "a pipe to stdout" plain.csv piped.csv

# ---- outputs that fail
awk 'BEGIN { print "a,b,c"; for (i = 0; i < 200000; i++) print "1,2," i }' >long.csv
"$fkm" convert long.csv - >/dev/full 2>"$err"
code=$?
if [ $code = 74 ]; then pass; else fail "a full disk: exit code $code instead of 74" "$err"; fi
"$fkm" convert long.csv - 2>"$err" | head -1 >/dev/null
code=${PIPESTATUS[0]}
if [ $code = 0 ]; then pass; else fail "a closed pipe: exit code $code instead of 0" "$err"; fi
silent "a closed pipe"
(ulimit -f 100 && "$fkm" convert long.csv limited.csv 2>"$err")
code=$?
if [ $code = 74 ]; then pass; else fail "a file size limit: exit code $code instead of 74" "$err"; fi
absent "a file size limit" limited.csv
absent "a file size limit" limited.csv.partial
echo old >kept.csv
exits 65 "a failed run keeps the old file" "$fkm" convert plain.csv kept.csv
ok "a failed run keeps the old file" grep -qx old kept.csv
ln -s real.csv link.csv
echo old >real.csv
exits 0 "a link stays a link" "$fkm" convert missing.csv link.csv
ok "a link stays a link" test -L link.csv
same "a link stays a link" missing.csv real.csv

# ---- rows that are wrong
printf 'a,b\n1,2\n3\n' >ragged.csv
exits 65 "ragged rows" "$fkm" convert ragged.csv x.csv
says "ragged rows" "ragged.csv, line 3"
printf '1 3:1 2:1\n' >order.svm
exits 0 "libsvm sorts" "$fkm" convert order.svm - --to libsvm
prints "libsvm sorts" "1 2:1 3:1"
printf '1 2:x\n' >value.svm
exits 65 "libsvm value" "$fkm" convert value.svm x.csv
: >empty.csv
exits 65 "an empty file" "$fkm" convert empty.csv x.csv
exits 65 "an unknown column" "$fkm" convert plain.csv x.csv --target colour
says "an unknown column" '"colour"'
finish
