/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks through the known holes of shipped kernels: calls that a seal forbids and the kernel lets
 * through all the same. Each is tried on a scratch file of its own, beside controls: calls that
 * differ from it in one thing and get the right answer. What every call returned is written down
 * as samples/workload does it, and of each hole whether it was open: not only that the call
 * succeeded, but that what the seal forbids happened. README.md beside this has the format.
 *
 * Nothing is harmed: the files are this process's own and gone when it ends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Older headers lack some of these; the values are kernel ABI. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x8U
#endif
#ifndef MFD_HUGETLB
#define MFD_HUGETLB 0x4U
#endif
enum { GROW = 0x04, WRITE = 0x08, FUTURE_WRITE = 0x10, EXEC = 0x20 };
enum { PAGE = 4096, PAGES = 4, AT = 100, MARK = 'S', MOST_CALLS = 200 };
enum { RW = PROT_READ | PROT_WRITE };

struct file {
	int fd;
	bool huge;
	char name[64];
	long long unit;			/* a page or a huge page */
	uint64_t ino;
	uint32_t dev, gen;
	bool gen_known;
};

/* Whether a call is the hole itself, a control beside it, or what both need. */
enum role { SETUP, CONTROL, HOLE };

struct call {
	const char *op, *call, *hole, *variant, *must;
	enum role role;
	bool opened;
	struct file file;
	int fd, error;
	unsigned int seals, seals_after, mode, mode_after;
	long long size, size_after, offset, length;
	uint64_t arg;
	long answer;
};

static struct call calls[MOST_CALLS];
static size_t n_calls;
/* What the next call is: its hole, its variant, its role, and a control's right answer. */
static struct {
	const char *hole, *variant, *must;
	enum role role;
} now;

static void die(const char *what)
{
	fprintf(stderr, "holes: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- the log ------------------------------------------------------------------------------ */

static unsigned int seals_of(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals < 0 ? 0 : (unsigned int)seals;
}

static void look(const struct file *f, unsigned int *seals, unsigned int *mode, long long *size)
{
	struct stat st;

	if (fstat(f->fd, &st) < 0)
		die("fstat");
	*seals = seals_of(f->fd);
	*mode = st.st_mode & 07777;
	*size = st.st_size;
}

static void begin(const char *op, const char *call, const struct file *f, int fd,
		  long long offset, long long length, uint64_t arg)
{
	struct call *c = &calls[n_calls++];

	if (n_calls == MOST_CALLS)
		die("too many calls");
	*c = (struct call){
		.op = op, .call = call, .hole = now.hole, .variant = now.variant,
		.role = now.role, .must = now.role == CONTROL ? now.must : NULL,
		.file = { .fd = -1 },
		.fd = fd, .offset = offset, .length = length, .arg = arg,
	};
	if (f) {
		c->file = *f;
		look(f, &c->seals, &c->mode, &c->size);
	}
	errno = 0;
}

static struct call *finish(const struct file *f, long returned)
{
	struct call *c = &calls[n_calls - 1];

	c->error = returned < 0 ? errno : 0;
	c->answer = returned < 0 ? -c->error : returned;
	if (f)
		look(f, &c->seals_after, &c->mode_after, &c->size_after);
	return c;
}

#define CALL(op, call, f, fd, offset, length, arg, expression) \
	(begin(op, call, f, fd, offset, length, arg), finish(f, (long)(expression)))

static void setup(void)
{
	now.variant = "setup";
	now.role = SETUP;
}

/* The next call is a control, to which every kernel should answer `must`. */
static void control(const char *variant, const char *must)
{
	now.variant = variant;
	now.role = CONTROL;
	now.must = must;
}

static void try_hole(const char *variant)
{
	now.variant = variant;
	now.role = HOLE;
}

static void tell(struct call *c, bool opened)
{
	c->opened = opened;
	fprintf(stderr, "holes: %s, %s: %s\n", c->hole, c->variant,
		opened ? "OPEN" : c->error ? strerrorname_np(c->error) : "closed");
}

/* ---- files -------------------------------------------------------------------------------- */

/* The inode generation is visible to user space only inside the kernel's file handle. */
static void find_generation(struct file *f)
{
	union {
		struct file_handle head;
		char room[sizeof(struct file_handle) + 128];
	} handle = { .head.handle_bytes = 128 };
	uint32_t word[3];
	int mount;

	if (name_to_handle_at(f->fd, "", &handle.head, &mount, AT_EMPTY_PATH) < 0)
		return;
	if (handle.head.handle_bytes < sizeof(word))
		return;
	memcpy(word, handle.head.f_handle, sizeof(word));
	if (word[1] != (uint32_t)f->ino || word[2] != f->ino >> 32)
		return;			/* not tmpfs's form: generation, inode number */
	f->gen = word[0];
	f->gen_known = true;
}

static bool create(struct file *f, unsigned int flags)
{
	static unsigned int files;
	struct call *c;
	struct stat st;

	setup();
	*f = (struct file){ .huge = flags & MFD_HUGETLB };
	snprintf(f->name, sizeof(f->name), "%s-%u", now.hole, files++);
	begin("create", "memfd_create", NULL, -1, 0, 0, flags);
	f->fd = (int)syscall(SYS_memfd_create, f->name, flags);
	c = finish(NULL, f->fd);
	if (f->fd < 0)
		return false;
	if (fstat(f->fd, &st) < 0)
		die("fstat");
	f->ino = st.st_ino;
	f->dev = major(st.st_dev) << 20 | minor(st.st_dev);	/* the kernel's own dev_t */
	f->unit = f->huge ? (long long)st.st_blksize : PAGE;
	find_generation(f);
	c->file = *f;
	look(f, &c->seals_after, &c->mode_after, &c->size_after);
	return true;
}

static struct call *resize(const struct file *f, long long size)
{
	return CALL("truncate", "ftruncate", f, f->fd, 0, size, 0, ftruncate(f->fd, size));
}

static struct call *add_seals(const struct file *f, unsigned int seals)
{
	return CALL("add_seals", "fcntl", f, f->fd, 0, 0, seals,
		    fcntl(f->fd, F_ADD_SEALS, seals));
}

static struct call *set_mode(const struct file *f, unsigned int mode)
{
	return CALL("chmod", "fchmod", f, f->fd, 0, 0, mode, fchmod(f->fd, mode));
}

static struct call *write_byte(const struct file *f, long long offset)
{
	return CALL("write", "pwrite64", f, f->fd, offset, 1, 0, pwrite(f->fd, "w", 1, offset));
}

/* One unit of the file; `at` NULL lets the kernel choose the place. */
static struct call *map(const struct file *f, char *at, int prot, int flags, long long unit)
{
	uint64_t arg;

	flags |= at ? MAP_FIXED : 0;
	arg = (uint64_t)prot | (uint64_t)(unsigned int)flags << 32;
	return CALL("mmap", "mmap", f, f->fd, unit * f->unit, f->unit, arg,
		    syscall(SYS_mmap, at, f->unit, prot, flags, f->fd, unit * f->unit));
}

/* Stores through a mapping and asks the file itself whether the byte arrived. */
static bool store_lands(const struct file *f, long address, long long offset)
{
	char got = 0;

	((volatile char *)address)[AT] = MARK;
	setup();
	if (f->huge)			/* read by a function that no hook sees: not written down */
		return pread(f->fd, &got, 1, offset + AT) == 1 && got == MARK;
	CALL("read", "pread64", f, f->fd, offset + AT, 1, 0, pread(f->fd, &got, 1, offset + AT));
	return got == MARK;
}

/* Addresses that nothing else will be put at, with a gap on both sides. */
static char *arena(void)
{
	char *start = mmap(NULL, (PAGES + 2) * PAGE, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (start == MAP_FAILED)
		die("mmap");
	return start + PAGE;
}

/* ---- FUTURE_WRITE: a mapping that merges with an older one is not checked ----------------- */

static void sealed_with_old(struct file *f, char *place, const long *old, int n_old)
{
	if (!create(f, MFD_CLOEXEC | MFD_ALLOW_SEALING))
		die("memfd_create");
	resize(f, PAGES * PAGE);
	for (int i = 0; i < n_old; i++)
		if (map(f, place + old[i] * PAGE, RW, MAP_SHARED, old[i])->answer < 0)
			die("mmap of an unsealed file");
	add_seals(f, FUTURE_WRITE);
}

static void merge(const char *variant, const long *old, int n_old, long page)
{
	char *place = arena();
	struct call *c;
	struct file f;

	sealed_with_old(&f, place, old, n_old);
	try_hole(variant);
	c = map(&f, place + page * PAGE, RW, MAP_SHARED, page);
	tell(c, c->answer >= 0 && store_lands(&f, c->answer, page * PAGE));
	munmap(place - PAGE, (PAGES + 2) * PAGE);
	close(f.fd);
}

static void future_write_merge(void)
{
	char *place = arena(), *elsewhere = arena();
	struct file f;

	now.hole = "future-write-merge";
	merge("behind", (long[]){ 0 }, 1, 1);
	merge("before", (long[]){ 2 }, 1, 1);
	merge("between", (long[]){ 0, 2 }, 2, 1);

	sealed_with_old(&f, place, (long[]){ 0 }, 1);
	control("elsewhere", "EPERM");
	map(&f, elsewhere + PAGE, RW, MAP_SHARED, 1);
	control("apart in memory", "EPERM");
	map(&f, place + 2 * PAGE, RW, MAP_SHARED, 1);
	control("apart in the file", "EPERM");
	map(&f, place + PAGE, RW, MAP_SHARED, 2);
	control("other protection", "EPERM");
	map(&f, place + PAGE, PROT_WRITE, MAP_SHARED, 1);
	control("write", "EPERM");
	write_byte(&f, PAGE);
	control("read-only", "ok");
	map(&f, place + PAGE, PROT_READ, MAP_SHARED, 1);
	control("private", "ok");
	map(&f, elsewhere, RW, MAP_PRIVATE, 1);
	munmap(place - PAGE, (PAGES + 2) * PAGE);
	munmap(elsewhere - PAGE, (PAGES + 2) * PAGE);
	close(f.fd);
}

/* ---- FUTURE_WRITE: a writable mapping that grows makes more of the file writable ----------- */

enum { VM_PRIVATE_RW = 0x03, VM_SHARED_RW = 0x8b, VM_SHARED_RO = 0x89 };	/* VM_* of mm.h */

static struct call *resize_mapping(const struct file *f, char *from, long old_pages, long pages,
				   int flags, int vm_flags)
{
	uint64_t arg = (uint64_t)flags | (uint64_t)vm_flags << 8 | (uint64_t)old_pages << 16;

	return CALL("mremap", "mremap", f, -1, 0, pages * PAGE, arg,
		    syscall(SYS_mremap, from, old_pages * PAGE, pages * PAGE, flags, NULL));
}

/* The last page of the mapping was none of it before. */
static void grow(const char *variant, int mapped, long old_pages, long pages, int flags)
{
	char *place = arena();
	struct call *c;
	struct file f;

	sealed_with_old(&f, place, (long[]){ 0, 1 }, mapped);
	munmap(place + mapped * PAGE, (PAGES - mapped) * PAGE);
	try_hole(variant);
	c = resize_mapping(&f, place, old_pages, pages, flags, VM_SHARED_RW);
	tell(c, c->answer > 0 && store_lands(&f, c->answer + (pages - 1) * PAGE,
					     (pages - 1) * PAGE));
	if (c->answer > 0)
		munmap((void *)c->answer, (size_t)(pages * PAGE));
	munmap(place - PAGE, (PAGES + 2) * PAGE);
	close(f.fd);
}

static void future_write_mremap(void)
{
	char *place = arena(), *elsewhere = arena();
	struct file f;

	now.hole = "future-write-mremap";
	grow("in place", 1, 1, 2, 0);
	grow("moved", 1, 1, 3, MREMAP_MAYMOVE);
	grow("copied", 2, 0, 3, MREMAP_MAYMOVE);	/* old length 0: another mapping of it */

	sealed_with_old(&f, place, (long[]){ 0, 1 }, 2);
	control("elsewhere", "EPERM");
	map(&f, elsewhere + PAGE, RW, MAP_SHARED, 2);
	control("shrinks", "ok");
	resize_mapping(&f, place, 2, 1, 0, VM_SHARED_RW);
	control("same length", "ok");
	resize_mapping(&f, place, 1, 1, 0, VM_SHARED_RW);
	control("private", "ok");
	map(&f, elsewhere, RW, MAP_PRIVATE, 0);
	resize_mapping(&f, elsewhere, 1, 2, MREMAP_MAYMOVE, VM_PRIVATE_RW);
	close(f.fd);
}

/* ---- hugetlb ------------------------------------------------------------------------------ */

static bool huge_under(struct file *f, unsigned int seals)
{
	if (!create(f, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB))
		return false;
	resize(f, f->unit);
	add_seals(f, seals);
	return true;
}

static void unmap_call(const struct file *f, const struct call *c)
{
	if (c->answer > 0)
		munmap((void *)c->answer, (size_t)f->unit);
}

/* FUTURE_WRITE was not asked for at first. */
static void hugetlb_future_write(void)
{
	struct call *c;
	struct file f;

	now.hole = "hugetlb-future-write";
	if (!huge_under(&f, FUTURE_WRITE))
		return;
	try_hole("mapped");
	c = map(&f, NULL, RW, MAP_SHARED, 0);
	tell(c, c->answer > 0 && store_lands(&f, c->answer, 0));
	unmap_call(&f, c);
	control("read-only", "ok");
	unmap_call(&f, map(&f, NULL, PROT_READ, MAP_SHARED, 0));
	control("private", "ok");
	unmap_call(&f, map(&f, NULL, RW, MAP_PRIVATE, 0));
	control("punch hole", "EPERM");
	CALL("punch_hole", "fallocate", &f, f.fd, 0, f.unit, 3,
	     fallocate(f.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, f.unit));
	close(f.fd);
}

/* ---- GROW: mapping a hugetlb file past its end makes it larger ---------------------------- */

static void past_the_end(const char *variant, int flags)
{
	struct call *c;
	struct file f;

	if (!huge_under(&f, GROW))
		return;
	try_hole(variant);
	c = map(&f, NULL, RW, flags, 1);
	if (c->answer > 0 && c->size_after > c->size)
		((volatile char *)c->answer)[AT] = MARK;	/* SIGBUS, were it past the end */
	tell(c, c->size_after > c->size);
	unmap_call(&f, c);
	close(f.fd);
}

static void hugetlb_grow(void)
{
	struct file f;

	now.hole = "hugetlb-grow";
	past_the_end("shared", MAP_SHARED);
	past_the_end("private", MAP_PRIVATE);

	if (!huge_under(&f, GROW))
		return;
	control("ftruncate", "EPERM");
	resize(&f, 2 * f.unit);
	control("fallocate", "EPERM");
	CALL("allocate", "fallocate", &f, f.fd, f.unit, f.unit, 0,
	     fallocate(f.fd, 0, f.unit, f.unit));
	control("inside", "ok");
	unmap_call(&f, map(&f, NULL, RW, MAP_SHARED, 0));
	close(f.fd);
}

/* ---- EXEC on an executable file implies WRITE, though writable mappings live -------------- */

static struct call *seal_mapped(struct file *f, struct call **mapping, enum role role,
				const char *variant, const char *must, unsigned int seals)
{
	if (!create(f, MFD_CLOEXEC | MFD_ALLOW_SEALING))
		die("memfd_create");
	resize(f, PAGES * PAGE);
	*mapping = map(f, NULL, RW, MAP_SHARED, 0);
	if ((*mapping)->answer < 0)
		die("mmap of an unsealed file");
	now.variant = variant;
	now.must = must;
	now.role = role;
	return add_seals(f, seals);
}

static void exec_implies_write(void)
{
	struct call *c, *mapping;
	struct file f;
	bool known;

	now.hole = "exec-implies-write";
	if (!create(&f, MFD_CLOEXEC | MFD_ALLOW_SEALING))
		die("memfd_create");
	set_mode(&f, 0600);
	known = add_seals(&f, EXEC)->error != EINVAL;
	close(f.fd);

	c = seal_mapped(&f, &mapping, HOLE, "mapped", NULL, EXEC);
	tell(c, c->seals_after & WRITE && store_lands(&f, mapping->answer, 0));
	unmap_call(&f, mapping);
	control("unmapped", known ? "ok" : "EINVAL");
	add_seals(&f, EXEC);
	control("write", c->seals_after & WRITE || known ? "EPERM" : "ok");
	write_byte(&f, 0);
	close(f.fd);

	seal_mapped(&f, &mapping, CONTROL, "WRITE itself", "EBUSY", WRITE);
	unmap_call(&f, mapping);
	close(f.fd);
	seal_mapped(&f, &mapping, CONTROL, "WRITE and EXEC", known ? "EBUSY" : "EINVAL",
		    WRITE | EXEC);
	unmap_call(&f, mapping);
	close(f.fd);
}

/* ---- EXEC: the mode of a hugetlb file is not protected ------------------------------------ */

static void hugetlb_exec(void)
{
	struct call *c;
	struct file f;

	now.hole = "hugetlb-exec";
	if (!create(&f, MFD_CLOEXEC | MFD_HUGETLB | MFD_NOEXEC_SEAL))
		return;			/* a kernel without the seal */
	try_hole("chmod +x");
	c = set_mode(&f, 0777);
	tell(c, c->seals & EXEC && (c->mode_after & ~c->mode & 0111));
	control("chmod of other bits", "ok");
	set_mode(&f, c->mode_after ^ 0044);
	close(f.fd);

	if (!create(&f, MFD_CLOEXEC | MFD_NOEXEC_SEAL))
		die("memfd_create");
	control("chmod +x of a memfd", "EPERM");
	set_mode(&f, 0777);
	close(f.fd);
}

/* ---- JSON: all text is this file's own and needs no escaping ------------------------------- */

static void put_call(FILE *out, size_t i, const struct call *c)
{
	static const char *const roles[] = { "setup", "control", "hole" };
	const char *error = c->error ? strerrorname_np(c->error) : NULL;

	fprintf(out, "{\"i\":%zu,\"type\":\"call\",\"worker\":0,\"pid\":%d,\"tid\":%d", i,
		getpid(), getpid());
	fprintf(out, ",\"op\":\"%s\",\"call\":\"%s\",\"variant\":\"%s\",\"set\":\"%s\"", c->op,
		c->call, c->variant, c->hole);
	fprintf(out, ",\"setup\":%s,\"role\":\"%s\",\"hole\":\"%s\",\"opened\":%s",
		c->role == SETUP ? "true" : "false", roles[c->role], c->hole,
		c->role != HOLE ? "null" : c->opened ? "true" : "false");
	fprintf(out, c->must ? ",\"must\":\"%s\"" : ",\"must\":null", c->must);
	fprintf(out, ",\"object\":\"%s\",\"name\":\"%s\",\"dev\":%u,\"ino\":%llu,\"gen\":",
		c->file.fd < 0 ? "none" : c->file.huge ? "hugetlb" : "memfd", c->file.name,
		c->file.dev, (unsigned long long)c->file.ino);
	fprintf(out, c->file.gen_known ? "%u" : "null", c->file.gen);
	fprintf(out, ",\"fd\":%d,\"seals\":%u,\"seals_after\":%u,\"size\":%lld,\"size_after\":%lld",
		c->fd, c->seals, c->seals_after, c->size, c->size_after);
	fprintf(out, ",\"mode\":%u,\"mode_after\":%u,\"offset\":%lld,\"length\":%lld,\"arg\":%llu",
		c->mode, c->mode_after, c->offset, c->length, (unsigned long long)c->arg);
	fprintf(out, ",\"answer\":%ld,\"returned\":%ld", c->answer, c->error ? -1 : c->answer);
	fprintf(out, error ? ",\"errno\":\"%s\"" : ",\"errno\":null", error);
	fputs(",\"reaches_kernel_hook\":true,\"why_not\":null}\n", out);
}

int main(int argc, char **argv)
{
	struct utsname host;
	FILE *out = stdout;

	if (argc == 3 && !strcmp(argv[1], "--out")) {
		out = fopen(argv[2], "we");
		if (!out)
			die(argv[2]);
	} else if (argc != 1) {
		fputs("usage: holes [--out FILE]\n", stderr);
		return 2;
	}
	future_write_merge();
	future_write_mremap();
	hugetlb_future_write();
	hugetlb_grow();
	exec_implies_write();
	hugetlb_exec();

	uname(&host);
	fprintf(out, "{\"type\":\"run\",\"version\":1,\"pid\":%d,\"kernel\":\"%s\"}\n", getpid(),
		host.release);
	for (size_t i = 0; i < n_calls; i++)
		put_call(out, i, &calls[i]);
	if (fclose(out))
		die("writing what was found");
	return 0;
}
