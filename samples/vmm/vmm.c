/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A miniature VMM: one virtual machine, one vCPU, a page of code and some memory, which lies in a
 * memfd or in a guest_memfd. The guest stores a word there, reads it back, adds one and puts it
 * out at a port, where it is compared. Switches make the VMM, or a second process, misbehave.
 * What was done, and what each call returned, is written as JSON lines: samples/README.md.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>

#include "shared.h"
#include "told.h"

/* Older headers lack some of these; the values are kernel ABI. */
#ifndef MFD_ALLOW_SEALING
#define MFD_CLOEXEC 0x1U
#define MFD_ALLOW_SEALING 0x2U
#endif
#ifndef MFD_HUGETLB
#define MFD_HUGETLB 0x4U
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_GET_SEALS 1034
#endif
enum { SEAL_SEAL = 0x01, SEAL_SHRINK = 0x02, SEAL_GROW = 0x04 };

#define PAGE 4096UL
#define CODE_AT 0x1000UL
#define RAM_AT 0x10000UL
#define PORT 0x10
#define WORD 0x534d

static const uint8_t CODE[] = {
	0xb8, 0x00, 0x10,			/* mov ax, 0x1000 */
	0x8e, 0xd8,				/* mov ds, ax: at RAM_AT */
	0xc7, 0x06, 0x00, 0x00, 0x4d, 0x53,	/* mov word [0], WORD */
	0xa1, 0x00, 0x00,			/* mov ax, [0] */
	0x05, 0x01, 0x00,			/* add ax, 1 */
	0xa3, 0x02, 0x00,			/* mov [2], ax */
	0xa1, 0x02, 0x00,			/* mov ax, [2] */
	0xba, PORT, 0x00,			/* mov dx, PORT */
	0xef,					/* out dx, ax */
	0xf4,					/* hlt */
};

static struct {
	bool gmem, host_mmap, read, write, second_process, process_vm, proc_mem, fork, pin, uffd;
	bool mprotect, splice, other, hugetlb;
	bool unsealed_window, map_before, punch, secret, no_run;
	long gmem_flags, pages;
	size_t size;
	const char *name;
} want = { .gmem_flags = -1, .pages = 16, .name = "guest-ram" };

static struct {
	int fd;			/* of the guest's memory */
	struct stat st;
	uint8_t *map;		/* where the VMM itself has it mapped, NULL: nowhere */
} ram = { .fd = -1 };

/* One line: the act, who, and the rest as given. */
static void __attribute__((format(printf, 3, 4)))
tell(const char *act, pid_t pid, const char *format, ...)
{
	struct timespec now;
	va_list list;

	clock_gettime(CLOCK_BOOTTIME, &now);
	fprintf(out, "{\"act\": \"%s\", \"time_ns\": %lld, \"pid\": %d", act,
		now.tv_sec * 1000000000LL + now.tv_nsec, pid);
	if (ram.fd >= 0)
		fprintf(out, ", \"dev\": %lu, \"ino\": %lu",
			(unsigned long)major(ram.st.st_dev) << 20 | minor(ram.st.st_dev),
			(unsigned long)ram.st.st_ino);
	va_start(list, format);
	vfprintf(out, format, list);
	va_end(list);
	fprintf(out, "}\n");
	fflush(out);
}

static sigjmp_buf no_page;

static void on_bus_error(int number)
{
	siglongjmp(no_page, number);
}

/* Reads one byte, and may write it back; 0, or the signal that it cost. */
static int touch(volatile uint8_t *at, bool writes)
{
	struct sigaction action = { .sa_handler = on_bus_error }, before;
	int number;

	sigaction(SIGBUS, &action, &before);
	number = sigsetjmp(no_page, 1);
	if (!number && writes)
		*at = *at;
	else if (!number)
		(void)*at;
	sigaction(SIGBUS, &before, NULL);
	return number;
}

/* ---- the second process ---------------------------------------------------------------- */

enum { MAP_IT = 1, VM_READ = 2, VM_WRITE = 3, PROC_MEM = 4, FD_READ = 5, FD_WRITE = 6, FD_SPLICE = 7 };
struct order {
	int what;
	pid_t pid;
	uint64_t address, length;
};
struct report {
	int64_t answer, signal;
	uint64_t address;
};
static int helper = -1;		/* our end of its socket */
static pid_t helper_pid;

static int receive_order(int socket, struct order *order)
{
	union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
	struct iovec io = { order, sizeof(*order) };
	struct msghdr message = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int fd = -1;

	if (recvmsg(socket, &message, 0) != sizeof(*order))
		_exit(0);
	c = CMSG_FIRSTHDR(&message);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* Calls on the file: by the VMM, or with --other by the second process. */
static long call_on(int fd, int what)
{
	char buffer[64] = "written by the host";
	loff_t from = PAGE;
	int pair[2];
	long got;

	if (what == FD_READ)
		return answer(pread(fd, buffer, sizeof(buffer), PAGE));
	if (what == FD_WRITE)
		return answer(pwrite(fd, buffer, sizeof(buffer), PAGE));
	if (pipe(pair))
		die("pipe");
	got = answer(splice(fd, &from, pair[1], NULL, PAGE, 0));
	close(pair[0]);
	close(pair[1]);
	return got;
}

static void help(int socket)
{
	for (;;) {
		struct order order;
		struct report report = { 0 };
		int fd = receive_order(socket, &order);
		char buffer[64] = "changed by another process";
		struct iovec local = { buffer, sizeof(buffer) };
		struct iovec remote = { (void *)order.address, sizeof(buffer) };
		char path[64];
		uint8_t *map;

		switch (order.what) {
		case MAP_IT:
			map = mmap(NULL, order.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
			report.answer = map == MAP_FAILED ? -errno : 0;
			report.address = (uint64_t)map;
			if (map != MAP_FAILED)
				report.signal = touch(map, true);
			break;
		case VM_READ:
			report.answer = answer(process_vm_readv(order.pid, &local, 1, &remote, 1, 0));
			break;
		case VM_WRITE:
			report.answer = answer(process_vm_writev(order.pid, &local, 1, &remote, 1, 0));
			break;
		case PROC_MEM:
			snprintf(path, sizeof(path), "/proc/%d/mem", order.pid);
			fd = open(path, O_RDONLY);
			report.answer = answer(pread(fd, buffer, sizeof(buffer), order.address));
			break;
		default:
			report.answer = call_on(fd, order.what);
		}
		if (write(socket, &report, sizeof(report)) != sizeof(report))
			_exit(1);
	}
}

static void start_helper(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
	helper_pid = fork();
	if (!helper_pid) {
		close(pair[0]);
		help(pair[1]);
	}
	close(pair[1]);
	helper = pair[0];
}

static struct report ask(int what, int fd)
{
	struct order order = { what, getpid(), (uint64_t)ram.map, want.size };
	struct report report;

	if (send_with(helper, &order, sizeof(order), fd) != sizeof(order))
		die("sendmsg");
	if (read(helper, &report, sizeof(report)) != sizeof(report))
		die("the second process");
	return report;
}

static void second_process(void)
{
	struct report report = ask(MAP_IT, ram.fd);

	tell("second_process", helper_pid, ", \"answer\": %ld, \"address\": %lu, \"length\": %lu, "
	     "\"signal\": %ld", (long)report.answer, (unsigned long)report.address,
	     (unsigned long)want.size, (long)report.signal);
}

static void remote(const char *act, int what)
{
	struct report report = ask(what, -1);

	tell(act, helper_pid, ", \"target\": %d, \"address\": %lu, \"length\": 64, \"answer\": %ld",
	     getpid(), (unsigned long)ram.map, (long)report.answer);
}

/* ---- the guest's memory ---------------------------------------------------------------- */

static void add_seals(void)
{
	int seals = SEAL_SHRINK | SEAL_GROW | SEAL_SEAL;
	long got = answer(fcntl(ram.fd, F_ADD_SEALS, seals));

	tell("seal", getpid(), ", \"seals\": %d, \"answer\": %ld", seals, got);
}

static void make_memfd(void)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (want.hugetlb ? MFD_HUGETLB : 0);

	ram.fd = memfd_create(want.name, flags);
	if (ram.fd < 0 || fstat(ram.fd, &ram.st))
		die("memfd_create");
	tell("create", getpid(), ", \"kind\": \"%s\", \"fd\": %d",
	     want.hugetlb ? "hugetlb" : "memfd", ram.fd);
	if (ftruncate(ram.fd, want.size))
		die("ftruncate");
	if (!want.unsealed_window)
		add_seals();
}

static void make_gmem(int vm)
{
	struct create_gmem args = { .size = want.size, .flags = want.gmem_flags };

	ram.fd = ioctl(vm, CREATE_GMEM, &args);
	if (ram.fd < 0 || fstat(ram.fd, &ram.st))
		die("KVM_CREATE_GUEST_MEMFD");
	tell("create", getpid(), ", \"kind\": \"guest_memfd\", \"fd\": %d, \"flags\": %ld, "
	     "\"size\": %lu", ram.fd, want.gmem_flags, (unsigned long)want.size);
}

/* The VMM's own mapping. */
static void map_ram(const char *act)
{
	void *map = mmap(NULL, want.size, PROT_READ | PROT_WRITE, MAP_SHARED, ram.fd, 0);
	long got = map == MAP_FAILED ? -errno : 0;

	if (map != MAP_FAILED && !ram.map)
		ram.map = map;
	tell(act, getpid(), ", \"fd\": %d, \"address\": %lu, \"length\": %lu, \"answer\": %ld",
	     ram.fd, (unsigned long)map, (unsigned long)want.size, got);
}

static void touch_ram(const char *act, bool writes)
{
	if (ram.map)
		tell(act, getpid(), ", \"address\": %lu, \"signal\": %d", (unsigned long)ram.map,
		     touch(ram.map, writes));
}

static void set_slot(int vm, uint32_t slot, uint64_t guest_address, uint64_t size, void *address,
		     int gmem)
{
	struct region2 region = {
		.slot = slot, .guest_address = guest_address, .size = size,
		.address = (uint64_t)address, .flags = gmem < 0 ? 0 : REGION_GMEM, .gmem_fd = gmem,
	};
	long got = gmem < 0 ? ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) :
			      ioctl(vm, SET_REGION2, &region);

	got = answer(got);
	tell(size ? "memslot" : "memslot_delete", getpid(), ", \"slot\": %u, \"gpa\": %lu, "
	     "\"length\": %lu, \"hva\": %lu, \"flags\": %u, \"gmem\": %d, \"answer\": %ld", slot,
	     (unsigned long)guest_address, (unsigned long)size, (unsigned long)address,
	     region.flags, gmem, got);
	if (got)
		exit(1);
}

/* ---- the guest ------------------------------------------------------------------------- */

static void run(int kvm, int vm)
{
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0), size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *state = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	struct kvm_regs regs = { .rip = CODE_AT, .rflags = 2 };
	struct kvm_sregs sregs;
	uint16_t got = 0;

	if (vcpu < 0 || state == MAP_FAILED || ioctl(vcpu, KVM_GET_SREGS, &sregs))
		die("vCPU");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs))
		die("vCPU registers");
	for (;;) {
		if (ioctl(vcpu, KVM_RUN, 0))
			die("KVM_RUN");
		if (state->exit_reason == KVM_EXIT_HLT)
			break;
		if (state->exit_reason != KVM_EXIT_IO || state->io.port != PORT) {
			fprintf(stderr, "vmm: the guest stopped for reason %u\n",
				state->exit_reason);
			exit(1);
		}
		memcpy(&got, (uint8_t *)state + state->io.data_offset, sizeof(got));
	}
	tell("guest", getpid(), ", \"word\": %u, \"expected\": %u", got, WORD + 1);
	if (got != WORD + 1)
		exit(1);
}

/* ---- misbehaviour ---------------------------------------------------------------------- */

static void fork_it(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(ram.map ? touch(ram.map, true) : 0);
	waitpid(pid, NULL, 0);
	tell("fork", pid, ", \"address\": %lu, \"length\": %lu", (unsigned long)ram.map,
	     (unsigned long)want.size);
}

/* io_uring_setup(2), io_uring_register(2): a registered buffer is pinned until the ring is gone. */
static void pin_it(void)
{
	uint8_t parameters[120] = { 0 };
	struct iovec buffer = { ram.map, want.size };
	int ring = syscall(425, 4, parameters);
	long got = answer(ring < 0 ? -1 : syscall(427, ring, 0, &buffer, 1));

	tell("pin_io_uring", getpid(), ", \"address\": %lu, \"length\": %lu, \"answer\": %ld",
	     (unsigned long)ram.map, (unsigned long)want.size, got);
}

/* userfaultfd(2): page faults of the memory would come to us. */
static void uffd_it(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register area = {
		.range = { (uint64_t)ram.map, want.size }, .mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	long got = answer(fd < 0 || ioctl(fd, UFFDIO_API, &api) ? -1 :
			  ioctl(fd, UFFDIO_REGISTER, &area));

	tell("uffd", getpid(), ", \"address\": %lu, \"length\": %lu, \"mode\": 1, \"answer\": %ld",
	     (unsigned long)ram.map, (unsigned long)want.size, got);
	close(fd);
}

static void mprotect_it(void)
{
	long got = answer(mprotect(ram.map, PAGE, PROT_READ));

	tell("mprotect", getpid(), ", \"address\": %lu, \"length\": %lu, \"prot\": 1, \"answer\": %ld",
	     (unsigned long)ram.map, PAGE, got);
	got = answer(mprotect(ram.map, PAGE, PROT_READ | PROT_WRITE));
	tell("mprotect", getpid(), ", \"address\": %lu, \"length\": %lu, \"prot\": 3, \"answer\": %ld",
	     (unsigned long)ram.map, PAGE, got);
}

/* By calls where there are any; a guest_memfd has none, so through a mapping. */
static void read_or_write(const char *act, int what)
{
	long got;

	if (want.gmem) {
		touch_ram(what == FD_WRITE ? "store" : "load", what == FD_WRITE);
		return;
	}
	got = want.other ? (long)ask(what, ram.fd).answer : call_on(ram.fd, what);
	tell(act, want.other ? helper_pid : getpid(), ", \"fd\": %d, \"offset\": %lu, "
	     "\"length\": %lu, \"answer\": %ld", ram.fd, PAGE, what == FD_SPLICE ? PAGE : 64, got);
}

static void punch_it(void)
{
	long got = answer(fallocate(ram.fd, 3, 8 * PAGE, PAGE));

	tell("punch", getpid(), ", \"fd\": %d, \"offset\": %lu, \"length\": %lu, \"answer\": %ld",
	     ram.fd, 8 * PAGE, PAGE, got);
}

static void secret_it(void)
{
	int fd = syscall(SYS_memfd_secret, 0);
	long error = errno;
	struct stat st = { 0 };
	uint8_t *map = MAP_FAILED;
	int number = 0;

	if (fd >= 0 && !fstat(fd, &st) && !ftruncate(fd, PAGE))
		map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED)
		number = touch(map, true);
	tell("secret", getpid(), ", \"fd\": %d, \"secret_ino\": %lu, \"address\": %lu, "
	     "\"signal\": %d, \"answer\": %ld", fd, (unsigned long)st.st_ino, (unsigned long)map,
	     number, fd < 0 ? -error : 0);
	close(fd);	/* still mapped */
}

static const struct word WORDS[] = {
	{ "guest-memfd", .on = &want.gmem }, { "gmem-flags", .number = &want.gmem_flags },
	{ "host-mmap", .on = &want.host_mmap }, { "read", .on = &want.read },
	{ "write", .on = &want.write }, { "second-process", .on = &want.second_process },
	{ "process-vm-readv", .on = &want.process_vm }, { "proc-mem", .on = &want.proc_mem },
	{ "fork", .on = &want.fork }, { "pin-io-uring", .on = &want.pin },
	{ "userfaultfd", .on = &want.uffd }, { "mprotect", .on = &want.mprotect },
	{ "unsealed-window", .on = &want.unsealed_window },
	{ "map-before", .on = &want.map_before }, { "punch", .on = &want.punch },
	{ "secret", .on = &want.secret }, { "splice", .on = &want.splice },
	{ "other", .on = &want.other }, { "hugetlb", .on = &want.hugetlb },
	{ "no-run", .on = &want.no_run }, { "name", .text = &want.name },
	{ "pages", .number = &want.pages }, COMMON_WORDS,
};

/* What depends on other options. */
static void complete(void)
{
	want.size = (want.hugetlb ? 512 : want.pages) * PAGE;
	/* A guest_memfd that only the guest can use, unless the host is to use it too. */
	if (want.gmem_flags < 0)
		want.gmem_flags = want.read || want.write || want.second_process || want.process_vm ||
				  want.proc_mem || want.fork || want.pin || want.uffd || want.mprotect ?
				  GMEM_MMAP | GMEM_INIT_SHARED : GMEM_MMAP;
}

int main(int argc, char **argv)
{
	void *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool maps_gmem;
	int kvm, vm;

	read_options(argc, argv, WORDS);
	complete();
	if (want.second_process || want.map_before || want.process_vm || want.proc_mem || want.other)
		start_helper();
	if (!want.map_before)
		rendezvous(told.ready, told.go);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		die("/dev/kvm");
	memcpy(code, CODE, sizeof(CODE));
	if (want.gmem)
		make_gmem(vm);
	else
		make_memfd();
	if (want.map_before) {
		second_process();
		rendezvous(told.ready, told.go);
	}
	maps_gmem = want.gmem_flags & GMEM_INIT_SHARED;
	if (!want.gmem || maps_gmem)
		map_ram("map_own");
	set_slot(vm, 0, CODE_AT, PAGE, code, -1);
	set_slot(vm, 1, RAM_AT, want.size, ram.map, want.gmem ? ram.fd : -1);
	if (!want.no_run)
		run(kvm, vm);
	if (want.unsealed_window && !want.gmem)
		add_seals();
	if (want.host_mmap) {
		map_ram("host_mmap");
		touch_ram("host_touch", false);
	}
	if (want.read)
		read_or_write("read", FD_READ);
	if (want.write)
		read_or_write("write", FD_WRITE);
	if (want.splice)
		read_or_write("splice", FD_SPLICE);
	if (want.second_process)
		second_process();
	if (want.process_vm) {
		remote("process_vm_readv", VM_READ);
		remote("process_vm_writev", VM_WRITE);
	}
	if (want.proc_mem)
		remote("proc_mem", PROC_MEM);
	if (want.fork)
		fork_it();
	if (want.pin)
		pin_it();
	if (want.uffd)
		uffd_it();
	if (want.mprotect)
		mprotect_it();
	if (want.punch)
		punch_it();
	if (want.secret)
		secret_it();
	if (told.stay)
		tell("stay", getpid(), ", \"name\": \"%s\"", want.name);
	rendezvous(NULL, told.stay);
	set_slot(vm, 1, RAM_AT, 0, ram.map, -1);
	tell("end", getpid(), ", \"name\": \"%s\"", want.name);
	if (helper_pid) {
		close(helper);
		waitpid(helper_pid, NULL, 0);
	}
	return 0;
}
