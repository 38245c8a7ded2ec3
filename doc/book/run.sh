#!/usr/bin/env bash
# Runs the book: the commands of its chapters, in their order, in a fresh folder.
#
#   doc/book/run.sh [PROGRAM]       PROGRAM: a built crossmod, else this checkout's release build
#
# Chapters share the folder, as a reader's would; each is a shell of its own. In a chapter
#
#   ```sh                 is run: each command must end with 0,
#   COMMAND  # exit N     but this one with N;
#   ```sh,ignore          is not run: it takes long, or needs a browser or files of the reader's;
#   ```text               each line must be printed by the commands before it, `…` standing for
#                         anything;
#   ```text,varies        is not compared: it depends on the machine or on what was learnt.
#
# Nothing is to learn here, only to run. So arguments are changed on their way to the program:
#
#   --minutes M           becomes --steps 2
#   demo                  gets --steps 2
set -euo pipefail

book=$(cd "$(dirname "$0")" && pwd)
program=${1:-${CARGO_TARGET_DIR:-$book/../../target}/release/crossmod}
if [ ! -x "$program" ]; then
  echo "expected a built crossmod, found none; run \`cargo build --release\`, or name one: $program" >&2
  exit 2
fi
PROGRAM=$(cd "$(dirname "$program")" && pwd)/$(basename "$program")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/work"
SAID=$folder/said
export PROGRAM SAID

# The program, its arguments made small.
crossmod() {
  local arguments=() argument
  for argument in "$@"; do
    if [ "${arguments[*]: -1}" = --minutes ]; then
      arguments[-1]=--steps
      argument=2
    fi
    arguments+=("$argument")
  done
  [ "${1:-}" != demo ] || arguments+=(--steps 2)
  (exec -a crossmod "$PROGRAM" "${arguments[@]}")
}

# Whether each line of the standard input is among what was printed.
printed() {
  awk '
    function matches(line, pattern,   pieces, n, i, at) {
      n = split(pattern, pieces, "…")
      for (i = 1; i <= n; i++) if (pieces[i] != "") {
        at = index(line, pieces[i])
        if (!at) return 0
        line = substr(line, at + length(pieces[i]))
      }
      return 1
    }
    { sub(/[ \t]+$/, "") }
    from == "program" { said[count++] = $0; next }
    $0 != "" {
      for (i = 0; i < count; i++) if (matches(said[i], $0)) next
      print "not printed: " $0
      missed = 1
    }
    END { exit missed }
  ' from=program "$SAID" from=book - >&2
}
export -f crossmod printed

# A chapter as a script.
script() {
  cat <<'TOP'
set -euo pipefail
ended() {
  local code=$?
  [ $code = 0 ] || { echo "$at: failed, exit code $code; it printed:"; cat "$SAID"; } >&3
}
exec 3>&2
trap ended EXIT
TOP
  awk -v chapter="$1" '
    /^```/ && state == "" {
      state = ($0 == "```sh") ? "run" : ($0 == "```text") ? "compare" : "skip"
      if (state == "run") printf "at=%s:%d\n{\n", chapter, NR + 1
      if (state == "compare") printf "at=%s:%d\nprinted <<\"EXPECTED\"\n", chapter, NR + 1
      next
    }
    /^```/ {
      if (state == "run") print "} > \"$SAID\" 2>&1"
      if (state == "compare") print "EXPECTED"
      state = ""
      next
    }
    state == "run" && match($0, /# exit [0-9]+$/) {
      code = substr($0, RSTART + 7)
      print substr($0, 1, RSTART - 1) " && code=0 || code=$?"
      printf "[ $code = %s ] || { echo \"expected exit code %s, found $code: line %d\"; exit 1; }\n",
        code, code, NR
      next
    }
    state == "run" || state == "compare"
  ' "$book/src/$1"
}

sed -n 's/.*](\(.*\.md\)).*/\1/p' "$book/src/SUMMARY.md" | while read -r chapter; do
  began=$SECONDS
  script "$chapter" > "$folder/chapter.sh"
  (cd "$folder/work" && bash "$folder/chapter.sh" < /dev/null)
  echo "$chapter: $((SECONDS - began)) s"
done
