/*
 * Every decision of a memory file by 32-bit system calls, each written down with what it returned,
 * as samples/workload does: compat OUT. It needs no libc, so that no 32-bit one must be installed;
 * built with -m64 it is a 64-bit process that makes the same calls by int 0x80.
 */
typedef unsigned int u32;
typedef unsigned long long u64;

enum {
	NR_READ = 3, NR_WRITE = 4, NR_OPEN = 5, NR_CLOSE = 6, NR_GETPID = 20, NR_FCNTL = 55,
	NR_OLD_MMAP = 90, NR_MUNMAP = 91, NR_FTRUNCATE = 93, NR_FCHMOD = 94, NR_READV = 145,
	NR_WRITEV = 146, NR_PREAD64 = 180, NR_PWRITE64 = 181, NR_MMAP2 = 192, NR_TRUNCATE64 = 193,
	NR_FTRUNCATE64 = 194, NR_FSTAT64 = 197, NR_FCNTL64 = 221, NR_EXIT_GROUP = 252,
	NR_FALLOCATE = 324, NR_PREADV = 333, NR_PWRITEV = 334, NR_NAME_TO_HANDLE_AT = 341,
	NR_MEMFD_CREATE = 356,
};
enum { RDONLY = 0, WRONLY = 01, RDWR = 02, CREAT = 0100, TRUNC = 01000 };
enum { ADD_SEALS = 1033, GET_SEALS = 1034 };
enum { SEAL = 1, SHRINK = 2, GROW = 4, WRITE_ = 8 };
enum { PROT_R = 1, PROT_RW = 3, SHARED = 1, PRIVATE = 2 };
enum { PAGE = 4096, SIZE = 4 * PAGE, MOST = 200 };

#ifdef __i386__
#define NAME "compat-32"
#else
#define NAME "compat-64"
#endif

struct file {
	int fd, ro;
	const char *name;
	u32 dev, ino, gen, seals, mode;
	u64 size;
};

struct call {
	const char *op, *call, *variant, *name;
	int setup, fd;
	u32 dev, ino, gen, seals, seals_after, mode;
	u64 size, size_after, offset, length, arg;
	long long answer, returned;
};

struct mapping {
	struct file file;
	u32 seals_after, address;
	u64 length, offset;
	int shared, writable, began, ended;
};

static struct call calls[MOST];
static struct mapping mappings[MOST];
static int n_calls, n_mappings, step, setup, pid;
static const char *variant;
static char data[PAGE], path[4096], text[1 << 18];
static u32 n_text;
static u32 sixth __attribute__((used));

/* ---- system calls: all pointers are into this program, so they have 32 bits in either build -- */

static long long sys(u32 nr, u32 a, u32 b, u32 c, u32 d, u32 e, u32 f)
{
	u32 r;

	sixth = f;
#ifdef __i386__
	__asm__ volatile("push %%ebp; mov sixth, %%ebp; int $0x80; pop %%ebp"
			 : "=a"(r) : "0"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
#else
	__asm__ volatile("push %%rbp; mov sixth, %%ebp; int $0x80; pop %%rbp"
			 : "=a"(r) : "0"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
			 : "memory", "r8", "r9", "r10", "r11");
#endif
	return r > -4096U ? (int)r : (long long)r;
}

static u32 at(const void *address)
{
	return (u32)(unsigned long)address;
}

#define SYS6(nr, a, b, c, d, e, f, ...) sys(nr, a, b, c, d, e, f)
#define SYS(...) SYS6(__VA_ARGS__, 0, 0, 0, 0, 0, 0)

/* ---- text ---------------------------------------------------------------------------------- */

static void put(const char *s)
{
	while (*s)
		text[n_text++] = *s++;
}

static void number(long long value)
{
	char digits[24];
	int n = 0;

	if (value < 0) {
		put("-");
		value = -value;
	}
#ifdef __i386__
	/* The compiler's own 64-bit division is in a library. */
	do {
		u64 left = value, quotient = 0;

		for (int bit = 60; bit >= 0; bit--)
			if (left >> bit >= 10) {
				left -= 10ULL << bit;
				quotient |= 1ULL << bit;
			}
		digits[n++] = '0' + (int)left;
		value = quotient;
	} while (value);
#else
	do
		digits[n++] = '0' + value % 10;
	while (value /= 10);
#endif
	while (n)
		text[n_text++] = digits[--n];
}

static void field(const char *name, long long value)
{
	put(",\"");
	put(name);
	put("\":");
	number(value);
}

static void word(const char *name, const char *value)
{
	put(",\"");
	put(name);
	put(value ? "\":\"" : "\":null");
	if (value) {
		put(value);
		put("\"");
	}
}

static void flag(const char *name, int value)
{
	put(",\"");
	put(name);
	put(value ? "\":true" : "\":false");
}

static const char *error(long long answer)
{
	switch (answer) {
	case -1:
		return "EPERM";
	case -9:
		return "EBADF";
	case -13:
		return "EACCES";
	case -14:
		return "EFAULT";
	case -16:
		return "EBUSY";
	case -22:
		return "EINVAL";
	}
	return answer < 0 ? "another" : 0;
}

/* ---- the log ------------------------------------------------------------------------------- */

static void look(struct file *f)
{
	static u32 stat[24]; /* struct stat64 of i386 */
	u32 seals = SYS(NR_FCNTL64, f->fd, GET_SEALS);

	SYS(NR_FSTAT64, f->fd, at(stat));
	f->dev = (stat[0] >> 8 & 0xfff) << 20 | (stat[0] >> 12 & 0xfff00) | (stat[0] & 0xff);
	f->ino = stat[22];
	f->mode = stat[4] & 07777;
	f->size = stat[11] | (u64)stat[12] << 32;
	f->seals = seals;
}

static long long begin(const char *op, const char *call, struct file *f, int fd, u64 offset,
		       u64 length, u64 arg)
{
	struct call *c = &calls[n_calls++];

	*c = (struct call){
		.op = op, .call = call, .variant = variant, .name = NAME, .setup = setup,
		.fd = fd, .offset = offset, .length = length, .arg = arg,
	};
	if (f) {
		look(f);
		c->seals = f->seals;
		c->size = f->size;
		c->mode = f->mode;
	}
	return 0;
}

static long long finish(struct file *f, long long returned)
{
	struct call *c = &calls[n_calls - 1];

	c->returned = returned;
	c->answer = returned;
	if (f) {
		look(f);
		c->seals_after = f->seals;
		c->size_after = f->size;
		c->dev = f->dev;
		c->ino = f->ino;
		c->gen = f->gen;
	}
	return returned;
}

#define CALL(op, call, f, fd, offset, length, arg, ...) \
	(begin(op, call, f, fd, offset, length, arg), finish(f, SYS(__VA_ARGS__)))

static void put_file(u32 dev, u32 ino, u32 gen)
{
	word("object", ino ? "memfd" : "none");
	word("name", ino ? NAME : "");
	field("dev", dev);
	field("ino", ino);
	field("gen", gen);
}

static void put_call(int i)
{
	struct call *c = &calls[i];

	put("{\"type\":\"call\"");
	field("i", i);
	field("worker", 0);
	field("pid", pid);
	field("tid", pid);
	word("abi", "i386");
	word("op", c->op);
	word("call", c->call);
	word("variant", c->variant);
	word("set", "-");
	flag("setup", c->setup);
	put_file(c->dev, c->ino, c->gen);
	field("fd", c->fd);
	field("seals", c->seals);
	field("seals_after", c->seals_after);
	field("mode", c->mode);
	field("size", c->size);
	field("size_after", c->size_after);
	field("offset", c->offset);
	field("length", c->length);
	field("arg", c->arg);
	field("answer", c->answer);
	field("returned", c->returned);
	word("errno", error(c->answer));
	flag("reaches_kernel_hook", 1);
	put("}\n");
}

static void put_mapping(int i)
{
	struct mapping *m = &mappings[i];

	put("{\"type\":\"mapping\"");
	field("i", n_calls + i);
	field("worker", 0);
	field("pid", pid);
	field("tid", pid);
	word("cause", "mmap");
	put_file(m->file.dev, m->file.ino, m->file.gen);
	field("seals", m->file.seals);
	field("seals_after", m->seals_after);
	field("address", m->address);
	field("length", m->length);
	field("offset", m->offset);
	flag("shared", m->shared);
	flag("writable", m->writable);
	flag("reinserted", 0);
	field("began", m->began);
	field("ended", m->ended);
	put("}\n");
}

/* ---- the calls ----------------------------------------------------------------------------- */

static void create(struct file *f, const char *how, u32 flags)
{
	static u32 handle[34];

	variant = how;
	*f = (struct file){ .name = NAME };
	begin("create", "memfd_create", 0, -1, 0, 0, flags);
	f->fd = SYS(NR_MEMFD_CREATE, at(f->name), flags);
	if (f->fd < 0) {
		finish(0, f->fd);
		return;
	}
	/* tmpfs's handle begins with the generation (mm/shmem.c:shmem_encode_fh). */
	handle[0] = sizeof(handle) - 8;
	SYS(NR_NAME_TO_HANDLE_AT, f->fd, at(""), at(handle), at(&sixth), 0x1000);
	f->gen = handle[2];
	finish(f, f->fd);
}

static int reopen(struct file *f, int flags)
{
	static char name[] = "/proc/self/fd/0";

	name[sizeof(name) - 2] = '0' + f->fd;
	return SYS(NR_OPEN, at(name), flags);
}

static struct mapping *mapped(struct file *f, long long address, u64 length, u64 offset, int prot,
			      int flags)
{
	struct mapping *m = &mappings[n_mappings];

	if (address < 0)
		return 0;
	n_mappings++;
	*m = (struct mapping){
		.file = *f, .address = address, .length = length, .offset = offset,
		.shared = flags == SHARED, .writable = prot == PROT_RW, .began = step++,
	};
	return m;
}

static void unmap(struct file *f, struct mapping *m)
{
	if (!m)
		return;
	SYS(NR_MUNMAP, m->address, m->length);
	m->ended = step++;
	look(f);
	m->seals_after = f->seals;
}

static struct mapping *map(struct file *f, const char *how, int fd, u64 offset, int prot, int flags)
{
	long long address;

	variant = how;
	address = CALL("mmap", "mmap2", f, fd, offset, PAGE, (u64)flags << 32 | prot,
		       NR_MMAP2, 0, PAGE, prot, flags, fd, offset / PAGE);
	return mapped(f, address, PAGE, offset, prot, flags);
}

static void old_map(struct file *f, const char *how, int prot, int flags)
{
	static u32 asked[6];
	long long address;

	variant = how;
	asked[1] = PAGE;
	asked[2] = prot;
	asked[3] = flags;
	asked[4] = f->fd;
	asked[5] = PAGE;
	address = CALL("mmap", "mmap", f, f->fd, PAGE, PAGE, (u64)flags << 32 | prot,
		       NR_OLD_MMAP, at(asked));
	unmap(f, mapped(f, address, PAGE, PAGE, prot, flags));
}

static void seal(struct file *f, const char *how, int fd, u32 nr, u32 seals)
{
	variant = how;
	CALL("add_seals", nr == NR_FCNTL ? "fcntl" : "fcntl64", f, fd, 0, 0, seals,
	     nr, fd, ADD_SEALS, seals);
}

static void truncate(struct file *f, const char *how, u32 nr, u64 length)
{
	variant = how;
	CALL("truncate", nr == NR_FTRUNCATE ? "ftruncate" : "ftruncate64", f, f->fd, 0, length, 0,
	     nr, f->fd, length, 0);
}

/* All that a seal forbids, and what it does not. */
static void walk(struct file *f)
{
	static u32 vector[4];
	int fd = f->fd;

	vector[0] = at(data);
	vector[1] = 8;
	vector[2] = at(data + 8);
	vector[3] = 16;
	variant = "write_inside";
	CALL("write", "write", f, fd, 0, 64, 0, NR_WRITE, fd, at(data), 64);
	CALL("write", "writev", f, fd, f->seals & WRITE_ ? 0 : 64, 24, 0,
	     NR_WRITEV, fd, at(vector), 2);
	variant = "pwrite_inside";
	CALL("write", "pwrite64", f, fd, PAGE, 64, 0, NR_PWRITE64, fd, at(data), 64, PAGE, 0);
	CALL("write", "pwritev", f, fd, PAGE + 100, 24, 0,
	     NR_PWRITEV, fd, at(vector), 2, PAGE + 100, 0);
	variant = "crossing_size";
	CALL("write", "pwrite64", f, fd, f->size - 32, 64, 0,
	     NR_PWRITE64, fd, at(data), 64, f->size - 32, 0);
	variant = "read";
	CALL("read", "pread64", f, fd, 10, 100, 0, NR_PREAD64, fd, at(data), 100, 10, 0);
	CALL("read", "preadv", f, fd, 20, 24, 0, NR_PREADV, fd, at(vector), 2, 20, 0);
	CALL("read", "read", f, f->ro, 0, 100, 0, NR_READ, f->ro, at(data), 100);
	CALL("read", "readv", f, f->ro, 100, 24, 0, NR_READV, f->ro, at(vector), 2);
	truncate(f, "ftruncate_smaller", NR_FTRUNCATE, f->size - PAGE);
	truncate(f, "ftruncate_larger", NR_FTRUNCATE64, f->size + PAGE);
	truncate(f, "ftruncate_same", NR_FTRUNCATE64, f->size);
	variant = "inside";
	CALL("allocate", "fallocate", f, fd, PAGE, PAGE, 0,
	     NR_FALLOCATE, fd, 0, PAGE, 0, PAGE, 0);
	CALL("punch_hole", "fallocate", f, fd, PAGE, PAGE, 3,
	     NR_FALLOCATE, fd, 3, PAGE, 0, PAGE, 0);
	variant = "crossing";
	CALL("allocate", "fallocate", f, fd, f->size - PAGE, 2 * PAGE, 0,
	     NR_FALLOCATE, fd, 0, f->size - PAGE, 0, 2 * PAGE, 0);
	variant = "other_bits";
	CALL("chmod", "fchmod", f, fd, 0, 0, f->mode ^ 044, NR_FCHMOD, fd, f->mode ^ 044);
	unmap(f, map(f, "shared_w_rw", fd, 0, PROT_RW, SHARED));
	unmap(f, map(f, "shared_r_ro", f->ro, PAGE, PROT_R, SHARED));
	unmap(f, map(f, "shared_w_ro", f->ro, 0, PROT_RW, SHARED));
	unmap(f, map(f, "private_w_rw", fd, 2 * PAGE, PROT_RW, PRIVATE));
	old_map(f, "shared_w_rw", PROT_RW, SHARED);
	old_map(f, "private_r_rw", PROT_R, PRIVATE);
	seal(f, "read_only_fd", f->ro, NR_FCNTL64, GROW);
	seal(f, "unknown_bits", fd, NR_FCNTL64, 0x80 | GROW);
	seal(f, "none_more", fd, NR_FCNTL, 0);
}

static void by_path(struct file *f)
{
	static char name[] = "/proc/self/fd/0";
	int fd;

	name[sizeof(name) - 2] = '0' + f->fd;
	variant = "path_larger";
	CALL("truncate", "truncate64", f, -1, 0, f->size + PAGE, 0,
	     NR_TRUNCATE64, at(name), (u32)f->size + PAGE, 0);
	variant = "open_trunc";
	begin("truncate", "open", f, -1, 0, 0, 0);
	fd = reopen(f, RDWR | TRUNC);
	finish(f, fd);
	if (fd >= 0) {
		calls[n_calls - 1].answer = 0;
		SYS(NR_CLOSE, fd);
	}
}

static void open_file(struct file *f)
{
	setup = 1;
	create(f, "setup", 3);
	truncate(f, "setup", NR_FTRUNCATE64, SIZE);
	f->ro = reopen(f, RDONLY);
	setup = 0;
}

static void all(void)
{
	struct file plain, sealed, other;
	struct mapping *busy;

	open_file(&plain);
	walk(&plain);
	by_path(&plain);

	open_file(&sealed);
	busy = map(&sealed, "shared_w_rw", sealed.fd, 0, PROT_RW, SHARED);
	seal(&sealed, "busy_shared_w", sealed.fd, NR_FCNTL64, WRITE_);
	seal(&sealed, "busy_shared_w", sealed.fd, NR_FCNTL, WRITE_);
	unmap(&sealed, busy);
	seal(&sealed, "some", sealed.fd, NR_FCNTL64, SHRINK);
	seal(&sealed, "some", sealed.fd, NR_FCNTL, GROW | WRITE_);
	walk(&sealed);
	by_path(&sealed);
	seal(&sealed, "some", sealed.fd, NR_FCNTL64, SEAL);
	seal(&sealed, "after_seal", sealed.fd, NR_FCNTL64, SHRINK);

	create(&other, "unknown_flag", 0x40000000);
	create(&other, "plain", 1);
	SYS(NR_CLOSE, other.fd);
}

__attribute__((used)) void begin_c(char **argv)
{
	int out, n = 0;

	/* The stack of a 64-bit process is beyond 32 bits. */
	while (argv[1] && argv[1][n] && n < (int)sizeof(path) - 1) {
		path[n] = argv[1][n];
		n++;
	}
	pid = SYS(NR_GETPID);
	all();
	put("{\"type\":\"run\",\"version\":1");
	field("pid", pid);
	put("}\n");
	for (int i = 0; i < n_calls; i++)
		put_call(i);
	for (int i = 0; i < n_mappings; i++)
		put_mapping(i);
	out = SYS(NR_OPEN, at(path), WRONLY | CREAT | TRUNC, 0644);
	SYS(NR_EXIT_GROUP, out < 0 || SYS(NR_WRITE, out, at(text), n_text) != (int)n_text);
}

#ifdef __i386__
__asm__(".globl _start\n_start: lea 4(%esp), %eax; and $-16, %esp; sub $12, %esp; push %eax;"
	"call begin_c; hlt");
#else
__asm__(".globl _start\n_start: lea 8(%rsp), %rdi; and $-16, %rsp; call begin_c; hlt");
#endif
