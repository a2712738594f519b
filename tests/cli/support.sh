# support.sh — checks for tests of the command; sourced by test_*.sh FKM.
# SPDX-License-Identifier: Apache-2.0
fkm=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
out=$work/.out err=$work/.err
passed=0 failed=0 skipped=0
unset NO_COLOR FKM_ISA

pass() { passed=$((passed + 1)); }
fail() { # TITLE [FILE]
    failed=$((failed + 1))
    echo "FAILED: $1"
    if [ -n "$2" ]; then sed 's/^/    /' "$2" | head -20; fi
}
skip() { skipped=$((skipped + 1)); echo "skipped: $1"; }

# exits CODE TITLE COMMAND...: keeps what it wrote in $out and $err.
exits() {
    local expected=$1 title=$2 code
    shift 2
    "$@" >"$out" 2>"$err" </dev/null
    code=$?
    if [ $code = "$expected" ]; then pass; else fail "$title: exit code $code instead of $expected" "$err"; fi
}
says() { if grep -qF -- "$2" "$err"; then pass; else fail "$1: stderr does not say '$2'" "$err"; fi; }
prints() { if grep -qF -- "$2" "$out"; then pass; else fail "$1: stdout does not say '$2'" "$out"; fi; }
silent() { if [ -s "$err" ]; then fail "$1: stderr is not empty" "$err"; else pass; fi; }
ok() { # TITLE COMMAND...
    local title=$1
    shift
    if "$@" >"$work/.ok" 2>&1; then pass; else fail "$title" "$work/.ok"; fi
}
same() { ok "$1: $2 and $3 differ" cmp "$2" "$3"; }
absent() { if [ -e "$2" ]; then fail "$1: $2 exists"; else pass; fi; }
# expected NAME TITLE COMMAND...: stdout is that of expected/NAME.txt, to the letter.
expected() {
    local file=$here/expected/$1.txt title=$2
    shift 2
    "$@" >"$out" 2>"$err" </dev/null
    if diff -u "$file" "$out" >"$work/.diff"; then pass; else fail "$title: not what expected/ says" "$work/.diff"; fi
}
# score KEY of the JSON on stdout.
score() { sed -n "s/^ *\"$1\": \([-0-9.e+]*\),\{0,1\}$/\1/p" "$out" | head -1; }
# at_least TITLE KEY BOUND
at_least() {
    local value
    value=$(score "$2")
    if awk -v a="$value" -v b="$3" 'BEGIN { exit !(a != "" && a + 0 >= b + 0) }'; then pass
    else fail "$1: $2 is '$value', expected at least $3" "$out"; fi
}
at_most() {
    local value
    value=$(score "$2")
    if awk -v a="$value" -v b="$3" 'BEGIN { exit !(a != "" && a + 0 <= b + 0) }'; then pass
    else fail "$1: $2 is '$value', expected at most $3" "$out"; fi
}
finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ $failed = 0 ]
    exit
}

# ---- data: the same numbers every time

# normal(): about N(0, 1), from a generator of our own so that every awk gives the same.
awk_random='
function uniform() { state = (state * 16807) % 2147483647; return state / 2147483647 }
function normal() { return uniform() + uniform() + uniform() + uniform() + uniform() + uniform() - 3 }
'
# blobs ROWS SEED: three classes of two blobs each; the features have very different scales.
blobs() {
    awk -v rows="$1" -v state="$2" "$awk_random"'
    BEGIN {
        split("red green blue", name, " ")
        print "width,height,depth,colour"
        for (i = 0; i < rows; i++) {
            c = 1 + i % 3; side = uniform() < 0.5 ? -4 : 4
            printf "%.4f,%.4f,%.6f,%s\n", 1000 * (side + normal()), c * 3 + normal(), 0.01 * (c - 2) * side + 0.01 * normal(), name[c]
        }
    }'
}
# surface ROWS SEED: two targets of three features.
surface() {
    awk -v rows="$1" -v state="$2" "$awk_random"'
    BEGIN {
        print "a,b,c,price,size"
        for (i = 0; i < rows; i++) {
            a = 2 * uniform() - 1; b = 2 * uniform() - 1; c = normal()
            printf "%.5f,%.5f,%.5f,%.5f,%.5f\n", a, b, c, 3 * a - 2 * b * b + 0.05 * normal(), a * b
        }
    }'
}
# songs ROWS SEED: tags of a row are those of the features that are large.
songs() {
    awk -v rows="$1" -v state="$2" "$awk_random"'
    BEGIN {
        split("rock jazz folk pop", name, " ")
        print "f1,f2,f3,f4,tags"
        for (i = 0; i < rows; i++) {
            tags = ""; line = ""
            for (t = 1; t <= 4; t++) {
                on = uniform() < 0.4
                line = line sprintf("%.4f,", (on ? 2 : 0) + 0.3 * normal())
                if (on) tags = tags (tags == "" ? "" : ";") name[t]
            }
            print line tags
        }
    }'
}
# letters ROWS SEED: texts of four topics, each with words of its own among common ones.
letters() {
    awk -v rows="$1" -v state="$2" "$awk_random"'
    BEGIN {
        split("sport money music food", topic, " ")
        print "id,body,topic,title"
        for (i = 0; i < rows; i++) {
            c = 1 + i % 4; body = ""
            for (w = 0; w < 12; w++)
                body = body (uniform() < 0.5 ? "common" int(30 * uniform()) : topic[c] int(20 * uniform())) (w % 5 ? " " : ", ")
            printf "%d,\"%s\",%s,\"Ein \"\"Täst\"\" %s%d\"\n", i, body, topic[c], topic[c], int(9 * uniform())
        }
    }'
}
