/* SPDX-License-Identifier: Apache-2.0 */
/* Ways into the memory of a guest that do not look like one. */
#include "victim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/kvm.h>
#include <linux/udmabuf.h>
#include <linux/userfaultfd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#define NOBODY 65534

/* Not in the headers of Linux 6.1. */
struct uffd_poison {
	struct uffdio_range range;
	uint64_t mode;
	int64_t updated;
};
#define UFFD_POISON _IOWR(UFFDIO, 0x08, struct uffd_poison)

/* ---- userfaultfd: page faults of the VMM that another process answers --------------------- */

static int make_uffd(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		die("userfaultfd");
	return fd;
}

static long register_uffd(int uffd, uint64_t mode, bool is_cold)
{
	/* No more than what somebody is going to fill: nobody answers other faults. */
	struct uffdio_register area = { .range = { (uint64_t)ram.map + HOLE_AT, PAGE },
					.mode = mode };

	return answer(ioctl(uffd, UFFDIO_REGISTER, is_cold ? cold(&area, sizeof(area)) : &area));
}

static uint8_t *new_page(void)
{
	uint8_t *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			     0);

	snprintf((char *)page, PAGE, "WRITTEN by %s", role);
	return page;
}

/* What the one who has the descriptor does with the page at HOLE_AT. */
static long fill(int uffd, unsigned long request, bool is_cold)
{
	uint64_t at = (uint64_t)ram.map + HOLE_AT;
	union {
		struct uffdio_copy copy;
		struct uffdio_zeropage zero;
		struct uffdio_continue resume;
		struct uffd_poison poison;
	} args = { 0 };

	switch (request) {
	case UFFDIO_COPY:
		args.copy = (struct uffdio_copy){ .dst = at, .src = (uint64_t)new_page(),
						  .len = PAGE };
		break;
	case UFFDIO_ZEROPAGE:
		args.zero.range = (struct uffdio_range){ at, PAGE };
		break;
	case UFFDIO_CONTINUE:
		args.resume.range = (struct uffdio_range){ at, PAGE };
		break;
	case UFFD_POISON:
		args.poison.range = (struct uffdio_range){ at, PAGE };
		break;
	}
	return answer(ioctl(uffd, request, is_cold ? cold(&args, sizeof(args)) : &args));
}

static void fill_for_vmm(int socket)
{
	unsigned long request = hear(socket, NULL);
	int uffd = -1;
	long got;

	ram.map = (uint8_t *)hear(socket, &uffd);
	got = fill(uffd, request, false);
	tell("fill", -1, got, NULL);
	say(socket, got, -1);
}

static void filled_by_other(unsigned long request)
{
	bool minor = request == UFFDIO_CONTINUE;
	int socket = start("attacker", fill_for_vmm), uffd;
	long got;

	start_vm();
	uffd = make_uffd(minor ? UFFD_FEATURE_MINOR_SHMEM : 0);
	if (minor && pwrite(ram.fd, "WRITTEN by vmm", 15, HOLE_AT) < 0)
		die("pwrite");
	if (register_uffd(uffd, minor ? UFFDIO_REGISTER_MODE_MINOR :
			  UFFDIO_REGISTER_MODE_MISSING, false))
		die("UFFDIO_REGISTER");
	say(socket, request, -1);
	say(socket, (uint64_t)ram.map, uffd);
	got = hear(socket, NULL);
	errno = -got;
	if (got == -EINVAL || got == -ENOTTY)
		absent("this request of userfaultfd for shared memory");
	if (request != UFFD_POISON)
		tell("sees", -1, 0, (char *)ram.map + HOLE_AT);
	end_vm();
}

static void uffd_copy(void)
{
	filled_by_other(UFFDIO_COPY);
}

static void uffd_zeropage(void)
{
	filled_by_other(UFFDIO_ZEROPAGE);
}

static void uffd_continue(void)
{
	filled_by_other(UFFDIO_CONTINUE);
}

static void uffd_poison(void)
{
	filled_by_other(UFFD_POISON);
}

/* Registers the VMM's memory with the VMM's userfaultfd, out of arguments that nobody has read. */
static void register_cold(int socket)
{
	int uffd = -1;

	ram.map = (uint8_t *)hear(socket, &uffd);
	tell("register", -1, register_uffd(uffd, UFFDIO_REGISTER_MODE_MISSING, true), NULL);
	tell("fill", -1, fill(uffd, UFFDIO_COPY, true), NULL);
	say(socket, 0, -1);
}

static void uffd_cold(void)
{
	int socket = start("attacker", register_cold);

	start_vm();
	say(socket, (uint64_t)ram.map, make_uffd(0));
	hear(socket, NULL);
	tell("sees", -1, 0, (char *)ram.map + HOLE_AT);
	end_vm();
}

/* The VMM itself registers, out of such arguments: only a policy that it may not breaks by that. */
static void uffd_cold_vmm(void)
{
	start_vm();
	tell("register", -1, register_uffd(make_uffd(0), UFFDIO_REGISTER_MODE_MISSING, true),
	     NULL);
	end_vm();
}

/* ---- descriptors that are got before the file is sealed ------------------------------------ */

static void open_path(int socket, const char *path, bool uses)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die(path);
	tell("open", fd, 0, NULL);
	say(socket, 0, -1);
	hear(socket, NULL);
	if (uses)
		read_from(fd);
	say(socket, 0, -1);
}

static void open_fd(int socket, bool uses)
{
	struct target target = hear_target(socket);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", target.pid, target.fd);
	open_path(socket, path, uses);
}

static void open_early(int socket)
{
	open_fd(socket, true);
}

static void open_idle(int socket)
{
	open_fd(socket, false);
}

static void open_of_thread(int socket)
{
	struct target target = hear_target(socket);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%d", target.pid, target.pid, target.fd);
	open_path(socket, path, false);
}

static void open_map(int socket)
{
	struct target target = hear_target(socket);
	unsigned long from = (unsigned long)target.map;
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", target.pid, from, from + SIZE);
	open_path(socket, path, true);
}

static void get_early(int socket)
{
	struct target target = hear_target(socket);
	int fd = get_of(target.pid, target.fd);

	say(socket, 0, -1);
	hear(socket, NULL);
	say(socket, 0, -1);
	close(fd);
}

static void before_the_seal(void (*thief)(int socket))
{
	int socket = start("attacker", thief);

	make_file(0);
	map_file();
	point_to_ram(socket);
	hear(socket, NULL);
	seal_file();
	start_vm();
	say(socket, 0, -1);
	hear(socket, NULL);
	end_vm();
}

static void procfd_early(void)
{
	before_the_seal(open_early);
}

static void procfd_idle(void)
{
	before_the_seal(open_idle);
}

static void taskfd_idle(void)
{
	before_the_seal(open_of_thread);
}

static void mapfiles_early(void)
{
	before_the_seal(open_map);
}

static void getfd_early(void)
{
	before_the_seal(get_early);
}

static void get_and_read(int socket)
{
	struct target target = hear_target(socket);

	read_from(get_of(target.pid, target.fd));
	say(socket, 0, -1);
}

static void getfd(void)
{
	robbed_by(get_and_read);
}

/* ---- what processes share ------------------------------------------------------------------ */

static int read_shared_memory(void *unused)
{
	(void)unused;
	/* By the system call itself: glibc would ask the threads to follow. */
	if (syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY))
		die("setresuid");
	tell("load", -1, 0, (char *)ram.map + SECRET_AT);
	strcpy((char *)ram.map + WRITTEN_AT, "WRITTEN by attacker");
	return 0;
}

static int leave_after_reading(void *unused)
{
	read_shared_memory(unused);
	_exit(0);	/* and runs no program, as who calls vfork usually does */
}

static int read_shared_files(void *unused)
{
	(void)unused;
	read_from(ram.fd);
	write_to(ram.fd);
	return 0;
}

static void cloned(int flags, int (*act)(void *unused))
{
	const size_t size = 1 << 16;
	char *stack = malloc(size);
	pid_t pid;

	start_vm();
	if (madvise(ram.map, SIZE, MADV_DONTFORK))
		die("MADV_DONTFORK");
	role = "attacker";	/* of memory there is one; we say nothing while it lives */
	pid = clone(act, stack + size, flags | SIGCHLD, NULL);
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		die("clone");
	role = "vmm";
	end_vm();
}

static void clone_vm(void)
{
	cloned(CLONE_VM, read_shared_memory);
}

/* What it does by calls is seen, and is not the VMM's, though the address space is. */
static void clone_vm_calls(void)
{
	cloned(CLONE_VM, read_shared_files);
}

static void vfork_reads(void)
{
	cloned(CLONE_VM | CLONE_VFORK, leave_after_reading);
}

static void clone_files(void)
{
	cloned(CLONE_FILES, read_shared_files);
}

/* ---- ptrace -------------------------------------------------------------------------------- */

extern const char do_call[];
__asm__(".text\n.globl do_call\ndo_call:\n\tsyscall\n\tint3\n");
static char injected[] = "WRITTEN by attacker";	/* at the same address in both, by fork */

/* Where a tracer stops the VMM: in no system call that goes on afterwards. */
static volatile bool *released;

static void stand_still(void)
{
	while (!*released)
		sched_yield();
}

static void attach(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) || waitpid(pid, &status, 0) != pid)
		die("PTRACE_ATTACH");
	tell("attach", -1, 0, NULL);
}

static void detach(pid_t pid)
{
	*released = true;
	if (ptrace(PTRACE_DETACH, pid, NULL, NULL))
		die("PTRACE_DETACH");
}

static void make_it_write(int socket)
{
	struct target target = hear_target(socket);
	struct user_regs_struct before, regs;
	int status;

	attach(target.pid);
	if (ptrace(PTRACE_GETREGS, target.pid, NULL, &before))
		die("PTRACE_GETREGS");
	regs = before;
	regs.rip = (uint64_t)do_call;
	regs.rax = SYS_pwrite64;
	regs.orig_rax = -1;
	regs.rdi = target.fd;
	regs.rsi = (uint64_t)injected;
	regs.rdx = sizeof(injected);
	regs.r10 = WRITTEN_AT;
	if (ptrace(PTRACE_SETREGS, target.pid, NULL, &regs) ||
	    ptrace(PTRACE_CONT, target.pid, NULL, NULL) ||
	    waitpid(target.pid, &status, 0) != target.pid || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_GETREGS, target.pid, NULL, &regs) ||
	    ptrace(PTRACE_SETREGS, target.pid, NULL, &before))
		die("ptrace");
	tell("inject", -1, regs.rax, NULL);
	detach(target.pid);
}

static void only_attach(int socket)
{
	pid_t pid = hear_target(socket).pid;

	attach(pid);
	detach(pid);
}

static void seize(int socket)
{
	pid_t pid = hear_target(socket).pid;

	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL))
		die("PTRACE_SEIZE");
	tell("seize", -1, 0, NULL);
	*released = true;
}

static void traced_by(void (*tracer)(int socket))
{
	int socket;

	released = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	socket = start("attacker", tracer);
	start_vm();
	point_to_ram(socket);
	stand_still();
	end_vm();
}

static void ptrace_run(void)
{
	traced_by(make_it_write);
}

static void ptrace_attach(void)
{
	traced_by(only_attach);
}

static void ptrace_seize(void)
{
	traced_by(seize);
}

static volatile pid_t thread_id;

static void *stand_still_beside(void *unused)
{
	thread_id = gettid();
	stand_still();
	return unused;
}

static void ptrace_thread(void)
{
	pthread_t thread;
	int socket;

	released = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	socket = start("attacker", only_attach);
	start_vm();
	if (pthread_create(&thread, NULL, stand_still_beside, NULL))
		die("pthread_create");
	while (!thread_id)
		sched_yield();
	say(socket, thread_id, -1);
	say(socket, ram.fd, -1);
	say(socket, (uint64_t)ram.map, -1);
	pthread_join(thread, NULL);
	end_vm();
}

/* A backend that the VMM gave its memory to can be made to do as well what it may. */
static void stand_still_mapped(int socket)
{
	int fd = -1;

	hear(socket, &fd);
	map_of(fd);
	say(socket, getpid(), -1);
	stand_still();
}

static void ptrace_backend(void)
{
	int tracer, backend;

	released = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	tracer = start("attacker", only_attach);
	backend = start("backend", stand_still_mapped);
	start_vm();
	say(backend, 0, ram.fd);
	say(tracer, hear(backend, NULL), -1);
	say(tracer, ram.fd, -1);
	say(tracer, (uint64_t)ram.map, -1);
	end_vm();
}

/* The VMM asks for it, as under `strace VMM`. */
static void be_traced(int socket)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		die("PTRACE_TRACEME");
	start_vm();
	tell("end", -1, 0, NULL);
	say(socket, 0, -1);
}

static void ptrace_traceme(void)
{
	int socket = start("vmm", be_traced);

	hear(socket, NULL);
	role = "attacker";
	tell("traces", -1, 0, NULL);
	finish();
}

/* ---- process_madvise, process_vm_readv ----------------------------------------------------- */

static void advise(int socket)
{
	static const int ADVICE[] = { 20 /* COLD */, 21 /* PAGEOUT */, 3 /* WILLNEED */ };
	struct target target = hear_target(socket);
	struct iovec area = { target.map, SIZE };
	int handle = syscall(SYS_pidfd_open, target.pid, 0);

	for (size_t i = 0; i < sizeof(ADVICE) / sizeof(*ADVICE); i++)
		tell("process_madvise", -1, answer(syscall(SYS_process_madvise, handle, &area, 1,
							   ADVICE[i], 0)), NULL);
	say(socket, 0, -1);
}

static void madvise_other(void)
{
	robbed_by(advise);
}

static void read_remote_cold(int socket)
{
	struct target target = hear_target(socket);
	char text[64] = "";
	struct iovec local = { text, sizeof(text) - 1 };
	struct iovec remote = { target.map + SECRET_AT, sizeof(text) - 1 };
	long got = answer(process_vm_readv(target.pid, cold(&local, sizeof(local)), 1,
					   cold(&remote, sizeof(remote)), 1, 0));

	tell("process_vm_readv", -1, got, text);
	say(socket, 0, -1);
}

static void remote_cold(void)
{
	robbed_by(read_remote_cold);
}

/* ---- udmabuf: a file of devices over pages of the memfd ------------------------------------- */

static int dmabuf_over(int fd)
{
	struct udmabuf_create create = { .memfd = fd, .offset = 0, .size = SIZE };
	int device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), got;

	if (device < 0)
		absent("/dev/udmabuf");
	got = ioctl(device, UDMABUF_CREATE, &create);
	if (got < 0)
		die("UDMABUF_CREATE");
	tell("udmabuf", fd, 0, NULL);
	return got;
}

static void steal_by_udmabuf(int socket)
{
	struct target target = hear_target(socket);
	int fd = open_of(target.pid, target.fd), dmabuf = dmabuf_over(fd);

	close(fd);
	map_of(dmabuf);
	say(socket, 0, -1);
}

static void udmabuf_thief(void)
{
	if (access("/dev/udmabuf", F_OK))
		absent("/dev/udmabuf");
	robbed_by(steal_by_udmabuf);
}

static void map_given(int socket)
{
	int fd = -1;

	hear(socket, &fd);
	map_of(fd);
	say(socket, 0, -1);
}

static void udmabuf(void)
{
	int socket = start("attacker", map_given);

	start_vm();
	say(socket, 0, dmabuf_over(ram.fd));
	hear(socket, NULL);
	end_vm();
}

/* ---- a refused access before many granted ones --------------------------------------------- */

static sigjmp_buf no_page;

static void on_bus_error(int signal)
{
	siglongjmp(no_page, signal);
}

static void touch(volatile uint8_t *at)
{
	if (!sigsetjmp(no_page, 1))
		(void)*at;
}

static void touch_all(int fd)
{
	const int times = 20, pages = SIZE / PAGE;

	for (int i = 0; i < times; i++) {
		volatile uint8_t *map = mmap(NULL, SIZE + PAGE, PROT_READ, MAP_SHARED, fd, 0);

		if (map == MAP_FAILED)
			die("mmap");
		if (!i)
			touch(map + SIZE);	/* past the end */
		for (int page = 0; page < pages; page++)
			(void)map[page * PAGE];
		munmap((void *)map, SIZE + PAGE);
	}
	tell("granted", fd, times * pages, NULL);
	tell("refused", fd, 1, NULL);
}

static void touch_secret(int socket)
{
	struct target target = hear_target(socket);
	int fd = get_of(target.pid, target.fd);

	signal(SIGBUS, on_bus_error);
	touch_all(fd);
	say(socket, 0, -1);
}

static void one_bus_error(void)
{
	int socket = start("attacker", touch_secret);

	ram.fd = syscall(SYS_memfd_secret, 0);
	if (ram.fd < 0)
		absent("memfd_secret");
	if (ftruncate(ram.fd, SIZE))
		die("ftruncate");
	tell("create", -1, 0, NULL);
	map_file();
	for (uint64_t at = 0; at < SIZE; at += PAGE)
		ram.map[at] = 1;
	point_to_ram(socket);
	hear(socket, NULL);
	end_vm();
}

const struct attack WAYS[] = {
	{ "uffd-copy", uffd_copy, "answers page faults of the VMM by UFFDIO_COPY" },
	{ "uffd-zeropage", uffd_zeropage, "the same by UFFDIO_ZEROPAGE" },
	{ "uffd-continue", uffd_continue, "the same by UFFDIO_CONTINUE" },
	{ "uffd-poison", uffd_poison, "the same by UFFDIO_POISON" },
	{ "uffd-cold", uffd_cold, "registers and fills out of arguments that nobody has read yet" },
	{ "uffd-cold-vmm", uffd_cold_vmm, "the VMM registers out of such arguments" },
	{ "procfd-early", procfd_early, "opens /proc/PID/fd before the seal, reads after it" },
	{ "procfd-idle", procfd_idle, "opens it, and does no more" },
	{ "taskfd-idle", taskfd_idle, "opens /proc/PID/task/TID/fd, and does no more" },
	{ "mapfiles-early", mapfiles_early, "opens /proc/PID/map_files before, reads after" },
	{ "getfd-early", getfd_early, "gets the descriptor by pidfd_getfd before the seal" },
	{ "getfd", getfd, "gets the descriptor by pidfd_getfd, and reads" },
	{ "clone-vm", clone_vm, "shares the VMM's address space, as another user" },
	{ "clone-vm-calls", clone_vm_calls, "the same, and reads by a call" },
	{ "vfork-reads", vfork_reads, "a vfork child that reads, as another user, and runs no program" },
	{ "clone-files", clone_files, "shares the VMM's descriptors, and reads" },
	{ "ptrace-run", ptrace_run, "makes the VMM write" },
	{ "ptrace-attach", ptrace_attach, "attaches to the VMM and detaches" },
	{ "ptrace-seize", ptrace_seize, "attaches by PTRACE_SEIZE" },
	{ "ptrace-thread", ptrace_thread, "attaches to another thread of the VMM" },
	{ "ptrace-backend", ptrace_backend, "attaches to a backend that the VMM gave the memfd to" },
	{ "ptrace-traceme", ptrace_traceme, "the VMM asks to be traced" },
	{ "madvise", madvise_other, "process_madvise of the VMM's memory" },
	{ "remote-cold", remote_cold, "process_vm_readv out of vectors that nobody has read yet" },
	{ "udmabuf", udmabuf, "maps a dma-buf that the VMM made of its memory" },
	{ "udmabuf-thief", udmabuf_thief, "makes a dma-buf of the VMM's memory and maps it" },
	{ "one-bus-error", one_bus_error, "a refused page before many granted ones" },
	{ 0 },
};
