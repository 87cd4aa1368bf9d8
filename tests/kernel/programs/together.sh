#!/bin/sh
# together.sh FOLDER MINE OTHER CMD...: runs CMD when OTHER is ready too, ends when OTHER is done.
# So no hook is set or taken off while code runs through it at full speed: QEMU's emulation may
# then execute an instruction that is long overwritten (int3), and the guest's kernel panics.
folder=$1 mine=$2 other=$3
shift 3
: >"$folder/$mine.ready"
while [ ! -e "$folder/$other.ready" ]; do sleep 0.2; done
"$@"
code=$?
: >"$folder/$mine.done"
while [ ! -e "$folder/$other.done" ]; do sleep 0.2; done
exit $code
