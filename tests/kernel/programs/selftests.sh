#!/bin/sh
# selftests.sh FOLDER: the kernel's own tests that are in FOLDER/selftests. strace writes down what
# each asks the kernel for (FOLDER/selftest-*.strace); exit codes go to FOLDER/selftest-*.code.
for program in "$1"/selftests/*; do
	out=$1/selftest-${program##*/}
	strace -f -y -qq -s 0 -o "$out.strace" -e signal=none -e trace=ioctl,fallocate,mmap "$program" \
		>"$out.said" 2>&1
	echo $? >"$out.code"
done
