#!/bin/sh
# strangers.sh FOLDER TRACED: programs that others wrote and use, which seal and share memory files.
# strace writes down what they do (FOLDER/*.strace); their exit codes go to FOLDER/*.code.
# QEMU has no guest kernel, only its firmware.
out=$1 traced=$2
watched() {
	name=$1
	shift
	strace -f -y -qq -s 0 -o "$out/$name.strace" -e signal=none -e "trace=$traced" "$@" \
		>"$out/$name.said" 2>&1
	echo $? >"$out/$name.code"
}
folder=$(mktemp -d)
watched stress-ng stress-ng --seal 1 --seal-ops 20 --verify --temp-path "$folder"

socket=$folder/disk monitor=$folder/monitor
mkfifo "$monitor"
watched qemu-storage-daemon qemu-storage-daemon --blockdev null-co,node-name=disk,size=1048576 \
	--export vhost-user-blk,id=x,node-name=disk,addr.type=unix,addr.path="$socket",writable=on &
looks=0
while [ ! -S "$socket" ] && [ $looks -lt 600 ]; do
	looks=$((looks + 1))
	sleep 0.2
done
watched qemu qemu-system-x86_64 -accel tcg -display none -serial none -nodefaults \
	-machine q35,memory-backend=ram -m 64M \
	-object memory-backend-memfd,id=ram,size=64M,share=on,seal=on \
	-chardev socket,id=disk,path="$socket" -device vhost-user-blk-pci,chardev=disk,bootindex=0 \
	-monitor stdio <"$monitor" &
vmm=$!
exec 3>"$monitor"
looks=0
until grep -q "memfd:memory-backend-memfd" /proc/[0-9]*/maps 2>/dev/null || [ $looks = 600 ]; do
	looks=$((looks + 1))
	sleep 0.2
done
sleep 2 # of firmware
echo quit >&3
wait $vmm
pkill -x qemu-storage-da # a command name has 15 bytes
wait
