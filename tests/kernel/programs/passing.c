/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * One process, A, gives memory files to others by SCM_RIGHTS, in every way that
 * a message is sent and received: passing READY GO. One message is sent before
 * READY is made; all else is done when GO is there. Each file has a name of its
 * own. Prints who sent and who received what, one JSON object a line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 253

static char control[CMSG_SPACE(MOST * sizeof(int))];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int memfd(const char *name)
{
	int fd = memfd_create(name, MFD_ALLOW_SEALING);

	if (fd < 0)
		fail("memfd_create");
	return fd;
}

/* How often somebody sent, or received, a file of that name. */
static void tell(const char *act, const char *name, int times)
{
	printf("{\"act\": \"%s\", \"pid\": %d, \"name\": \"%s\", \"times\": %d}\n", act, getpid(),
	       name, times);
	fflush(stdout);
}

static struct msghdr *message(int count, const int *fds)
{
	static char byte;
	static struct iovec part = { &byte, 1 };
	static struct msghdr m;
	struct cmsghdr *c;

	memset(&m, 0, sizeof(m));
	m.msg_iov = &part;
	m.msg_iovlen = 1;
	m.msg_control = control;
	m.msg_controllen = CMSG_SPACE(count * sizeof(int));
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(count * sizeof(int));
	if (fds)
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	return &m;
}

static void send_one(int to, const char *name)
{
	int fd = memfd(name);

	if (sendmsg(to, message(1, &fd), 0) != 1)
		fail("sendmsg");
	close(fd);
	tell("send", name, 1);
}

/* The descriptors of a message that has come; they are closed but for the first. */
static int received(struct msghdr *m, const char *name)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	int fds[MOST], count;
	char link[64], path[64];
	ssize_t length;
	int ours = 0;

	if (!c)
		fail("no descriptors came");
	count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(c), count * sizeof(int));
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[i]);
		length = readlink(path, link, sizeof(link) - 1);
		link[length < 0 ? 0 : length] = 0;
		ours += !strncmp(link, "/memfd:", 7) && !strncmp(link + 7, name, strlen(name));
		if (i)
			close(fds[i]);
	}
	tell("receive", name, ours);
	return fds[0];
}

static int take(int from, int flags, const char *name)
{
	struct msghdr *m = message(MOST, NULL);

	if (recvmsg(from, m, flags) != 1)
		fail("recvmsg");
	return received(m, name);
}

/* One request by an io_uring of its own; flags: IOSQE_ASYNC leaves it to a worker. */
static void by_ring(int opcode, int fd, struct msghdr *m, int flags)
{
	struct io_uring_params p = {};
	int ring = syscall(SYS_io_uring_setup, 2, &p), result;
	struct io_uring_sqe *request;
	char *sq, *cq;

	if (ring < 0)
		fail("io_uring_setup");
	sq = mmap(0, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		  IORING_OFF_SQ_RING);
	cq = mmap(0, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe),
		  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
	request = mmap(0, p.sq_entries * sizeof(*request), PROT_READ | PROT_WRITE, MAP_SHARED,
		       ring, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || request == MAP_FAILED)
		fail("mmap of an io_uring");
	*request = (struct io_uring_sqe){ .opcode = opcode, .fd = fd, .addr = (uintptr_t)m,
					  .len = 1, .flags = flags };
	*(unsigned *)(sq + p.sq_off.array) = 0;
	__atomic_store_n((unsigned *)(sq + p.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		fail("io_uring_enter");
	result = ((struct io_uring_cqe *)(cq + p.cq_off.cqes))->res;
	if (result != 1) {
		errno = -result;
		fail("a message by io_uring");
	}
	close(ring);
}

static void send_by_ring(int to, const char *name, int flags)
{
	int fd = memfd(name);

	by_ring(IORING_OP_SENDMSG, to, message(1, &fd), flags);
	close(fd);
	tell("send", name, 1);
}

/* As many as a message can have, every tenth of them no memory file. */
static void send_many(const struct sockaddr_un *to)
{
	int s = socket(AF_UNIX, SOCK_DGRAM, 0), fds[MOST], memory = 0;
	struct msghdr *m;

	for (int i = 0; i < MOST; i++) {
		fds[i] = i % 10 == 9 ? dup(0) : memfd("many");
		memory += i % 10 != 9;
	}
	m = message(MOST, fds);
	m->msg_name = (void *)to;
	m->msg_namelen = sizeof(*to);
	if (sendmsg(s, m, 0) != 1)
		fail("sendmsg of many");
	tell("send", "many", memory);
	for (int i = 0; i < MOST; i++)
		close(fds[i]);
	close(s);
}

/* Nobody receives the one, and nobody can be sent the other. */
static void send_in_vain(void)
{
	int pair[2], fd = memfd("refused");

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	send_one(pair[0], "never");
	close(pair[0]);
	close(pair[1]);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	close(pair[1]);
	if (sendmsg(pair[0], message(1, &fd), MSG_NOSIGNAL) >= 0 || errno != EPIPE)
		fail("a message that is refused");
	tell("refused", "refused", 1);
	close(pair[0]);
	close(fd);
}

static void receiver(int from, int datagrams)
{
	struct msghdr *m;
	int fd;

	take(from, 0, "early");
	fd = take(from, 0, "alone");
	/* Back to where it came from: now this process gives it. */
	if (sendmsg(from, message(1, &fd), 0) != 1)
		fail("sendmsg back");
	tell("send", "alone", 1);
	take(from, MSG_PEEK, "peeked");
	take(from, 0, "peeked");
	take(from, 0, "ring");
	take(from, 0, "worker");
	m = message(MOST, NULL);
	by_ring(IORING_OP_RECVMSG, from, m, 0);
	received(m, "to-ring");
	take(datagrams, 0, "many");
}

int main(int argc, char **argv)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0sealsnoop-passing" };
	int pair[2], datagrams, status;
	pid_t child;

	if (argc != 3)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	datagrams = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (bind(datagrams, (void *)&name, sizeof(name)))
		fail("bind");
	send_one(pair[1], "early");
	close(open(argv[1], O_CREAT | O_WRONLY, 0600));
	while (access(argv[2], F_OK))
		usleep(20000);
	child = fork();
	if (!child) {
		close(pair[1]);
		receiver(pair[0], datagrams);
		return 0;
	}
	send_many(&name);
	close(pair[0]);
	send_one(pair[1], "alone");
	take(pair[1], 0, "alone");
	send_one(pair[1], "peeked");
	send_by_ring(pair[1], "ring", 0);
	send_by_ring(pair[1], "worker", IOSQE_ASYNC);
	send_one(pair[1], "to-ring");
	send_in_vain();
	waitpid(child, &status, 0);
	tell("end", "", WIFEXITED(status) && !WEXITSTATUS(status));
	return 0;
}
