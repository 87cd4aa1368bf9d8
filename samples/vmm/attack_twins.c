/* SPDX-License-Identifier: Apache-2.0 */
/* Well-behaved programs that do what thieves do too, each where it may: audits must pass. */
#include "victim.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>

extern char **environ;

static void plain(void)
{
	start_vm();
	read_from(ram.fd);
	write_to(ram.fd);
	end_vm();
}

/* A backend as those of vhost-user are, to which the VMM gives the memory when it wants to. */
static void be_backend(int socket)
{
	int fd = -1;

	prctl(PR_SET_NAME, "virtiofsd");
	hear(socket, &fd);
	map_of(fd);
	say(socket, 0, -1);
}

static void given(void)
{
	int socket = start("backend", be_backend);

	start_vm();
	say(socket, 0, ram.fd);
	hear(socket, NULL);
	end_vm();
}

/* QEMU connects to its backends before the machine runs. */
static void given_early(void)
{
	int socket = start("backend", be_backend);

	make_file(0);
	seal_file();
	map_file();
	say(socket, 0, ram.fd);
	hear(socket, NULL);
	start_vm();
	end_vm();
}

/* Somebody makes the memory and gives it to the VMM. */
static void be_vmm(int socket)
{
	hear(socket, &ram.fd);
	start_vm();
	read_from(ram.fd);
	tell("end", -1, 0, NULL);
	say(socket, 0, -1);
}

static void by_manager(void)
{
	int socket = start("vmm", be_vmm);

	role = "manager";
	make_file(0);
	seal_file();
	say(socket, 0, ram.fd);
	hear(socket, NULL);
	finish();
}

/* Helpers of a VMM: fork and exec, and posix_spawn, which shares the memory until its exec. */
static void spawn(void)
{
	char *words[] = { "true", NULL };
	pid_t pid;

	start_vm();
	if (madvise(ram.map, SIZE, MADV_DONTFORK))
		die("MADV_DONTFORK");
	if (posix_spawnp(&pid, "true", NULL, NULL, words, environ))
		die("posix_spawn");
	finish();
	if (!fork())
		exec_self("nothing", -1);
	end_vm();
}

static void *call_slot(void *unused)
{
	tell("memslot", -1, set_slot(ram.vm, 1, 0x10000, ram.map, SIZE), NULL);
	return unused;
}

static void threads(void)
{
	pthread_t thread;

	make_file(0);
	seal_file();
	map_file();
	ram.vm = make_vm();
	pthread_create(&thread, NULL, call_slot, NULL);
	pthread_join(thread, NULL);
	read_from(ram.fd);
	end_vm();
}

static void slot_cold(void)
{
	struct kvm_userspace_memory_region region = { .slot = 1, .guest_phys_addr = 0x10000,
						      .memory_size = SIZE };

	make_file(0);
	seal_file();
	map_file();
	ram.vm = make_vm();
	region.userspace_addr = (uint64_t)ram.map;
	tell("memslot", -1,
	     answer(ioctl(ram.vm, KVM_SET_USER_MEMORY_REGION, cold(&region, sizeof(region)))),
	     NULL);
	end_vm();
}

/* As after a migration: faults of the VMM that a thread of its own answers. */
static int uffd;

static void *answer_fault(void *page)
{
	struct uffdio_copy copy = { .dst = (uint64_t)ram.map + HOLE_AT, .src = (uint64_t)page,
				    .len = PAGE };

	tell("fill", -1, answer(ioctl(uffd, UFFDIO_COPY, &copy)), NULL);
	return NULL;
}

static void uffd_over(void *map, size_t size)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register area = { .range = { (uint64_t)map, size },
					.mode = UFFDIO_REGISTER_MODE_MISSING };

	uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &area))
		die("userfaultfd");
}

static void *anonymous(size_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		die("mmap");
	return map;
}

static void uffd_own(void)
{
	char *page = anonymous(PAGE);
	pthread_t thread;

	start_vm();
	strcpy(page, "WRITTEN by vmm");
	uffd_over(ram.map + HOLE_AT, PAGE);
	pthread_create(&thread, NULL, answer_fault, page);
	pthread_join(thread, NULL);
	tell("sees", -1, 0, (char *)ram.map + HOLE_AT);
	end_vm();
}

/* As `ps` and the like look at a VMM that is killed meanwhile: whoever looks last takes its memory
   apart. */
static void watch(int socket)
{
	char path[64], text[8192];

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)hear(socket, NULL));
	say(socket, 0, -1);
	for (;;) {
		int fd = open(path, O_RDONLY);

		if (fd < 0 || read(fd, text, sizeof(text)) <= 0)
			break;
		while (read(fd, text, sizeof(text)) > 0)
			;
		close(fd);
	}
}

static void be_killed(int socket)
{
	start_vm();
	tell("end", -1, 0, NULL);
	say(socket, getpid(), -1);
	pause();
}

static void watched(void)
{
	int status;

	for (int i = 0; i < 4; i++) {
		int watcher = start("watcher", watch), vmm = start("vmm", be_killed);
		pid_t pid = hear(vmm, NULL);

		say(watcher, pid, -1);
		hear(watcher, NULL);
		usleep(20000);
		kill(pid, SIGKILL);
		while (wait(&status) > 0)
			;
		close(watcher);
		close(vmm);
	}
}

/* ---- others on the host, who have nothing to do with a guest -------------------------------- */

static void wait_for_tracer(int socket)
{
	hear(socket, NULL);
}

static void debugger(void)
{
	int socket = start("traced", wait_for_tracer), status;
	pid_t pid;

	role = "bystander";
	say(socket, 0, -1);
	finish();
	pid = fork();
	if (!pid) {
		pause();
		_exit(0);
	}
	if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) || waitpid(pid, &status, 0) != pid)
		die("PTRACE_ATTACH");
	ptrace(PTRACE_PEEKDATA, pid, &ram, NULL);
	tell("attach", -1, 0, NULL);
	ptrace(PTRACE_KILL, pid, NULL, NULL);
	waitpid(pid, &status, 0);
}

static void uffd_elsewhere(void)
{
	char *map = anonymous(SIZE), *page = anonymous(PAGE);

	role = "bystander";
	uffd_over(map + HOLE_AT, PAGE);
	ram.map = (uint8_t *)map;
	answer_fault(page);
}

static void forks(void)
{
	role = "bystander";
	for (int i = 0; i < 100; i++) {
		if (!fork()) {
			if (i % 10)
				_exit(0);
			exec_self("nothing", -1);
		}
		finish();
	}
	tell("forks", -1, 100, NULL);
}

const struct attack TWINS[] = {
	{ "plain", plain, "a VMM that reads and writes its guest's memory" },
	{ "given", given, "a backend, called virtiofsd, that the VMM gave the memfd to" },
	{ "given-early", given_early, "the same before the memslot" },
	{ "by-manager", by_manager, "a VMM that was given its memory by who made it" },
	{ "spawn", spawn, "a VMM that starts helpers" },
	{ "threads", threads, "a VMM whose memslot another thread sets" },
	{ "slot-cold", slot_cold, "a memslot out of arguments that nobody has read yet" },
	{ "uffd-own", uffd_own, "a VMM that answers its page faults itself" },
	{ "watched", watched, "VMMs that are killed while another process reads their smaps" },
	{ "debugger", debugger, "ptrace of a process that has nothing to do with guests" },
	{ "uffd-elsewhere", uffd_elsewhere, "userfaultfd over memory of a process's own" },
	{ "forks", forks, "processes that come and go" },
	{ 0 },
};
