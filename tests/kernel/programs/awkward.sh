#!/bin/sh
# awkward.sh FOLDER NAME PYTHON: all programs of what is easily recorded wrongly, one after another;
# what each of their calls returned goes to FOLDER/NAME-*.jsonl.
set -e
here=$(cd "$(dirname "$0")" && pwd) out=$1/$2
"$here/build/compat-32" "$out-32.jsonl"
"$here/build/compat-64" "$out-64.jsonl"
cd "$here/../../.."
"$3" -m tests.kernel.programs.awkward >"$out-nested.jsonl"
"$3" -m tests.kernel.programs.limits >"$out-limits.jsonl"
