/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A workload with ground truth: system calls on memory files, each written down with what the
 * call itself returned. A recording of this process can be compared with that, call by call
 * (tests/kernel/ground_truth.py). samples/README.md describes the switches and the format.
 *
 * Rules of this file:
 *  - every call that could make an event goes through CALL() or REFUSED(), set-up included;
 *  - nothing else touches a memory file: the log lives in the heap and is written at the end;
 *  - one call is one decision: no sendfile of more than a page, no madvise over two mappings;
 *  - no shared anonymous memory, which the kernel backs with a file of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* Older headers lack some of these; the values are kernel ABI. */
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_GET_SEALS 1034
#endif
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 0x1U
#define MFD_ALLOW_SEALING 0x2U
#endif
#ifndef MFD_HUGETLB
#define MFD_HUGETLB 0x4U
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x8U
#define MFD_EXEC 0x10U
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_REMOVE
#define MADV_REMOVE 9
#endif
enum { SEAL = 0x01, SHRINK = 0x02, GROW = 0x04, WRITE = 0x08, FUTURE_WRITE = 0x10, EXEC = 0x20 };
enum { KEEP_SIZE = 0x01, PUNCH_HOLE = 0x02, ZERO_RANGE = 0x10 };

enum {
	PAGE = 4096,
	UNITS = 16,			/* a fresh file's size, in pages (or huge pages) */
	BIG_WRITE = 3 << 20,		/* crosses a 2 MiB write chunk */
	NO_SUCH_FD = 1000000,
};

struct seal_set {
	const char *name;
	unsigned int seals;
	bool unsealable;		/* made without MFD_ALLOW_SEALING */
	bool quick;			/* part of --quick */
};

static const struct seal_set sets[] = {
	{ .name = "none", .quick = true },
	{ .name = "shrink", .seals = SHRINK },
	{ .name = "grow", .seals = GROW },
	{ .name = "write", .seals = WRITE },
	{ .name = "future_write", .seals = FUTURE_WRITE, .quick = true },
	{ .name = "shrink_grow", .seals = SHRINK | GROW },
	{ .name = "all_four", .seals = SHRINK | GROW | WRITE | FUTURE_WRITE, .quick = true },
	{ .name = "seal", .seals = SEAL },
	{ .name = "exec", .seals = EXEC },
	{ .name = "unsealable", .unsealable = true },
};
enum { SETS = sizeof(sets) / sizeof(sets[0]) };
static const struct seal_set no_set = { .name = "-" };

/* A memory file under test, or one that must not show up (tmpfs, pipe). */
struct object {
	int fd;				/* O_RDWR */
	const char *kind;		/* "memfd", "hugetlb", "tmpfs", "pipe" */
	char name[264];			/* without the kernel's "memfd:" */
	long long unit;			/* smallest size step: a page or a huge page */
	uint64_t ino;
	uint32_t dev, gen;
	bool gen_known;
};

struct call {
	const char *op, *call, *variant, *set, *kind, *refused;
	bool setup;
	int worker, pid, tid, fd;
	char *name;
	uint64_t ino;
	uint32_t dev, gen;
	bool gen_known;
	unsigned int seals, seals_after;
	long long size, size_after, offset, length;
	uint64_t arg;
	long answer, returned;
	int error;
};

struct mapping {
	const char *cause, *kind;
	int worker, pid, tid;
	char *name;
	uint64_t ino, address;
	uint32_t dev, gen;
	bool gen_known, shared, writable, reinserted;
	unsigned int seals, seals_after;
	long long length, offset;
	int began, ended;		/* steps, counted per worker */
};

/* One thread of work and its log. */
struct worker {
	int index;
	int pid, tid;
	struct call *calls;
	size_t n_calls, room_calls;
	struct mapping *mappings;
	size_t n_mappings, room_mappings;
	int step;
	unsigned int files;		/* names the next file */
	const char *variant;
	const struct seal_set *set;
	int op_index;
	bool setup;
	int exe;			/* source of sendfile: no memory file */
	char *text;			/* the log as JSON lines, when done */
	size_t text_size;
};

static struct {
	const char *out, *only, *tmpfs;
	bool quick, hugetlb, fork, threads, list;
	int repeat;
} options = { .repeat = 1 };

static __thread struct worker *w;
static char data[BIG_WRITE];		/* what writes write; never changed */
static __thread char sink[8 * PAGE];	/* where reads read to */

static void die(const char *what)
{
	fprintf(stderr, "workload: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *grow(void *array, size_t used, size_t *room, size_t item)
{
	if (used < *room)
		return array;
	*room = *room ? *room * 2 : 1024;
	array = realloc(array, *room * item);
	if (!array)
		die("realloc");
	return array;
}

/* ---- the log ------------------------------------------------------------------------------ */

static unsigned int seals_of(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals < 0 ? 0 : (unsigned int)seals;	/* EINVAL: no memory file */
}

static long long size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : (long long)st.st_size;
}

static unsigned int mode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : st.st_mode & 07777;
}

static struct call *last(void)
{
	return &w->calls[w->n_calls - 1];
}

static void put_object(struct call *c, const struct object *o)
{
	c->kind = o->kind;
	c->name = strdup(o->name);
	c->ino = o->ino;
	c->dev = o->dev;
	c->gen = o->gen;
	c->gen_known = o->gen_known;
}

/* Opens the log entry of one call: who, on what, in which state. */
static void begin(const char *refused, const char *op, const char *call, const struct object *o,
		  int fd, long long offset, long long length, uint64_t arg)
{
	struct call *c;

	w->calls = grow(w->calls, w->n_calls, &w->room_calls, sizeof(*w->calls));
	c = &w->calls[w->n_calls++];
	*c = (struct call){
		.op = op, .call = call, .variant = w->variant, .set = w->set->name,
		.setup = w->setup, .refused = refused, .kind = "none",
		.worker = w->index, .pid = w->pid, .tid = w->tid, .fd = fd,
		.offset = offset, .length = length, .arg = arg,
	};
	if (o) {
		put_object(c, o);
		c->seals = seals_of(o->fd);
		c->size = size_of(o->fd);
	}
	errno = 0;
}

/* Closes it with what the call gave back. */
static long finish(const struct object *o, long returned)
{
	struct call *c = last();

	c->error = returned < 0 ? errno : 0;
	c->returned = returned;
	c->answer = returned < 0 ? -c->error : returned;
	if (o) {
		c->seals_after = seals_of(o->fd);
		c->size_after = size_of(o->fd);
	}
	errno = c->error;
	return returned;
}

#define CALL(op, call, o, fd, offset, length, arg, expression) \
	(begin(NULL, op, call, o, fd, offset, length, arg), finish(o, (long)(expression)))
/* A call that the kernel refuses, or has nothing to do for, before a hooked function is entered. */
#define REFUSED(why, op, call, o, fd, offset, length, arg, expression) \
	(begin(why, op, call, o, fd, offset, length, arg), finish(o, (long)(expression)))

static const char early_fd[] = "the VFS refuses the file descriptor's access mode";
static const char early_argument[] = "the system call refuses its argument";
static const char early_nothing[] = "nothing to transfer: the file is not asked";
static const char early_bad_fd[] = "no such file descriptor";
static const char early_vma[] = "madvise refuses the mapping before the file is asked";
static const char early_nothing_mapped[] = "no memory file is mapped there";
static const char early_no_method[] = "the file has no such method";

/* How often the next variant is done: a prime that depends on operation and seal set. */
static int times(const char *variant)
{
	static const int primes[] = { 2, 3, 5, 7 };
	int n = options.quick ? 2 : primes[(size_t)(w->op_index + (w->set - sets)) % 4];

	if (w->set == &no_set)
		n = options.quick ? 3 : 11;
	w->variant = variant;
	return n;
}

static bool begin_variant(const char *op, const char *variant, int *left)
{
	*left = times(variant);
	if (options.list) {
		printf("%s %s %s %d\n", op, w->set->name, variant, *left * options.repeat);
		*left = 0;
	}
	return true;
}

#define VARIANT(op, name) \
	for (int left_, once_ = begin_variant(op, name, &left_); once_ && left_ > 0; left_--)

/* ---- objects ------------------------------------------------------------------------------ */

/* The inode generation is visible to user space only inside the kernel's file handle. */
static void find_generation(struct object *o)
{
	union {
		struct file_handle head;
		char room[sizeof(struct file_handle) + 128];
	} handle = { .head.handle_bytes = 128 };
	uint32_t word[3];
	int mount;

	if (name_to_handle_at(o->fd, "", &handle.head, &mount, AT_EMPTY_PATH) < 0)
		return;
	if (handle.head.handle_bytes < sizeof(word))
		return;
	memcpy(word, handle.head.f_handle, sizeof(word));
	if (word[1] != (uint32_t)o->ino || word[2] != o->ino >> 32)
		return;			/* not tmpfs's form: generation, inode number */
	o->gen = word[0];
	o->gen_known = true;
}

static void identify(struct object *o)
{
	struct stat st;

	if (fstat(o->fd, &st) < 0)
		die("fstat");
	o->ino = st.st_ino;
	o->dev = major(st.st_dev) << 20 | minor(st.st_dev);	/* the kernel's own dev_t */
	o->unit = strcmp(o->kind, "hugetlb") ? PAGE : (long long)st.st_blksize;
	find_generation(o);
}

static int create(struct object *o, const char *name, unsigned int flags)
{
	CALL("create", "memfd_create", NULL, -1, 0, 0, flags,
	     o->fd = (int)syscall(SYS_memfd_create, name, flags));
	if (o->fd < 0)
		return -1;
	o->kind = flags & MFD_HUGETLB ? "hugetlb" : "memfd";
	snprintf(o->name, sizeof(o->name), "%s", name);
	identify(o);
	put_object(last(), o);
	last()->seals_after = seals_of(o->fd);
	last()->size_after = size_of(o->fd);
	return 0;
}

static long add_seals(const struct object *o, int fd, unsigned int seals)
{
	return CALL("add_seals", "fcntl", o, fd, 0, 0, seals, fcntl(fd, F_ADD_SEALS, seals));
}

static long resize(const struct object *o, long long size)
{
	return CALL("truncate", "ftruncate", o, o->fd, 0, size, 0, ftruncate(o->fd, size));
}

/* A fresh file with content, not yet sealed. Set-up, so not one of the counted calls. */
static bool make(struct object *o, const char *op, bool huge)
{
	unsigned int flags = MFD_CLOEXEC | (w->set->unsealable ? 0 : MFD_ALLOW_SEALING);
	char name[96];

	*o = (struct object){ .fd = -1 };
	w->setup = true;
	w->variant = "setup";
	snprintf(name, sizeof(name), "w%d-%s-%s-%u", w->index, op, w->set->name, w->files++);
	if (create(o, name, flags | (huge ? MFD_HUGETLB : 0)) < 0) {
		w->setup = false;
		return false;
	}
	resize(o, UNITS * o->unit);
	if (!huge)
		CALL("write", "pwrite64", o, o->fd, 0, PAGE, 0, pwrite(o->fd, data, PAGE, 0));
	w->setup = false;
	return true;
}

/* Adds the set's seals; false where this kernel does not know them. */
static bool seal(const struct object *o)
{
	long answer = 0;
	unsigned int mode;

	if (!w->set->seals)
		return true;
	w->setup = true;
	w->variant = "setup";
	if (w->set->seals & EXEC) {	/* on an executable file it would imply WRITE */
		mode = mode_of(o->fd) & ~0111U;
		CALL("chmod", "fchmod", o, o->fd, 0, 0, mode, fchmod(o->fd, mode));
	}
	answer = add_seals(o, o->fd, w->set->seals);
	w->setup = false;
	return answer == 0;
}

static void drop(struct object *o)
{
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
}

static const char *path_of(int fd)
{
	static __thread char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

/* Another description of the same file. No event: opening without O_TRUNC decides nothing. */
static int reopen(const struct object *o, int how)
{
	int fd = open(path_of(o->fd), how | O_CLOEXEC);

	if (fd < 0)
		die("reopen through /proc/self/fd");
	return fd;
}

/* Undo what a variant did to the size, where the seals let us. */
static void restore(const struct object *o)
{
	const char *variant = w->variant;

	if (size_of(o->fd) == UNITS * o->unit)
		return;
	w->setup = true;
	w->variant = "restore";
	resize(o, UNITS * o->unit);
	w->variant = variant;
	w->setup = false;
}

/* ---- mappings ----------------------------------------------------------------------------- */

static size_t map_began(const struct object *o, const char *cause, uint64_t address,
			long long length, long long offset, bool shared, bool writable)
{
	w->mappings = grow(w->mappings, w->n_mappings, &w->room_mappings, sizeof(*w->mappings));
	w->mappings[w->n_mappings] = (struct mapping){
		.cause = cause, .kind = o->kind,
		.worker = w->index, .pid = w->pid, .tid = w->tid,
		.name = strdup(o->name), .ino = o->ino, .dev = o->dev, .gen = o->gen,
		.gen_known = o->gen_known, .address = address,
		.length = (length + PAGE - 1) / PAGE * PAGE, .offset = offset,
		.shared = shared, .writable = writable,
		.seals = seals_of(o->fd), .began = w->step++, .ended = -1,
	};
	return w->n_mappings++;
}

static void map_ended(const struct object *o, size_t index)
{
	w->mappings[index].seals_after = seals_of(o->fd);
	w->mappings[index].ended = w->step++;
}

static void unmap(const struct object *o, size_t index)
{
	const struct mapping *m = &w->mappings[index];

	munmap((void *)(uintptr_t)m->address, (size_t)m->length);
	map_ended(o, index);
}

static long map(const struct object *o, int fd, uint64_t address, long long length, int prot,
		int flags, long long offset, const char *refused)
{
	begin(refused, "mmap", "mmap", o, fd, offset, length,
	      (uint64_t)prot | (uint64_t)(unsigned int)flags << 32);
	/* the system call itself: the C library refuses some arguments on its own */
	return finish(o, syscall(SYS_mmap, address, length, prot, flags, fd, offset));
}

/* Maps and unmaps at once. */
static void map_once(const struct object *o, int fd, long long length, int prot, int flags,
		     long long offset)
{
	long address = map(o, fd, 0, length, prot, flags, offset, NULL);
	size_t index;

	if (address == -1)
		return;
	index = map_began(o, "mmap", (uint64_t)address, length, offset, flags & MAP_SHARED,
			  prot & PROT_WRITE);
	munmap((void *)address, (size_t)length);
	map_ended(o, index);
}

/*
 * Addresses of one worker, where the kernel by itself puts nothing: what moves out or is refused
 * leaves a gap, and the mapping of another thread that lay there would be unmapped with the rest.
 */
static uint64_t own_addresses(void)
{
	return (1ULL << 44) + ((uint64_t)w->index << 24);
}

/* Pages to map over; one arena of a worker at a time. */
static char *arena(long pages)
{
	char *start = mmap((void *)(own_addresses() + (1 << 23)), (size_t)(pages * PAGE), PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	if (start == MAP_FAILED)
		die("mmap");
	return start;
}

/* VM_* of include/linux/mm.h, as an event of mremap or remap_file_pages has them. */
enum { VM_PRIVATE_RW = 0x03, VM_SHARED_RW = 0x8b, VM_SHARED_R = 0x89, VM_SHARED_BY_RO = 0x81 };

/* The system call itself: glibc's mremap takes its last argument as it likes. */
static long remap(const struct object *o, char *from, long long old_length, long long length,
		  int flags, char *to, int vm_flags, long long offset)
{
	uint64_t old_pages = (uint64_t)(old_length + PAGE - 1) / PAGE;

	begin(NULL, "mremap", "mremap", o, -1, offset, length,
	      (uint64_t)flags | (uint64_t)vm_flags << 8 | old_pages << 16);
	return finish(o, syscall(SYS_mremap, from, old_length, length, flags, to));
}

/* ---- the operations ----------------------------------------------------------------------- */

static void do_mmap(const struct object *o, bool huge)
{
	int ro = reopen(o, O_RDONLY), wo = reopen(o, O_WRONLY);
	const int rw = PROT_READ | PROT_WRITE;
	const long long u = o->unit;

	VARIANT("mmap", "shared_r_rw") map_once(o, o->fd, u, PROT_READ, MAP_SHARED, 0);
	VARIANT("mmap", "shared_w_rw") map_once(o, o->fd, u, rw, MAP_SHARED, 0);
	VARIANT("mmap", "shared_wonly_rw") map_once(o, o->fd, u, PROT_WRITE, MAP_SHARED, 0);
	VARIANT("mmap", "shared_none_rw") map_once(o, o->fd, u, PROT_NONE, MAP_SHARED, 0);
	VARIANT("mmap", "shared_w_offset")
		map_once(o, o->fd, 2 * u, rw, MAP_SHARED, 3 * u);
	VARIANT("mmap", "private_r_rw") map_once(o, o->fd, u, PROT_READ, MAP_PRIVATE, 0);
	VARIANT("mmap", "private_w_rw") map_once(o, o->fd, u, rw, MAP_PRIVATE, 0);
	VARIANT("mmap", "shared_r_ro") map_once(o, ro, u, PROT_READ, MAP_SHARED, 0);
	VARIANT("mmap", "shared_w_ro") map_once(o, ro, u, rw, MAP_SHARED, 0);
	VARIANT("mmap", "private_w_ro") map_once(o, ro, u, rw, MAP_PRIVATE, u);
	VARIANT("mmap", "shared_w_wo") map_once(o, wo, u, rw, MAP_SHARED, 0);
	VARIANT("mmap", "zero_length") map_once(o, o->fd, 0, PROT_READ, MAP_SHARED, 0);
	VARIANT("mmap", "occupied_address")
		map(o, o->fd, (uint64_t)(uintptr_t)data & ~(uint64_t)(u - 1), u, PROT_READ,
		    MAP_SHARED | MAP_FIXED_NOREPLACE, 0, NULL);
	VARIANT("mmap", "unaligned_offset")
		map(o, o->fd, 0, u, PROT_READ, MAP_SHARED, 1, early_argument);
	VARIANT("mmap", "bad_fd")
		map(NULL, NO_SUCH_FD, 0, u, PROT_READ, MAP_SHARED, 0, early_bad_fd);
	if (!huge) {
		VARIANT("mmap", "shared_w_uneven")
			map_once(o, o->fd, u + 904, rw, MAP_SHARED, 0);
		VARIANT("mmap", "private_exec")
			map_once(o, o->fd, u, PROT_READ | PROT_EXEC, MAP_PRIVATE, 0);
		VARIANT("mmap", "not_huge")
			map(o, o->fd, 0, u, PROT_READ, MAP_SHARED | MAP_HUGETLB, 0,
			    early_argument);
	}
	/* past the end: grows a hugetlb file, seal or not (KERNEL.md section 4) */
	VARIANT("mmap", "shared_w_beyond")
		map_once(o, o->fd, u, rw, MAP_SHARED, UNITS * u);
	close(ro);
	close(wo);
}

/* A page between two others, so that it cannot grow where it is: it always moves. */
static void remap_once(const struct object *o, int fd, int prot, int map_flags, int vm_flags,
		       long long length, int flags, long to_page)
{
	char *start = arena(8), *to = to_page ? start + to_page * PAGE : NULL;
	const bool shared = map_flags & MAP_SHARED, writable = prot & PROT_WRITE;
	const char *variant = w->variant;
	long address, moved;
	size_t old, new;

	w->setup = true;
	w->variant = "setup";
	address = map(o, fd, (uint64_t)(uintptr_t)(start + PAGE), PAGE, prot,
		      map_flags | MAP_FIXED, PAGE, NULL);
	w->setup = false;
	w->variant = variant;
	if (address == -1)
		die("mmap for mremap");
	old = map_began(o, "mmap", (uint64_t)address, PAGE, PAGE, shared, writable);
	moved = remap(o, start + PAGE, PAGE, length, flags, to, vm_flags, PAGE);
	if (moved == -1) {
		munmap((void *)address, PAGE);
		map_ended(o, old);
	} else {
		new = map_began(o, "mremap", (uint64_t)moved, length, PAGE, shared, writable);
		map_ended(o, old);
		munmap((void *)moved, (size_t)length);
		map_ended(o, new);
	}
	munmap(start, 8 * PAGE);
}

static void do_mremap(const struct object *o, bool huge)
{
	const int rw = PROT_READ | PROT_WRITE;
	int ro;

	if (huge)
		return;
	ro = reopen(o, O_RDONLY);
	VARIANT("mremap", "private_grows")
		remap_once(o, o->fd, rw, MAP_PRIVATE, VM_PRIVATE_RW, 2 * PAGE, MREMAP_MAYMOVE, 0);
	VARIANT("mremap", "private_moves")
		remap_once(o, o->fd, rw, MAP_PRIVATE, VM_PRIVATE_RW, PAGE,
			   MREMAP_MAYMOVE | MREMAP_FIXED, 5);
	VARIANT("mremap", "shared_ro_grows")
		remap_once(o, ro, PROT_READ, MAP_SHARED, VM_SHARED_BY_RO, 3 * PAGE,
			   MREMAP_MAYMOVE, 0);
	VARIANT("mremap", "may_not_move")
		remap_once(o, o->fd, rw, MAP_PRIVATE, VM_PRIVATE_RW, 2 * PAGE, 0, 0);
	VARIANT("mremap", "zero_length")
		remap_once(o, o->fd, rw, MAP_PRIVATE, VM_PRIVATE_RW, 0, MREMAP_MAYMOVE, 0);
	close(ro);
}

/* Two pages of the file, from its page 5 on. */
static size_t window(const struct object *o, int fd, int prot, int flags, int place)
{
	const char *variant = w->variant;
	uint64_t start = own_addresses() + (uint64_t)place * 4 * PAGE;
	long address;

	w->setup = true;
	w->variant = "setup";
	address = map(o, fd, start, 2 * PAGE, prot, flags | MAP_FIXED, 5 * PAGE, NULL);
	w->setup = false;
	w->variant = variant;
	if (address == -1)
		die("mmap for remap_file_pages");
	return map_began(o, "mmap", (uint64_t)address, 2 * PAGE, 5 * PAGE, flags & MAP_SHARED,
			 prot & PROT_WRITE);
}

/* Shows the file from its page 9 on there. */
static void remap_window(const struct object *o, size_t index, long long size, int vm_flags)
{
	uint64_t address = w->mappings[index].address;

	begin(NULL, "remap_file_pages", "remap_file_pages", o, -1, 9 * PAGE, size,
	      (uint64_t)vm_flags << 8 | address / PAGE << 16);
	if (finish(o, syscall(SYS_remap_file_pages, address, size, 0, 9, 0)) == 0) {
		map_ended(o, index);
		index = map_began(o, "remap_file_pages", address, 2 * PAGE, 9 * PAGE, true,
				  vm_flags & PROT_WRITE);
	}
	unmap(o, index);
}

static void do_remap_file_pages(struct object *o, bool huge)
{
	/* Mapped before the seal that refuses it later. */
	const bool early = w->set->seals & FUTURE_WRITE && !(w->set->seals & WRITE);
	const int rw = PROT_READ | PROT_WRITE;
	size_t windows[7];		/* a variant is done 7 times at most */
	int ro, next = 0;

	if (huge)
		return;
	for (int i = 0; early && i < 7; i++)
		windows[i] = window(o, o->fd, rw, MAP_SHARED, 1 + i);
	if (!seal(o))
		return;
	ro = reopen(o, O_RDONLY);
	VARIANT("remap_file_pages", "private")
		remap_window(o, window(o, o->fd, rw, MAP_PRIVATE, 0), 2 * PAGE, VM_PRIVATE_RW);
	VARIANT("remap_file_pages", "shared_r_ro")
		remap_window(o, window(o, ro, PROT_READ, MAP_SHARED, 0), 2 * PAGE, VM_SHARED_BY_RO);
	VARIANT("remap_file_pages", "zero_length")
		remap_window(o, window(o, ro, PROT_READ, MAP_SHARED, 0), 0, VM_SHARED_BY_RO);
	if (!(w->set->seals & WRITE)) {
		VARIANT("remap_file_pages", "shared_r_rw")
			remap_window(o, window(o, o->fd, PROT_READ, MAP_SHARED, 0), 2 * PAGE,
				     VM_SHARED_R);
		VARIANT("remap_file_pages", "shared_w_rw")
			remap_window(o, early ? windows[next++] :
				     window(o, o->fd, rw, MAP_SHARED, 0), 2 * PAGE, VM_SHARED_RW);
	}
	VARIANT("remap_file_pages", "nothing_mapped")
		REFUSED(early_nothing_mapped, "remap_file_pages", "remap_file_pages", o, -1,
			9 * PAGE, PAGE, 0,
			syscall(SYS_remap_file_pages, PAGE, PAGE, 0, 9, 0));
	while (early && next < 7)
		unmap(o, windows[next++]);
	close(ro);
}

static void do_write(const struct object *o, bool huge)
{
	int ro, pipes[2];

	if (huge) {
		VARIANT("write", "hugetlb")
			REFUSED(early_no_method, "write", "pwrite64", o, o->fd, 0, PAGE, 0,
				pwrite(o->fd, data, PAGE, 0));
		return;
	}
	ro = reopen(o, O_RDONLY);
	if (pipe2(pipes, O_CLOEXEC) < 0)
		die("pipe");
	VARIANT("write", "write_inside") {
		lseek(o->fd, 128, SEEK_SET);
		CALL("write", "write", o, o->fd, 128, 100, 0, write(o->fd, data, 100));
	}
	VARIANT("write", "pwrite_inside")
		CALL("write", "pwrite64", o, o->fd, 2 * PAGE, PAGE, 0,
		     pwrite(o->fd, data, PAGE, 2 * PAGE));
	VARIANT("write", "writev") {
		struct iovec v[] = { { data, 10 }, { data, PAGE }, { data, 1 } };

		lseek(o->fd, PAGE, SEEK_SET);
		CALL("write", "writev", o, o->fd, PAGE, PAGE + 11, 0, writev(o->fd, v, 3));
	}
	VARIANT("write", "pwritev") {
		struct iovec v[] = { { data, 0 }, { data, 77 } };

		CALL("write", "pwritev", o, o->fd, 5, 77, 0, pwritev(o->fd, v, 2, 5));
	}
	VARIANT("write", "zero_length")
		CALL("write", "pwrite64", o, o->fd, 3, 0, 0, pwrite(o->fd, data, 0, 3));
	VARIANT("write", "writev_zero") {
		struct iovec v[] = { { data, 0 }, { data, 0 } };

		REFUSED(early_nothing, "write", "pwritev", o, o->fd, 0, 0, 0,
			pwritev(o->fd, v, 2, 0));
	}
	VARIANT("write", "many_chunks")
		CALL("write", "pwrite64", o, o->fd, 0, UNITS * PAGE, 0,
		     pwrite(o->fd, data, UNITS * PAGE, 0));
	VARIANT("write", "crossing_size") {
		long long at = size_of(o->fd) - 2000;

		CALL("write", "pwrite64", o, o->fd, at, PAGE, 0,
		     pwrite(o->fd, data, PAGE, at));
	}
	restore(o);
	VARIANT("write", "at_size") {
		long long at = size_of(o->fd);

		CALL("write", "pwrite64", o, o->fd, at, 10, 0, pwrite(o->fd, data, 10, at));
	}
	restore(o);
	VARIANT("write", "sendfile") {
		off_t from = 0;

		lseek(o->fd, PAGE, SEEK_SET);
		CALL("write", "sendfile", o, o->fd, PAGE, PAGE, 0,
		     sendfile(o->fd, w->exe, &from, PAGE));
	}
	VARIANT("write", "splice") {
		loff_t to = 3 * PAGE;

		if (write(pipes[1], data, 1000) != 1000)
			die("write to a pipe");
		CALL("write", "splice", o, o->fd, 3 * PAGE, 1000, 0,
		     splice(pipes[0], NULL, o->fd, &to, 1000, 0));
		if (last()->answer < 0 && read(pipes[0], sink, 1000) != 1000)
			die("read from a pipe");
	}
	VARIANT("write", "bad_buffer")		/* EFAULT, or the seal's EPERM: by kernel */
		CALL("write", "pwrite64", o, o->fd, 0, 100, 0,
		     syscall(SYS_pwrite64, o->fd, (void *)8, 100, 0));
	VARIANT("write", "kernel_buffer")
		REFUSED(early_argument, "write", "pwrite64", o, o->fd, 0, 100, 0,
			syscall(SYS_pwrite64, o->fd, (void *)-4096L, 100, 0));
	VARIANT("write", "write_ro")
		REFUSED(early_fd, "write", "write", o, ro, 0, 100, 0, write(ro, data, 100));
	VARIANT("write", "negative_offset")
		REFUSED(early_argument, "write", "pwrite64", o, o->fd, -1, 100, 0,
			pwrite(o->fd, data, 100, -1));
	VARIANT("write", "several_mib") {
		CALL("write", "pwrite64", o, o->fd, 0, BIG_WRITE, 0,
		     pwrite(o->fd, data, BIG_WRITE, 0));
		restore(o);
	}
	close(ro);
	close(pipes[0]);
	close(pipes[1]);
}

static void do_read(const struct object *o, bool huge)
{
	int wo;

	if (huge)			/* has a read function of its own: see samples/README.md */
		return;
	wo = reopen(o, O_WRONLY);
	VARIANT("read", "read") {
		lseek(o->fd, 64, SEEK_SET);
		CALL("read", "read", o, o->fd, 64, 200, 0, read(o->fd, sink, 200));
	}
	VARIANT("read", "pread")
		CALL("read", "pread64", o, o->fd, PAGE - 1, 2 * PAGE, 0,
		     pread(o->fd, sink, 2 * PAGE, PAGE - 1));
	VARIANT("read", "readv") {
		struct iovec v[] = { { sink, 10 }, { sink, PAGE } };

		lseek(o->fd, PAGE, SEEK_SET);
		CALL("read", "readv", o, o->fd, PAGE, PAGE + 10, 0, readv(o->fd, v, 2));
	}
	VARIANT("read", "crossing_size") {
		long long at = size_of(o->fd) - 10;

		CALL("read", "pread64", o, o->fd, at, 20, 0, pread(o->fd, sink, 20, at));
	}
	VARIANT("read", "beyond_size") {
		long long at = size_of(o->fd) + PAGE;

		CALL("read", "pread64", o, o->fd, at, 20, 0, pread(o->fd, sink, 20, at));
	}
	VARIANT("read", "zero_length")
		CALL("read", "pread64", o, o->fd, 0, 0, 0, pread(o->fd, sink, 0, 0));
	VARIANT("read", "readv_zero") {
		struct iovec v[] = { { sink, 0 } };

		REFUSED(early_nothing, "read", "preadv", o, o->fd, 0, 0, 0,
			preadv(o->fd, v, 1, 0));
	}
	VARIANT("read", "read_wo")
		REFUSED(early_fd, "read", "read", o, wo, 0, 100, 0, read(wo, sink, 100));
	VARIANT("read", "negative_offset")
		REFUSED(early_argument, "read", "pread64", o, o->fd, -1, 100, 0,
			pread(o->fd, sink, 100, -1));
	close(wo);
}

static void open_trunc(const struct object *o)
{
	int fd = (int)CALL("truncate", "open", o, -1, 0, 0, 0,
			   open(path_of(o->fd), O_RDWR | O_TRUNC | O_CLOEXEC));

	if (fd < 0)
		return;
	last()->answer = 0;		/* of the decision; the new fd stays in "returned" */
	close(fd);
}

static void do_truncate(const struct object *o, bool huge)
{
	int ro = reopen(o, O_RDONLY);
	const long long u = o->unit;

	VARIANT("truncate", "ftruncate_smaller") resize(o, size_of(o->fd) - u);
	restore(o);
	VARIANT("truncate", "ftruncate_same") resize(o, size_of(o->fd));
	VARIANT("truncate", "ftruncate_larger") resize(o, size_of(o->fd) + u);
	restore(o);
	VARIANT("truncate", "path_smaller") {
		long long size = size_of(o->fd) - u;

		CALL("truncate", "truncate", o, -1, 0, size, 0, truncate(path_of(o->fd), size));
	}
	restore(o);
	VARIANT("truncate", "path_larger") {
		long long size = size_of(o->fd) + u;

		CALL("truncate", "truncate", o, -1, 0, size, 0, truncate(path_of(o->fd), size));
	}
	restore(o);
	if (huge)
		VARIANT("truncate", "unaligned") resize(o, size_of(o->fd) + PAGE);
	VARIANT("truncate", "ftruncate_ro")
		REFUSED(early_fd, "truncate", "ftruncate", o, ro, 0, 0, 0, ftruncate(ro, 0));
	VARIANT("truncate", "ftruncate_negative")
		REFUSED(early_argument, "truncate", "ftruncate", o, o->fd, 0, -1, 0,
			ftruncate(o->fd, -1));
	VARIANT("truncate", "path_negative")
		REFUSED(early_argument, "truncate", "truncate", o, -1, 0, -1, 0,
			truncate(path_of(o->fd), -1));
	VARIANT("truncate", "open_trunc") {
		open_trunc(o);
		restore(o);
	}
	close(ro);
}

static void set_mode(const struct object *o, int fd, unsigned int mode)
{
	CALL("chmod", "fchmod", o, fd, 0, 0, mode, fchmod(fd, mode));
}

static void do_chmod(const struct object *o, bool huge)
{
	int ro = reopen(o, O_RDONLY);
	struct timespec when[2] = { { .tv_sec = 1 }, { .tv_sec = 2 } };

	(void)huge;
	VARIANT("chmod", "x_bits") set_mode(o, o->fd, mode_of(o->fd) ^ 0111);
	VARIANT("chmod", "one_x_bit") set_mode(o, o->fd, mode_of(o->fd) ^ 0001);
	VARIANT("chmod", "other_bits") set_mode(o, o->fd, mode_of(o->fd) ^ 0044);
	VARIANT("chmod", "same_mode") set_mode(o, o->fd, mode_of(o->fd));
	VARIANT("chmod", "read_only_fd") set_mode(o, ro, mode_of(o->fd) ^ 0044);
	VARIANT("chmod", "path") {
		unsigned int mode = mode_of(o->fd) ^ 0044;

		CALL("chmod", "chmod", o, -1, 0, 0, mode, chmod(path_of(o->fd), mode));
	}
	/* Attributes that no seal knows pass through the same function: no events of ours. */
	if (!options.list) {
		if (futimens(o->fd, when) < 0 || fchown(o->fd, getuid(), getgid()) < 0)
			die("futimens and fchown");
	}
	close(ro);
}

static void allocate(const struct object *o, int fd, int mode, long long offset, long long length,
		     const char *refused)
{
	const char *op = mode & PUNCH_HOLE ? "punch_hole" : "allocate";

	begin(refused, op, "fallocate", o, fd, offset, length, (uint64_t)mode);
	finish(o, fallocate(fd, mode, offset, length));
}

static void do_allocate(const struct object *o, bool huge)
{
	int ro = reopen(o, O_RDONLY);
	const long long u = o->unit;

	(void)huge;
	VARIANT("allocate", "inside") allocate(o, o->fd, 0, 0, u, NULL);
	VARIANT("allocate", "inside_keep") allocate(o, o->fd, KEEP_SIZE, 0, u, NULL);
	VARIANT("allocate", "beyond_keep")
		allocate(o, o->fd, KEEP_SIZE, size_of(o->fd), u, NULL);
	VARIANT("allocate", "crossing")
		allocate(o, o->fd, 0, size_of(o->fd) - u, 2 * u, NULL);
	restore(o);
	VARIANT("allocate", "beyond") allocate(o, o->fd, 0, size_of(o->fd), u, NULL);
	restore(o);
	VARIANT("allocate", "zero_range") allocate(o, o->fd, ZERO_RANGE, 0, u, NULL);
	VARIANT("allocate", "read_only_fd") allocate(o, ro, 0, 0, u, early_fd);
	VARIANT("allocate", "zero_length") allocate(o, o->fd, 0, 0, 0, early_argument);
	VARIANT("allocate", "negative_offset") allocate(o, o->fd, 0, -1, u, early_argument);
	close(ro);
}

static void remove_range(const struct object *o, long address, long long within,
			 long long length)
{
	CALL("punch_hole", "madvise", o, -1, within, length, PUNCH_HOLE | KEEP_SIZE,
	     madvise((char *)address + within, (size_t)length, MADV_REMOVE));
	if (last()->error == EACCES)
		last()->refused = early_vma;
}

/*
 * FUTURE_WRITE refuses new writable mappings, so the one that MADV_REMOVE needs is made before
 * sealing; with WRITE there can be none.
 */
static void do_punch_hole(struct object *o, bool huge)
{
	const bool early = w->set->seals & FUTURE_WRITE && !(w->set->seals & WRITE);
	const long long u = o->unit, length = 4 * u;
	long address = -1, private;
	size_t shared_index = 0, private_index;
	int ro;

	(void)huge;
	w->setup = true;
	w->variant = "setup";
	if (early)
		address = map(o, o->fd, 0, length, PROT_READ | PROT_WRITE, MAP_SHARED, 0, NULL);
	if (address != -1)
		shared_index = map_began(o, "mmap", (uint64_t)address, length, 0, true, true);
	if (!seal(o))
		return;
	w->setup = true;
	w->variant = "setup";
	if (!early)
		address = map(o, o->fd, 0, length, PROT_READ | PROT_WRITE, MAP_SHARED, 0, NULL);
	if (!early && address != -1)
		shared_index = map_began(o, "mmap", (uint64_t)address, length, 0, true, true);
	private = map(o, o->fd, 0, length, PROT_READ, MAP_PRIVATE, 0, NULL);
	if (private != -1)
		private_index = map_began(o, "mmap", (uint64_t)private, length, 0, false, false);
	w->setup = false;

	ro = reopen(o, O_RDONLY);
	VARIANT("punch_hole", "inside")
		allocate(o, o->fd, PUNCH_HOLE | KEEP_SIZE, u, u, NULL);
	VARIANT("punch_hole", "partial")
		allocate(o, o->fd, PUNCH_HOLE | KEEP_SIZE, 100, 200, NULL);
	VARIANT("punch_hole", "beyond")
		allocate(o, o->fd, PUNCH_HOLE | KEEP_SIZE, size_of(o->fd) + u, u, NULL);
	VARIANT("punch_hole", "without_keep_size")
		allocate(o, o->fd, PUNCH_HOLE, u, u, early_argument);
	VARIANT("punch_hole", "read_only_fd")
		allocate(o, ro, PUNCH_HOLE | KEEP_SIZE, u, u, early_fd);
	if (address != -1)
		VARIANT("punch_hole", "madvise") remove_range(o, address, u, 2 * u);
	if (private != -1)
		VARIANT("punch_hole", "madvise_private") remove_range(o, private, u, u);
	close(ro);
	if (private != -1) {
		munmap((void *)private, (size_t)length);
		map_ended(o, private_index);
	}
	if (address != -1) {
		munmap((void *)address, (size_t)length);
		map_ended(o, shared_index);
	}
}

/* F_ADD_SEALS while a mapping of the given kind lives. */
static void seal_while_mapped(const struct object *o, int fd, int prot, int flags,
			      unsigned int seals)
{
	long address;
	size_t index;
	const char *variant = w->variant;

	w->setup = true;
	w->variant = "setup";
	address = map(o, fd, 0, o->unit, prot, flags, 0, NULL);
	w->setup = false;
	w->variant = variant;
	if (address == -1)
		return;
	index = map_began(o, "mmap", (uint64_t)address, o->unit, 0, flags & MAP_SHARED,
			  prot & PROT_WRITE);
	add_seals(o, o->fd, seals);
	munmap((void *)address, (size_t)o->unit);
	map_ended(o, index);
}

/* The variants that change the file for good: a fresh one each time. */
static void seal_fresh(const char *variant, bool huge, int how, int prot, int flags,
		       unsigned int seals)
{
	struct object o;
	int fd;

	VARIANT("add_seals", variant) {
		if (!make(&o, "add_seals", huge))
			return;
		w->variant = variant;
		fd = how == O_RDWR ? o.fd : reopen(&o, how);
		if (prot < 0)
			add_seals(&o, fd, seals);
		else
			seal_while_mapped(&o, fd, prot, flags, seals);
		if (fd != o.fd)
			close(fd);
		drop(&o);
	}
}

static void do_add_seals(struct object *o, bool huge)
{
	int ro = reopen(o, O_RDONLY), path = reopen(o, O_PATH), pipes[2];
	struct object pipe_object = { .kind = "pipe" };

	VARIANT("add_seals", "none_more") add_seals(o, o->fd, 0);
	VARIANT("add_seals", "again") add_seals(o, o->fd, w->set->seals);
	VARIANT("add_seals", "unknown_bits") add_seals(o, o->fd, 0x80 | GROW);
	VARIANT("add_seals", "read_only_fd") add_seals(o, ro, GROW);
	VARIANT("add_seals", "path_fd")
		REFUSED(early_bad_fd, "add_seals", "fcntl", o, path, 0, 0, GROW,
			fcntl(path, F_ADD_SEALS, GROW));
	close(path);
	close(ro);
	if (w->set == &sets[0]) {
		const int rw = PROT_READ | PROT_WRITE;

		seal_fresh("busy_shared_w", huge, O_RDWR, rw, MAP_SHARED, WRITE | SHRINK);
		seal_fresh("busy_shared_r", huge, O_RDWR, PROT_READ, MAP_SHARED, WRITE);
		seal_fresh("mapped_ro_fd", huge, O_RDONLY, PROT_READ, MAP_SHARED, WRITE);
		seal_fresh("mapped_private", huge, O_RDWR, rw, MAP_PRIVATE, WRITE);
		seal_fresh("mapped_future", huge, O_RDWR, rw, MAP_SHARED, FUTURE_WRITE);
		/* EXEC on an executable file implies WRITE: EBUSY, or a hole (KERNEL.md F7) */
		seal_fresh("mapped_exec", huge, O_RDWR, rw, MAP_SHARED, EXEC);
		seal_fresh("executable", huge, O_RDWR, -1, 0, EXEC);
		if (pipe2(pipes, O_CLOEXEC) < 0)
			die("pipe");
		pipe_object.fd = pipes[1];
		snprintf(pipe_object.name, sizeof(pipe_object.name), "pipe");
		identify(&pipe_object);
		VARIANT("add_seals", "pipe") add_seals(&pipe_object, pipes[1], GROW);
		close(pipes[0]);
		close(pipes[1]);
	} else if (w->set->seals) {
		seal_fresh("fresh", huge, O_RDWR, -1, 0, w->set->seals);
	}
	if (w->set->seals & SEAL || w->set->unsealable)
		VARIANT("add_seals", "after_seal") add_seals(o, o->fd, SHRINK);
}

static void create_once(const char *name, unsigned int flags)
{
	struct object o = { .fd = -1 };

	create(&o, name, flags);
	drop(&o);
}

static void do_create(bool huge)
{
	char long_name[260];

	memset(long_name, 'n', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = 0;
	if (huge) {
		VARIANT("create", "hugetlb") create_once("huge", MFD_HUGETLB);
		VARIANT("create", "hugetlb_sealable")
			create_once("huge", MFD_HUGETLB | MFD_ALLOW_SEALING);
		VARIANT("create", "hugetlb_bad_size")
			create_once("huge", MFD_HUGETLB | 13U << 26);
		return;
	}
	VARIANT("create", "plain") create_once("plain", 0);
	VARIANT("create", "cloexec") create_once("cloexec", MFD_CLOEXEC);
	VARIANT("create", "sealable") create_once("sealable", MFD_ALLOW_SEALING);
	VARIANT("create", "sealable_cloexec")
		create_once("sealable cloexec", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	VARIANT("create", "odd_name")
		create_once("\"quoted\\\" \xc3\xa9\ttab/slash", MFD_ALLOW_SEALING);
	VARIANT("create", "empty_name") create_once("", MFD_ALLOW_SEALING);
	VARIANT("create", "noexec_seal") create_once("noexec", MFD_NOEXEC_SEAL | MFD_CLOEXEC);
	VARIANT("create", "exec") create_once("exec", MFD_EXEC | MFD_ALLOW_SEALING);
	VARIANT("create", "exec_and_noexec") create_once("both", MFD_EXEC | MFD_NOEXEC_SEAL);
	VARIANT("create", "unknown_flag") create_once("unknown", 0x4000 | MFD_ALLOW_SEALING);
	VARIANT("create", "name_too_long") create_once(long_name, MFD_ALLOW_SEALING);
	VARIANT("create", "longest_name") create_once(long_name + 10, MFD_ALLOW_SEALING);
	VARIANT("create", "bad_name_pointer") create_once((const char *)8, MFD_ALLOW_SEALING);
}

/* ---- mappings as such: neighbours that merge, moves, a fork ------------------------------- */

static size_t map_at(const struct object *o, const char *cause, char *address, long pages,
		     long first_page)
{
	long got = map(o, o->fd, (uint64_t)(uintptr_t)address, pages * PAGE,
		       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, first_page * PAGE, NULL);

	if (got == -1)
		die("mmap of a fresh memfd");
	return map_began(o, cause, (uint64_t)got, pages * PAGE, first_page * PAGE, true, true);
}

/* The kernel makes one mapping of the four and, later, two of that one. */
static void merge_neighbours(const struct object *o)
{
	char *start = arena(8);
	size_t index[4];

	for (long i = 0; i < 4; i++) {
		index[i] = map_at(o, "merge", start + i * PAGE, 1, i);
		w->mappings[index[i]].reinserted = true;
	}
	unmap(o, index[1]);
	unmap(o, index[3]);
	unmap(o, index[0]);
	unmap(o, index[2]);
	munmap(start, 8 * PAGE);
}

/* The new place is inserted before the old one goes. */
static void move(const struct object *o)
{
	char *start = arena(16), *copy;
	size_t old = map_at(o, "mmap", start, 2, 5), new, twin;

	copy = (char *)remap(o, start, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
			     start + 8 * PAGE, VM_SHARED_RW, 5 * PAGE);
	if (copy == MAP_FAILED)
		die("mremap");
	new = map_began(o, "mremap", (uint64_t)(uintptr_t)copy, 2 * PAGE, 5 * PAGE, true, true);
	map_ended(o, old);
	/* old size 0: a second mapping of the same pages, and the first stays */
	copy = (char *)remap(o, copy, 0, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
			     start + 12 * PAGE, VM_SHARED_RW, 5 * PAGE);
	if (copy == MAP_FAILED)
		die("mremap with old size 0");
	twin = map_began(o, "mremap", (uint64_t)(uintptr_t)copy, 2 * PAGE, 5 * PAGE, true, true);
	unmap(o, new);
	unmap(o, twin);
	munmap(start, 16 * PAGE);
}

/* The child's mapping begins with fork and ends with its exit; it makes no call of ours. */
static void fork_mapped(const struct object *o)
{
	char *start = arena(4);
	size_t index = map_at(o, "mmap", start, 2, 9), childs;
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (child == 0)
		_exit(0);
	if (waitpid(child, NULL, 0) != child)
		die("waitpid");
	childs = map_began(o, "fork", (uint64_t)(uintptr_t)start, 2 * PAGE, 9 * PAGE, true, true);
	w->mappings[childs].pid = child;
	w->mappings[childs].tid = child;
	map_ended(o, childs);
	unmap(o, index);
	munmap(start, 4 * PAGE);
}

static void do_mappings(void)
{
	struct object o;

	if (options.list || !make(&o, "mappings", false))
		return;
	w->setup = true;
	w->variant = "mappings";
	merge_neighbours(&o);
	move(&o);
	fork_mapped(&o);
	w->setup = false;
	drop(&o);
}

/* ---- running ------------------------------------------------------------------------------ */

typedef void operation(const struct object *o, bool huge);

static const struct {
	const char *op;
	operation *run;			/* on a sealed file */
	void (*own)(struct object *o, bool huge);	/* seals on its own */
} operations[] = {
	{ "mmap", do_mmap, NULL },
	{ "mremap", do_mremap, NULL },
	{ "write", do_write, NULL },
	{ "read", do_read, NULL },
	{ "truncate", do_truncate, NULL },
	{ "chmod", do_chmod, NULL },
	{ "allocate", do_allocate, NULL },
	{ "punch_hole", NULL, do_punch_hole },
	{ "add_seals", NULL, do_add_seals },
	{ "remap_file_pages", NULL, do_remap_file_pages },
};
enum { OPERATIONS = sizeof(operations) / sizeof(operations[0]) };

static bool wanted(const char *op)
{
	return !options.only || !strcmp(options.only, op);
}

static void run_group(int index, const struct seal_set *set, bool huge)
{
	struct object o;

	w->op_index = index;
	w->set = set;
	if (!make(&o, operations[index].op, huge))
		return;
	if (operations[index].own) {
		if (strcmp(operations[index].op, "add_seals") || seal(&o))
			operations[index].own(&o, huge);
	} else if (seal(&o)) {
		operations[index].run(&o, huge);
	}
	drop(&o);
}

/* An ordinary tmpfs file: the same functions of the kernel, and nothing of it may be recorded. */
static void run_tmpfs(void)
{
	char path[PATH_MAX];
	struct object o = { .kind = "tmpfs", .name = "tmpfs" };

	snprintf(path, sizeof(path), "%s/sealsnoop-workload-%d", options.tmpfs, getpid());
	w->set = &no_set;
	for (int i = 0; i < OPERATIONS; i++) {
		if (!wanted(operations[i].op))
			continue;
		w->op_index = i;
		o.fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (o.fd < 0)
			die(path);
		identify(&o);
		w->setup = true;
		w->variant = "setup";
		resize(&o, UNITS * PAGE);
		w->setup = false;
		if (operations[i].own)
			operations[i].own(&o, false);
		else
			operations[i].run(&o, false);
		unlink(path);
		drop(&o);
	}
}

/* This worker's share: every group whose number is its own, modulo the number of workers. */
static void run_share(int workers)
{
	int group = 0;

	for (int huge = 0; huge <= (options.hugetlb ? 1 : 0); huge++) {
		for (int set = 0; set < SETS; set++) {
			if (options.quick && !sets[set].quick)
				continue;
			for (int op = 0; op < OPERATIONS; op++)
				if (wanted(operations[op].op) && group++ % workers == w->index)
					run_group(op, &sets[set], huge);
		}
		if (wanted("create") && group++ % workers == w->index) {
			w->set = &no_set;
			do_create(huge);
		}
	}
}

static void start_worker(struct worker *worker, int index)
{
	memset(worker, 0, sizeof(*worker));
	worker->index = index;
	worker->pid = getpid();
	worker->tid = (int)syscall(SYS_gettid);
	worker->set = &no_set;
	worker->exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (worker->exe < 0)
		die("/proc/self/exe");
	w = worker;
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void put_string(FILE *f, const char *key, const char *text)
{
	fprintf(f, ",\"%s\":", key);
	if (!text) {
		fputs("null", f);
		return;
	}
	fputc('"', f);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(f, "\\%c", c);
		else if (c < 0x20)
			fprintf(f, "\\u%04x", c);
		else
			fputc(c, f);
	}
	fputc('"', f);
}

static void put_number(FILE *f, const char *key, long long number)
{
	fprintf(f, ",\"%s\":%lld", key, number);
}

static void put_bool(FILE *f, const char *key, bool yes)
{
	fprintf(f, ",\"%s\":%s", key, yes ? "true" : "false");
}

static void put_key(FILE *f, uint32_t dev, uint64_t ino, bool gen_known, uint32_t gen)
{
	fprintf(f, ",\"dev\":%u,\"ino\":%llu,\"gen\":", dev, (unsigned long long)ino);
	if (gen_known)
		fprintf(f, "%u", gen);
	else
		fputs("null", f);
}

static void put_call(FILE *f, const struct call *c)
{
	fputs("{\"type\":\"call\"", f);
	put_number(f, "worker", c->worker);
	put_number(f, "pid", c->pid);
	put_number(f, "tid", c->tid);
	put_string(f, "op", c->op);
	put_string(f, "call", c->call);
	put_string(f, "variant", c->variant);
	put_string(f, "set", c->set);
	put_bool(f, "setup", c->setup);
	put_string(f, "object", c->kind);
	put_string(f, "name", c->name);
	put_key(f, c->dev, c->ino, c->gen_known, c->gen);
	put_number(f, "fd", c->fd);
	put_number(f, "seals", c->seals);
	put_number(f, "seals_after", c->seals_after);
	put_number(f, "size", c->size);
	put_number(f, "size_after", c->size_after);
	put_number(f, "offset", c->offset);
	put_number(f, "length", c->length);
	fprintf(f, ",\"arg\":%llu", (unsigned long long)c->arg);
	put_number(f, "answer", c->answer);
	put_number(f, "returned", c->returned);
	put_string(f, "errno", c->error ? strerrorname_np(c->error) : NULL);
	put_bool(f, "reaches_kernel_hook", !c->refused);
	put_string(f, "why_not", c->refused);
	fputs("}\n", f);
}

static void put_mapping(FILE *f, const struct mapping *m)
{
	fputs("{\"type\":\"mapping\"", f);
	put_number(f, "worker", m->worker);
	put_number(f, "pid", m->pid);
	put_number(f, "tid", m->tid);
	put_string(f, "cause", m->cause);
	put_string(f, "object", m->kind);
	put_string(f, "name", m->name);
	put_key(f, m->dev, m->ino, m->gen_known, m->gen);
	put_number(f, "seals", m->seals);
	put_number(f, "seals_after", m->seals_after);
	fprintf(f, ",\"address\":%llu", (unsigned long long)m->address);
	put_number(f, "length", m->length);
	put_number(f, "offset", m->offset);
	put_bool(f, "shared", m->shared);
	put_bool(f, "writable", m->writable);
	put_bool(f, "reinserted", m->reinserted);
	put_number(f, "began", m->began);
	put_number(f, "ended", m->ended);
	fputs("}\n", f);
}

static void format_log(struct worker *worker)
{
	FILE *f = open_memstream(&worker->text, &worker->text_size);

	if (!f)
		die("open_memstream");
	for (size_t i = 0; i < worker->n_calls; i++)
		put_call(f, &worker->calls[i]);
	for (size_t i = 0; i < worker->n_mappings; i++)
		put_mapping(f, &worker->mappings[i]);
	if (fclose(f))
		die("open_memstream");
}

static void write_run(FILE *f, int argc, char **argv)
{
	struct utsname host;

	uname(&host);
	fprintf(f, "{\"type\":\"run\",\"version\":1");
	put_number(f, "pid", getpid());
	put_string(f, "kernel", host.release);
	put_number(f, "repeat", options.repeat);
	put_bool(f, "quick", options.quick);
	fputs(",\"arguments\":[\"workload\"", f);
	for (int i = 1; i < argc; i++) {
		fputc(',', f);
		fputc('"', f);
		for (const char *c = argv[i]; *c; c++)
			fprintf(f, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
		fputc('"', f);
	}
	fputs("]}\n", f);
}

/* Numbers the lines: every worker's in its own order, the workers one behind another. */
static void write_numbered(FILE *f, const char *text, size_t size, long *i)
{
	const char *end = text + size;

	while (text < end) {
		const char *next = memchr(text, '\n', (size_t)(end - text));

		fprintf(f, "{\"i\":%ld,%.*s", (*i)++, (int)(next - text), text + 1);
		text = next + 1;
	}
}

/* ---- workers side by side ----------------------------------------------------------------- */

enum { CHILDREN = 2, THREADS = 3, MOST_WORKERS = 1 + CHILDREN + THREADS };

struct thread {
	pthread_t id;
	struct worker worker;
	int index, workers;
};

static void *run_thread(void *argument)
{
	struct thread *thread = argument;

	start_worker(&thread->worker, thread->index);
	for (int i = 0; i < options.repeat; i++)
		run_share(thread->workers);
	close(thread->worker.exe);
	return NULL;
}

static pid_t start_child(int index, int workers, int *from)
{
	struct worker worker;
	int pipes[2];
	pid_t child;
	size_t sent = 0;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		die("pipe");
	child = fork();
	if (child < 0)
		die("fork");
	*from = pipes[0];
	if (child) {
		close(pipes[1]);
		return child;
	}
	close(pipes[0]);
	start_worker(&worker, index);
	for (int i = 0; i < options.repeat; i++)
		run_share(workers);
	format_log(&worker);
	while (sent < worker.text_size) {
		ssize_t n = write(pipes[1], worker.text + sent, worker.text_size - sent);

		if (n <= 0)
			_exit(1);
		sent += (size_t)n;
	}
	_exit(0);
}

static void collect_child(pid_t child, int from, struct worker *worker)
{
	FILE *f = open_memstream(&worker->text, &worker->text_size);
	char buffer[PAGE];
	ssize_t n;
	int status;

	if (!f)
		die("open_memstream");
	while ((n = read(from, buffer, sizeof(buffer))) > 0)
		fwrite(buffer, 1, (size_t)n, f);
	if (fclose(f))
		die("open_memstream");
	if (waitpid(child, &status, 0) != child || status) {
		errno = ECHILD;
		die("a child failed");
	}
	close(from);
}

static void usage(FILE *f)
{
	fputs("usage: workload --out FILE [--quick] [--hugetlb] [--tmpfs DIR] [--fork]\n"
	      "                [--threads] [--only OP] [--repeat N]\n"
	      "       workload --list [--quick] [--hugetlb] [--only OP] [--repeat N]\n", f);
}

static void parse(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (!strcmp(argv[i], "--quick")) {
			options.quick = true;
		} else if (!strcmp(argv[i], "--hugetlb")) {
			options.hugetlb = true;
		} else if (!strcmp(argv[i], "--fork")) {
			options.fork = true;
		} else if (!strcmp(argv[i], "--threads")) {
			options.threads = true;
		} else if (!strcmp(argv[i], "--list")) {
			options.list = true;
		} else if (!strcmp(argv[i], "--help")) {
			usage(stdout);
			exit(0);
		} else if (!strcmp(argv[i], "--out") && value) {
			options.out = argv[++i];
		} else if (!strcmp(argv[i], "--only") && value) {
			options.only = argv[++i];
		} else if (!strcmp(argv[i], "--tmpfs") && value) {
			options.tmpfs = argv[++i];
		} else if (!strcmp(argv[i], "--repeat") && value && atoi(value) > 0) {
			options.repeat = atoi(argv[++i]);
		} else {
			usage(stderr);
			exit(2);
		}
	}
	if (!options.list && !options.out) {
		usage(stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	static struct worker workers[MOST_WORKERS];
	static struct thread threads[THREADS];
	pid_t children[CHILDREN];
	int pipes[CHILDREN], n_children, n_threads, n;
	long i = 0;
	FILE *f;

	parse(argc, argv);
	memset(data, 'x', sizeof(data));
	n_children = options.fork && !options.list ? CHILDREN : 0;
	n_threads = options.threads && !options.list ? THREADS : 0;
	n = 1 + n_children + n_threads;

	/* First and alone: a fork beside other threads would copy their mappings too. */
	start_worker(&workers[0], 0);
	for (int r = 0; r < options.repeat; r++)
		if (wanted("mappings"))
			do_mappings();
	for (int c = 0; c < n_children; c++)
		children[c] = start_child(1 + c, n, &pipes[c]);
	for (int t = 0; t < n_threads; t++) {
		threads[t].index = 1 + n_children + t;
		threads[t].workers = n;
		if (pthread_create(&threads[t].id, NULL, run_thread, &threads[t]))
			die("pthread_create");
	}
	for (int r = 0; r < (options.list ? 1 : options.repeat); r++) {
		run_share(n);
		if (options.tmpfs)
			run_tmpfs();
	}
	for (int t = 0; t < n_threads; t++) {
		pthread_join(threads[t].id, NULL);
		workers[threads[t].index] = threads[t].worker;
	}
	if (options.list)
		return 0;

	format_log(&workers[0]);
	for (int c = 0; c < n_children; c++)
		collect_child(children[c], pipes[c], &workers[1 + c]);
	for (int t = 0; t < n_threads; t++)
		format_log(&workers[threads[t].index]);
	f = fopen(options.out, "we");
	if (!f)
		die(options.out);
	write_run(f, argc, argv);
	for (int k = 0; k < n; k++)
		write_numbered(f, workers[k].text, workers[k].text_size, &i);
	if (fclose(f))
		die(options.out);
	return 0;
}
