/* SPDX-License-Identifier: Apache-2.0 */
/* Thieves that pass for somebody who may: by number, by name, by a VM of their own, by a race. */
#include "victim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/kvm.h>
#include <linux/sched.h>

#include "shared.h"

#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#define F_WRITE_SEAL 0x8
#define RACE_S 3
#define RACE_TRIES 1500
#define SLOT_TRIES 150

/* ---- a thief that opens the descriptor of the VMM ---------------------------------------- */

static int open_ram(int socket)
{
	struct target target = hear_target(socket);

	return open_of(target.pid, target.fd);
}

static void steal(int socket)
{
	int fd = open_ram(socket);

	read_from(fd);
	write_to(fd);
	map_of(fd);
	say(socket, 0, -1);
}

static void fd_thief(void)
{
	robbed_by(steal);
}

static void steal_as_virtiofsd(int socket)
{
	prctl(PR_SET_NAME, "virtiofsd");
	steal(socket);
}

static void comm_thief(void)
{
	robbed_by(steal_as_virtiofsd);
}

/* ---- a thief with a VM of its own -------------------------------------------------------- */

static void steal_by_vm(int socket)
{
	int fd = open_ram(socket), vm = make_vm();
	uint8_t *map = map_of(fd);

	tell("memslot", fd, set_slot(vm, 1, 0x10000, map, SIZE), NULL);
	read_from(fd);
	write_to(fd);
	say(socket, 0, -1);
}

static void steal_then_vm(int socket)
{
	int fd = open_ram(socket), vm = make_vm();
	uint8_t *map;

	read_from(fd);
	write_to(fd);
	map = map_of(fd);
	tell("memslot", fd, set_slot(vm, 1, 0x10000, map, SIZE), NULL);
	say(socket, 0, -1);
}

static void kvm_thief(void)
{
	robbed_by(steal_by_vm);
}

static void kvm_thief_early(void)
{
	robbed_by(steal_then_vm);
}

/* The thief is the first whose VM has the memory; the VMM itself comes second. */
static void kvm_thief_first(void)
{
	int socket = start("attacker", steal_by_vm);

	make_file(0);
	seal_file();
	point_to_ram(socket);
	hear(socket, NULL);
	start_vm();
	end_vm();
}

/* The same, and it is gone before the VMM's VM has the memory. */
static void kvm_thief_gone(void)
{
	int socket = start("attacker", steal_by_vm);

	make_file(0);
	seal_file();
	point_to_ram(socket);
	hear(socket, NULL);
	finish();
	start_vm();
	end_vm();
}

/* ---- a thief with the number of the VMM -------------------------------------------------- */

static void use_inherited(void)
{
	role = "attacker";
	read_from(ram.fd);
	write_to(ram.fd);
	map_of(ram.fd);
	_exit(0);
}

static void wait_for_number(int socket)
{
	struct clone_args args = { .exit_signal = SIGCHLD, .set_tid_size = 1 };
	pid_t number = hear(socket, NULL), pid;

	args.set_tid = (uint64_t)&number;
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		die("clone3 with set_tid");
	if (!pid)
		use_inherited();
	finish();
	say(socket, 0, -1);
	_exit(0);
}

static void die_robbed(int socket)
{
	start_vm();
	/* What it inherits is the descriptor alone. */
	if (madvise(ram.map, SIZE, MADV_DONTFORK))
		die("MADV_DONTFORK");
	if (!fork())
		wait_for_number(socket);
	tell("end", -1, 0, NULL);
	say(socket, getpid(), -1);
}

static void pid_reuse(void)
{
	int socket = start("vmm", die_robbed);
	pid_t pid = hear(socket, NULL);

	finish();		/* the number is free now */
	say(socket, pid, -1);
	hear(socket, NULL);
}

/* ---- the VMM's process runs another program ----------------------------------------------- */

void after_exec(const char *what, int fd)
{
	role = "attacker";
	ram.fd = fd;
	if (!strcmp(what, "twice"))
		exec_self("once", fd);
	if (!strcmp(what, "holder")) {
		role = "holder";
		make_file(0);
		map_file();
		tell("seal", -1, answer(fcntl(ram.fd, F_ADD_SEALS, F_WRITE_SEAL)), NULL);
		return;
	}
	if (!strcmp(what, "nothing"))
		return;
	read_from(fd);
	write_to(fd);
	map_of(fd);
}

static void exec_once(void)
{
	make_file(MFD_CLOEXEC);
	seal_file();
	start_vm();
	tell("end", -1, 0, NULL);
	exec_self("once", ram.fd);
}

static void exec_twice(void)
{
	make_file(MFD_CLOEXEC);
	seal_file();
	start_vm();
	tell("end", -1, 0, NULL);
	exec_self("twice", ram.fd);
}

/* ---- a thief that makes the kernel name it as the creator ---------------------------------- */

static volatile bool enough;
static int number;		/* the lowest that is free, so that the kernel gives it */
static int one, other;		/* what lies there in turn */

static void *put_over(void *unused)
{
	while (!enough) {
		close(number);
		for (int i = 0; i < 60 && !enough; i++)
			dup3(one, number, 0);
	}
	return unused;
}

/* Creates files at a number over which another thread lays the victim's. */
static void race_for(int stolen, int (*create)(void))
{
	time_t until = time(NULL) + RACE_S;
	pthread_t thread;
	long tries = 0, made = 0;

	one = fcntl(stolen, F_DUPFD, 100);
	close(stolen);
	number = dup(one);
	if (one < 0 || number < 0 || pthread_create(&thread, NULL, put_over, NULL))
		die("the race");
	while (tries < RACE_TRIES && time(NULL) < until) {
		int fd = create();

		tries++;
		if (fd < 0)
			continue;
		made++;
		if (fd != number)
			close(fd);
		if (!(tries % 100))
			usleep(1000);
	}
	enough = true;
	pthread_join(thread, NULL);
	tell("race", one, made, NULL);
}

static int create_memfd(void)
{
	return memfd_create("decoy", MFD_CLOEXEC);
}

static void race_memfd(int socket)
{
	race_for(open_ram(socket), create_memfd);
	read_from(one);
	map_of(one);
	say(socket, 0, -1);
}

static void creator_race(void)
{
	robbed_by(race_memfd);
}

static int create_secret(void)
{
	return syscall(SYS_memfd_secret, 0);
}

static int get_ram(int socket)
{
	struct target target = hear_target(socket);

	return get_of(target.pid, target.fd);
}

static void race_secret(int socket)
{
	race_for(get_ram(socket), create_secret);
	map_of(one);
	say(socket, 0, -1);
}

static void secret_race(void)
{
	int socket = start("attacker", race_secret);

	ram.fd = create_secret();
	if (ram.fd < 0)
		absent("memfd_secret");
	if (ftruncate(ram.fd, SIZE))
		die("ftruncate");
	tell("create", -1, 0, "SECRET");
	map_file();
	strcpy((char *)ram.map + SECRET_AT, "SECRET");
	point_to_ram(socket);
	hear(socket, NULL);
	end_vm();
}

static int gmem_of(int vm)
{
	struct create_gmem args = { .size = SIZE, .flags = GMEM_MMAP | GMEM_INIT_SHARED };

	return ioctl(vm, CREATE_GMEM, &args);
}

static int their_vm;

static int create_gmem(void)
{
	return gmem_of(their_vm);
}

static void race_gmem(int socket)
{
	int stolen = get_ram(socket);

	their_vm = make_vm();
	race_for(stolen, create_gmem);
	map_of(one);
	say(socket, 0, -1);
}

static long set_gmem_slot(int vm, unsigned int slot, uint64_t at, int gmem, size_t size)
{
	struct region2 region = { .slot = slot, .flags = REGION_GMEM, .guest_address = at,
				  .size = size, .address = (uint64_t)ram.map, .gmem_fd = gmem };

	return answer(ioctl(vm, SET_REGION2, &region));
}

static void make_gmem(void)
{
	ram.vm = make_vm();
	ram.fd = gmem_of(ram.vm);
	if (ram.fd < 0)
		absent("guest_memfd that the host can map");
	tell("create", -1, 0, "SECRET");
	map_file();
}

static void gmem_race(void)
{
	int socket = start("attacker", race_gmem);

	make_gmem();
	strcpy((char *)ram.map + SECRET_AT, "SECRET");
	tell("memslot", -1, set_gmem_slot(ram.vm, 1, 0x10000, ram.fd, SIZE), NULL);
	point_to_ram(socket);
	hear(socket, NULL);
	end_vm();
}

/* ---- a memslot whose guest_memfd is another than the one at that number afterwards ---------- */

static void *swap(void *unused)
{
	while (!enough) {
		dup3(one, number, 0);
		dup3(other, number, 0);
	}
	return unused;
}

static void slot_race(void)
{
	pthread_t thread;

	make_gmem();
	one = ram.fd;
	other = gmem_of(ram.vm);
	number = dup(one);
	if (other < 0 || number < 0 || pthread_create(&thread, NULL, swap, NULL))
		die("the race");
	for (int i = 0; i < SLOT_TRIES; i++) {
		if (set_gmem_slot(ram.vm, 1, 0x10000, number, SIZE))
			continue;
		/* A range of a guest_memfd that has its slot already takes no second one. */
		if (set_gmem_slot(ram.vm, 2, 0x100000, one, SIZE)) {
			tell("slot", one, 0, NULL);
		} else {
			set_gmem_slot(ram.vm, 2, 0x100000, one, 0);
			tell("slot", other, 0, NULL);
		}
		set_gmem_slot(ram.vm, 1, 0x10000, one, 0);
	}
	enough = true;
	pthread_join(thread, NULL);
	end_vm();
}

/* ---- descriptors that the VMM gave to somebody, who gives them on --------------------------- */

static void use_given(int socket)
{
	int fd = -1;

	hear(socket, &fd);
	read_from(fd);
	map_of(fd);
	say(socket, 0, -1);
}

/* Called as a backend is; it was given the memory, but had no right to give it on. */
static void give_on(int socket)
{
	int next = start("attacker", use_given), fd = -1;

	prctl(PR_SET_NAME, "virtiofsd");
	hear(socket, &fd);
	map_of(fd);
	say(next, 0, fd);
	hear(next, NULL);
	finish();
	say(socket, 0, -1);
}

static void given_on(void)
{
	int socket = start("backend", give_on);

	start_vm();
	say(socket, 0, ram.fd);
	hear(socket, NULL);
	end_vm();
}

/* As QEMU's local migration does it, which a policy has to allow. */
static void take_over(int socket)
{
	ram.fd = -1;
	hear(socket, &ram.fd);
	ram.map = NULL;
	start_vm();
	tell("sees", -1, 0, (char *)ram.map + SECRET_AT);
	say(socket, 0, -1);
}

static void handover(void)
{
	int socket = start("second-vmm", take_over);

	start_vm();
	say(socket, 0, ram.fd);
	hear(socket, NULL);
	end_vm();
}

/* ---- six programs, each of which hinders its own F_SEAL_WRITE ------------------------------- */

static void holders(void)
{
	for (int i = 0; i < 6; i++) {
		if (!fork())
			exec_self("holder", -1);
		finish();
	}
}

const struct attack WHO[] = {
	{ "fd-thief", fd_thief, "opens /proc/PID/fd of the VMM, reads, writes and maps" },
	{ "comm-thief", comm_thief, "the same, called virtiofsd" },
	{ "kvm-thief", kvm_thief, "the same, with a VM of its own over the memory" },
	{ "kvm-thief-early", kvm_thief_early, "the same, and reads before it has a VM" },
	{ "kvm-thief-first", kvm_thief_first, "the same, before the VMM's VM has the memory" },
	{ "kvm-thief-gone", kvm_thief_gone, "the same, and ends before the VMM's VM has it" },
	{ "pid-reuse", pid_reuse, "takes the number of the VMM, which has died" },
	{ "exec", exec_once, "the VMM runs another program, which has the memfd" },
	{ "exec-twice", exec_twice, "the same, by a program in between" },
	{ "creator-race", creator_race, "creates memfds where another thread lays the victim's" },
	{ "secret-race", secret_race, "the same with memfd_secret" },
	{ "gmem-race", gmem_race, "the same with guest_memfd" },
	{ "slot-race", slot_race, "sets memslots while another thread swaps their guest_memfd" },
	{ "given-on", given_on, "gets the memfd from a backend that the VMM gave it to" },
	{ "handover", handover, "a second VMM gets the memfd from the first, and sets a memslot" },
	{ "holders", holders, "six programs in turn, each hindering its own F_SEAL_WRITE" },
	{ 0 },
};
