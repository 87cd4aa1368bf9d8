/* SPDX-License-Identifier: Apache-2.0 */
#include "victim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/kvm.h>

#include "shared.h"

#ifndef MFD_ALLOW_SEALING
#define MFD_CLOEXEC 0x1U
#define MFD_ALLOW_SEALING 0x2U
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#define SYS_pidfd_getfd 438
#endif
enum { SEAL_SEAL = 0x01, SEAL_SHRINK = 0x02, SEAL_GROW = 0x04 };

struct ram ram = { .name = "guest-ram", .fd = -1, .vm = -1 };
const char *role = "vmm";

/* ---- lines ----------------------------------------------------------------------------- */

void die(const char *what)
{
	fprintf(stderr, "attacks: %s: %s: %s\n", role, what, strerror(errno));
	exit(1);
}

long answer(long result)
{
	return result < 0 ? -errno : result;
}

static void line(const char *act, const struct stat *st, long answer, const char *got)
{
	struct timespec now;
	char text[80] = "", printed[600];
	size_t i;

	/* Only letters and the like: the memory may hold anything. */
	for (i = 0; got && got[i] && i < sizeof(text) - 1; i++)
		text[i] = got[i] >= ' ' && got[i] <= '~' && got[i] != '"' && got[i] != '\\' ?
			  got[i] : '?';
	clock_gettime(CLOCK_BOOTTIME, &now);
	snprintf(printed, sizeof(printed),
		 "{\"who\": \"%s\", \"act\": \"%s\", \"time_ns\": %lld, \"pid\": %d, \"uid\": %d, "
		 "\"dev\": %lu, \"ino\": %lu, \"answer\": %ld, \"got\": \"%s\"}\n", role, act,
		 now.tv_sec * 1000000000LL + now.tv_nsec, getpid(), getuid(),
		 (unsigned long)major(st->st_dev) << 20 | minor(st->st_dev),
		 (unsigned long)st->st_ino, answer, text);
	/* One write: several processes tell into one file. */
	if (write(STDOUT_FILENO, printed, strlen(printed)) < 0)
		exit(1);
}

void tell(const char *act, int fd, long answer, const char *got)
{
	struct stat st = { 0 };

	if (fd < 0)
		fd = ram.fd;
	if (fd >= 0 && fstat(fd, &st))
		die("fstat");
	line(act, &st, answer, got);
}

void absent(const char *what)
{
	tell("absent", -1, -errno, what);
	exit(0);
}

/* ---- processes ------------------------------------------------------------------------- */

int start(const char *name, void (*act)(int socket))
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, 9);
		close(pair[0]);
		role = name;
		act(pair[1]);
		_exit(0);
	}
	close(pair[1]);
	return pair[0];
}

void say(int socket, uint64_t word, int fd)
{
	if (send_with(socket, &word, sizeof(word), fd) != sizeof(word))
		die("sendmsg");
}

uint64_t hear(int socket, int *fd)
{
	union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
	uint64_t word = 0;
	struct iovec io = { &word, sizeof(word) };
	struct msghdr message = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *c;

	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != sizeof(word))
		die("the other process");
	c = CMSG_FIRSTHDR(&message);
	if (fd && c && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return word;
}

void finish(void)
{
	int status;
	pid_t pid;

	while ((pid = wait(&status)) > 0 || errno == EINTR)
		if (pid > 0 && status) {
			fprintf(stderr, "attacks: process %d ended with %#x\n", pid, status);
			exit(1);
		}
}

int open_of(pid_t pid, int fd)
{
	char path[64];
	int got;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	got = open(path, O_RDWR | O_CLOEXEC);
	if (got < 0)
		die(path);
	tell("open", got, 0, NULL);
	return got;
}

int get_of(pid_t pid, int fd)
{
	int handle = syscall(SYS_pidfd_open, pid, 0);
	int got = handle < 0 ? -1 : syscall(SYS_pidfd_getfd, handle, fd, 0);

	if (got < 0)
		die("pidfd_getfd");
	tell("getfd", got, 0, NULL);
	return got;
}

/* ---- the VMM --------------------------------------------------------------------------- */

void make_file(unsigned int more_flags)
{
	char text[80];

	ram.fd = memfd_create(ram.name, (MFD_CLOEXEC | MFD_ALLOW_SEALING) ^ more_flags);
	if (ram.fd < 0 || ftruncate(ram.fd, SIZE))
		die("memfd_create");
	snprintf(text, sizeof(text), "SECRET of %s", ram.name);
	if (pwrite(ram.fd, text, strlen(text), SECRET_AT) < 0)
		die("pwrite");
	tell("create", -1, 0, text);
}

void seal_file(void)
{
	if (fcntl(ram.fd, F_ADD_SEALS, SEAL_SHRINK | SEAL_GROW | SEAL_SEAL))
		die("F_ADD_SEALS");
	tell("seal", -1, 0, NULL);
}

void map_file(void)
{
	ram.map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ram.fd, 0);
	if (ram.map == MAP_FAILED)
		die("mmap");
}

int make_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);

	if (vm < 0)
		die("/dev/kvm");
	close(kvm);
	return vm;
}

long set_slot(int vm, unsigned int slot, uint64_t at, void *map, size_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot, .guest_phys_addr = at, .memory_size = size,
		.userspace_addr = (uint64_t)map,
	};

	return answer(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
}

void start_vm(void)
{
	if (ram.fd < 0) {
		make_file(0);
		seal_file();
	}
	if (!ram.map)
		map_file();
	if (ram.vm < 0)
		ram.vm = make_vm();
	tell("memslot", -1, set_slot(ram.vm, 1, 0x10000, ram.map, SIZE), NULL);
}

void end_vm(void)
{
	finish();
	tell("end", -1, 0, ram.map ? (char *)ram.map + WRITTEN_AT : NULL);
}

void point_to_ram(int socket)
{
	say(socket, getpid(), -1);
	say(socket, ram.fd, -1);
	say(socket, (uint64_t)ram.map, -1);
}

struct target hear_target(int socket)
{
	struct target target;

	target.pid = hear(socket, NULL);
	target.fd = hear(socket, NULL);
	target.map = (uint8_t *)hear(socket, NULL);
	return target;
}

void robbed_by(void (*thief)(int socket))
{
	int socket = start("attacker", thief);

	start_vm();
	point_to_ram(socket);
	hear(socket, NULL);
	end_vm();
}

/* ---- what thieves do --------------------------------------------------------------------- */

void read_from(int fd)
{
	char text[80] = "";
	long got = answer(pread(fd, text, sizeof(text) - 1, SECRET_AT));

	tell("read", fd, got, text);
}

void write_to(int fd)
{
	char text[80];
	long got;

	snprintf(text, sizeof(text), "WRITTEN by %s", role);
	got = answer(pwrite(fd, text, strlen(text) + 1, WRITTEN_AT));
	tell("write", fd, got, NULL);
}

uint8_t *map_of(int fd)
{
	uint8_t *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED) {
		tell("map", fd, -errno, NULL);
		return NULL;
	}
	tell("map", fd, 0, (char *)map + SECRET_AT);
	snprintf((char *)map + WRITTEN_AT, 80, "WRITTEN by %s", role);
	return map;
}

/* The page is in the page cache, but a fault is needed to get at it, which a BPF program may not
   take. */
void *cold(const void *what, size_t size)
{
	char path[] = "/tmp/cold-XXXXXX";
	int fd = mkstemp(path);
	void *map;

	if (fd < 0 || write(fd, what, size) != (ssize_t)size || ftruncate(fd, PAGE))
		die(path);
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		die("mmap");
	unlink(path);
	close(fd);
	return map;
}
