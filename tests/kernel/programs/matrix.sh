#!/bin/sh
# matrix.sh FOLDER METHOD MEMFD_TEST COMMAND...: what one recording of the matrix is of.
# COMMAND is the workload with its options; then come the holes and, if MEMFD_TEST is yes, the
# kernel's own selftest (its System V semaphore forbids two at once).
folder=$1 method=$2 memfd_test=$3 holes=$4
shift 4
failed=0
# tests/kernel/scenes_decisions.py, UNPREEMPTED, says why.
chrt --fifo 1 "$@" --out "$folder/matrix-$method.jsonl" || failed=1
chrt --fifo 1 "$holes" --out "$folder/matrix-holes-$method.jsonl" || failed=1
[ "$memfd_test" = no ] || chrt --fifo 1 sh "$folder/memfd_test.sh" || failed=1
exit $failed
