/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VMM whose guests have private memory: software-protected VMs where the kernel has them, ordinary
 * ones elsewhere. Threads convert random ranges between private and shared (overlapping, unaligned
 * and refused ones among them), the host touches pages of both kinds, and at the end each guest reads
 * all its pages. Every call with what it returned, and this program's own array of page states, are
 * written as JSON lines: samples/README.md.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/kvm.h>

#include "shared.h"
#include "told.h"

#define PAGE 4096UL
#define CODE_AT 0x1000UL
#define GUEST_AT 0x100000UL	/* where the guest's memory begins */
#define PORT 0x10
#define MARK 'S'		/* at the start of each page that the host fills */

/* Not in the headers of Linux 6.1. */
struct attributes {
	uint64_t address, size, attributes, flags;
};
#define SET_ATTRIBUTES _IOW(KVMIO, 0xd2, struct attributes)
enum { PRIVATE = 1 << 3 };
enum { CAP_MEMORY_ATTRIBUTES = 233, CAP_GUEST_MEMFD = 234, CAP_VM_TYPES = 235 };
enum { EXIT_MEMORY_FAULT = 39 };
enum { ORDINARY_VM = 0, SW_PROTECTED_VM = 1 };

/* The guest's memory, page by page: what backs it. */
enum { BOTH, HOLE, MAPPABLE, PLAIN, PARTS };
static const struct part {
	const char *name;
	unsigned int pages;
	bool memfd, gmem;
	int gmem_flags;
} MEMORY[PARTS] = {
	[BOTH] = { "both", 256, true, true, 0 },	/* private in a guest_memfd, shared in a memfd */
	[HOLE] = { "hole", 32, false, false, 0 },	/* no memslot; can be converted all the same */
	[MAPPABLE] = { "mappable", 256, false, true, GMEM_MMAP },	/* guest_memfd alone */
	[PLAIN] = { "plain", 64, true, false, 0 },	/* a memfd alone */
};
enum { PAGES = 256 + 32 + 256 + 64, THREADS = 2, VMS = 2, SHARES = THREADS + 1 };

struct memory {
	int memfd, gmem;
	uint8_t *shared, *mapped;	/* the host's mappings of the two */
	unsigned int first;		/* page */
};
static struct vm {
	int fd, index;
	struct memory parts[PARTS];
	/* Converted by all threads: then under this lock, so that our array knows the order. */
	pthread_mutex_t lock;
	uint8_t private[PAGES];
	unsigned long taken;		/* conversions that the kernel took */
} vms[VMS];

static struct {
	long conversions, touch_every, seed, type;
	bool run, child, punch;
} want = { .conversions = 1000, .touch_every = 16, .seed = 1, .type = -1 };
static int kvm;

static unsigned long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_BOOTTIME, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

/* One line: the act, when it had ended, who, and the rest as given. */
static void __attribute__((format(printf, 2, 3))) tell(const char *act, const char *format, ...)
{
	va_list list;

	flockfile(out);
	fprintf(out, "{\"act\": \"%s\", \"time_ns\": %llu, \"pid\": %d, \"tid\": %d", act, now(),
		getpid(), (int)syscall(SYS_gettid));
	va_start(list, format);
	vfprintf(out, format, list);
	va_end(list);
	fprintf(out, "}\n");
	funlockfile(out);
}

static void tell_file(const char *act, int vm, const char *part, int fd, const char *kind, long flags,
		      unsigned long size)
{
	struct stat st;

	if (fstat(fd, &st))
		die("fstat");
	tell(act, ", \"vm\": %d, \"part\": \"%s\", \"fd\": %d, \"kind\": \"%s\", \"flags\": %ld, "
	     "\"size\": %lu, \"dev\": %lu, \"ino\": %lu", vm, part, fd, kind, flags, size,
	     (unsigned long)major(st.st_dev) << 20 | minor(st.st_dev), (unsigned long)st.st_ino);
}

/* ---- the guests' memory ------------------------------------------------------------------ */

static void set_slot(struct vm *vm, uint32_t slot, uint64_t at, uint64_t size, void *map, int gmem)
{
	struct region2 region = { .slot = slot, .guest_address = at, .size = size,
				  .address = (uint64_t)map, .flags = gmem < 0 ? 0 : REGION_GMEM,
				  .gmem_fd = gmem };
	long got = answer(gmem < 0 ? ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) :
				     ioctl(vm->fd, SET_REGION2, &region));

	tell("memslot", ", \"vm\": %d, \"slot\": %u, \"gpa\": %lu, \"length\": %lu, \"hva\": %lu, "
	     "\"flags\": %u, \"gmem\": %d, \"answer\": %ld", vm->index, slot, (unsigned long)at,
	     (unsigned long)size, (unsigned long)map, region.flags, gmem, got);
	if (got) {
		errno = -got;
		die("a memslot");
	}
}

static uint8_t *map_of(int fd, unsigned long size)
{
	uint8_t *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return map == MAP_FAILED ? NULL : map;
}

static void make_shared(struct vm *vm, const struct part *part, struct memory *memory)
{
	unsigned long size = part->pages * PAGE;

	memory->memfd = memfd_create(part->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memory->memfd < 0 || ftruncate(memory->memfd, size))
		die("memfd_create");
	memory->shared = map_of(memory->memfd, size);
	if (!memory->shared)
		die("mmap");
	tell_file("create", vm->index, part->name, memory->memfd, "memfd", 0, size);
	for (unsigned int page = 0; page < part->pages; page++)
		memory->shared[page * PAGE] = MARK;
}

/* Not every kernel's VMs take a guest_memfd; the slot is then the memfd's alone, or there is none. */
static void make_private(struct vm *vm, const struct part *part, struct memory *memory)
{
	struct create_gmem args = { .size = part->pages * PAGE, .flags = part->gmem_flags };

	memory->gmem = ioctl(vm->fd, CREATE_GMEM, &args);
	if (memory->gmem < 0) {
		tell("no_gmem", ", \"vm\": %d, \"part\": \"%s\", \"flags\": %d, \"answer\": %ld",
		     vm->index, part->name, part->gmem_flags, answer(-1));
		return;
	}
	tell_file("create", vm->index, part->name, memory->gmem, "guest_memfd", part->gmem_flags,
		  args.size);
	memory->mapped = map_of(memory->gmem, args.size);
	tell("map_gmem", ", \"vm\": %d, \"part\": \"%s\", \"fd\": %d, \"address\": %lu, "
	     "\"length\": %lu, \"answer\": %ld", vm->index, part->name, memory->gmem,
	     (unsigned long)memory->mapped, (unsigned long)args.size,
	     memory->mapped ? 0 : answer(-1));
}

/* Whether this VM's memslots take a guest_memfd: only VMs with private memory, or ones that are
   mappable and shared from the beginning. */
static bool binds_gmem(void)
{
	return want.type == SW_PROTECTED_VM;
}

static void make_memory(struct vm *vm)
{
	unsigned int first = 0;

	for (int i = 0; i < PARTS; i++) {
		struct memory *memory = &vm->parts[i];
		const struct part *part = &MEMORY[i];
		int gmem;

		*memory = (struct memory){ .memfd = -1, .gmem = -1, .first = first };
		first += part->pages;
		if (part->memfd)
			make_shared(vm, part, memory);
		if (part->gmem)
			make_private(vm, part, memory);
		gmem = binds_gmem() ? memory->gmem : -1;
		if (part->memfd || gmem >= 0)
			set_slot(vm, 1 + i, GUEST_AT + memory->first * PAGE, part->pages * PAGE,
				 memory->shared, gmem);
	}
}

static void make_vm(int index)
{
	struct vm *vm = &vms[index];

	vm->index = index;
	pthread_mutex_init(&vm->lock, NULL);
	vm->fd = ioctl(kvm, KVM_CREATE_VM, want.type);
	tell("vm", ", \"vm\": %d, \"type\": %ld, \"fd\": %d, \"answer\": %ld, \"attributes\": %d",
	     index, want.type, vm->fd, vm->fd < 0 ? answer(-1) : 0,
	     vm->fd < 0 ? 0 : ioctl(vm->fd, KVM_CHECK_EXTENSION, CAP_MEMORY_ATTRIBUTES));
	if (vm->fd < 0)
		die("KVM_CREATE_VM");
	make_memory(vm);
}

/* ---- random ---------------------------------------------------------------------------------- */

/* splitmix64 (Sebastiano Vigna, public domain). */
static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static unsigned int below(uint64_t *state, unsigned int limit)
{
	return next(state) % limit;
}

/* ---- conversions ----------------------------------------------------------------------------- */

struct thread {
	pthread_t id;
	int index;
	uint64_t random;
	unsigned long turns;
};

/* A third of each VM's pages is each thread's alone, and the last third is everybody's. */
static unsigned int share_begins(int share)
{
	return PAGES * share / SHARES;
}

/* What a range looks like that a well-behaved VMM would not ask for; true: the kernel refuses it. */
static bool spoil(struct attributes *wish, uint64_t *random)
{
	switch (below(random, 32)) {
	case 0:
	case 1: wish->address += 1 + below(random, PAGE - 1); return true;
	case 2:
	case 3: wish->size += 1 + below(random, PAGE - 1); return true;
	case 4: wish->size = 0; return true;
	case 5: wish->address = -PAGE; wish->size = 2 * PAGE; return true;	/* wraps round */
	case 6: wish->attributes |= 1; return true;	/* READ, which no kernel has yet */
	case 7: wish->attributes = 1ULL << 63; return true;
	case 8: wish->flags = 1; return true;
	default: return false;
	}
}

static void convert(struct vm *vm, const struct attributes *wish, unsigned int first,
		    unsigned int pages)
{
	unsigned long long before = now();
	long got = answer(ioctl(vm->fd, SET_ATTRIBUTES, wish));

	tell("convert", ", \"began_ns\": %llu, \"vm\": %d, \"fd\": %d, \"address\": %llu, "
	     "\"length\": %llu, \"attributes\": %llu, \"flags\": %llu, \"answer\": %ld", before,
	     vm->index, vm->fd, (unsigned long long)wish->address, (unsigned long long)wish->size,
	     (unsigned long long)wish->attributes, (unsigned long long)wish->flags, got);
	if (got)
		return;
	memset(vm->private + first, wish->attributes ? 1 : 0, pages);
	__atomic_add_fetch(&vm->taken, 1, __ATOMIC_RELAXED);
}

static __thread sigjmp_buf no_page;

static void on_bus_error(int number)
{
	siglongjmp(no_page, number);
}

static int touch(volatile uint8_t *at, bool writes)
{
	int number = sigsetjmp(no_page, 1);

	if (!number && writes)
		*at = *at;
	else if (!number)
		(void)*at;
	return number;
}

static const struct part *part_of(unsigned int page, int *index)
{
	unsigned int first = 0;

	for (*index = 0; page >= first + MEMORY[*index].pages; ++*index)
		first += MEMORY[*index].pages;
	return &MEMORY[*index];
}

/* The host touches a page by each mapping that it has of it. */
static void touch_page(struct vm *vm, unsigned int page, bool writes)
{
	int index;
	const char *name = part_of(page, &index)->name;
	struct memory *memory = &vm->parts[index];
	uint8_t *ways[] = { memory->shared, memory->mapped };
	static const char *const WAYS[] = { "memfd", "guest_memfd" };

	for (int way = 0; way < 2; way++) {
		uint8_t *at = ways[way] + (page - memory->first) * PAGE;

		if (ways[way])
			tell("touch", ", \"vm\": %d, \"part\": \"%s\", \"page\": %u, \"way\": \"%s\", "
			     "\"address\": %lu, \"write\": %d, \"private\": %d, \"signal\": %d",
			     vm->index, name, page, WAYS[way], (unsigned long)at, writes,
			     vm->private[page], touch(at, writes));
	}
}

/* Gives back the copy in the memfd of a page that is private now, as a good VMM does. */
static void punch_page(struct vm *vm, unsigned int page)
{
	int index;
	const struct part *part = part_of(page, &index);
	struct memory *memory = &vm->parts[index];
	unsigned long at = (page - memory->first) * PAGE;

	if (part->memfd && part->gmem && vm->private[page])
		tell("punch", ", \"vm\": %d, \"part\": \"%s\", \"page\": %u, \"answer\": %ld",
		     vm->index, part->name, page,
		     answer(fallocate(memory->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				      at, PAGE)));
}

/* Threads of a class that is never preempted (SCHED_FIFO) would run one after the other on one CPU;
   who sleeps with the lock lets the other one come to the same lock. */
static void pause_a_little(uint64_t *random)
{
	if (!below(random, 8))
		usleep(500); /* what is over before the kernel looks around is no sleep at all */
}

static void turn(struct thread *thread)
{
	uint64_t *random = &thread->random;
	struct vm *vm = &vms[below(random, VMS)];
	int share = below(random, 2) ? thread->index : THREADS;
	unsigned int begins = share_begins(share), length = share_begins(share + 1) - begins;
	unsigned int first = begins + below(random, length), left = begins + length - first;
	unsigned int most = below(random, 8) ? 16 : length;
	unsigned int pages = 1 + below(random, left < most ? left : most);
	struct attributes wish = { GUEST_AT + first * PAGE, pages * PAGE,
				   below(random, 2) ? PRIVATE : 0, 0 };

	spoil(&wish, random);
	if (share == THREADS)
		pthread_mutex_lock(&vm->lock);
	pause_a_little(random);
	convert(vm, &wish, first, pages);
	if (want.touch_every && !below(random, want.touch_every))
		touch_page(vm, first + below(random, pages), below(random, 2));
	if (want.punch && !below(random, 4))
		punch_page(vm, first + below(random, pages));
	if (share == THREADS)
		pthread_mutex_unlock(&vm->lock);
}

static void *work(void *argument)
{
	struct thread *thread = argument;

	for (unsigned long i = 0; i < thread->turns; i++)
		turn(thread);
	return NULL;
}

static void convert_all(void)
{
	static struct thread threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		threads[i] = (struct thread){ .index = i, .random = want.seed * THREADS + i,
					      .turns = want.conversions / THREADS };
		if (pthread_create(&threads[i].id, NULL, work, &threads[i]))
			die("pthread_create");
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i].id, NULL);
}

/* ---- somebody else --------------------------------------------------------------------------- */

/* A child maps the guest_memfd anew and touches one page that is private and one that is shared. */
static void touch_as_child(struct vm *vm)
{
	struct memory *memory = &vm->parts[MAPPABLE];
	unsigned int pages = MEMORY[MAPPABLE].pages;

	memory->shared = NULL;
	if (memory->gmem < 0)
		return;
	memory->mapped = map_of(memory->gmem, pages * PAGE);
	if (!memory->mapped)
		return;
	for (int private = 0; private < 2; private++)
		for (unsigned int page = memory->first; page < memory->first + pages; page++)
			if (vm->private[page] == private) {
				touch_page(vm, page, false);
				break;
			}
}

static void touch_by_child(void)
{
	pid_t pid;

	fflush(out);
	pid = fork();
	if (!pid) {
		for (int i = 0; i < VMS; i++)
			touch_as_child(&vms[i]);
		fflush(out);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

/* ---- the guest ------------------------------------------------------------------------------- */

static const uint8_t CODE[] = {
	0x8a, 0x06,				/* next: mov al, [esi] */
	0xe6, PORT,				/* out PORT, al */
	0x81, 0xc6, 0x00, 0x10, 0x00, 0x00,	/* add esi, 4096 */
	0xe2, 0xf4,				/* loop next */
	0xf4,					/* hlt */
};

static void set_registers(int vcpu, uint64_t from, unsigned int pages)
{
	struct kvm_regs regs = { .rip = CODE_AT, .rflags = 2, .rsi = from, .rcx = pages };
	struct kvm_segment flat = { .limit = 0xffffffff, .present = 1, .s = 1, .db = 1, .g = 1,
				    .type = 3, .selector = 8 };
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs))
		die("KVM_GET_SREGS");
	sregs.ds = sregs.es = sregs.ss = flat;
	sregs.cs = flat;
	sregs.cs.type = 11;
	sregs.cr0 |= 1;		/* protected mode, no paging */
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs))
		die("the vCPU's registers");
}

/* The first byte of each page, as the guest reads it: MARK where it got the host's copy. */
static long read_as_guest(int vcpu, struct kvm_run *state, uint64_t from, unsigned int pages,
			  char *got)
{
	unsigned int count = 0;

	set_registers(vcpu, from, pages);
	while (count <= pages) {
		if (ioctl(vcpu, KVM_RUN, 0))
			return errno == EFAULT ? -(long)state->exit_reason : -errno;
		if (state->exit_reason != KVM_EXIT_IO || state->io.port != PORT)
			break;
		got[count] = *((char *)state + state->io.data_offset);
		if (got[count] != MARK)
			got[count] = got[count] ? '?' : '0';
		got[++count] = 0;
	}
	return state->exit_reason == KVM_EXIT_HLT ? 0 : state->exit_reason;
}

static void run_guest(struct vm *vm)
{
	void *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0), size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *state = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	if (code == MAP_FAILED || vcpu < 0 || state == MAP_FAILED)
		die("vCPU");
	memcpy(code, CODE, sizeof(CODE));
	set_slot(vm, 0, CODE_AT, PAGE, code, -1);
	for (int i = 0; i < PARTS; i++) {
		char got[PAGES + 1] = "";
		struct memory *memory = &vm->parts[i];
		uint64_t at = GUEST_AT + memory->first * PAGE;
		long stopped;

		if (i == HOLE || (i == PLAIN && binds_gmem()) || (!memory->shared && !binds_gmem()))
			continue;
		stopped = read_as_guest(vcpu, state, at, MEMORY[i].pages, got);
		tell("guest", ", \"vm\": %d, \"part\": \"%s\", \"first\": %u, \"stopped\": %ld, "
		     "\"read\": \"%s\"", vm->index, MEMORY[i].name, memory->first, stopped, got);
	}
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Which pages of a memfd are there: '1'. */
static void populated(const struct memory *memory, unsigned int pages, char *text)
{
	off_t at = 0, size = pages * PAGE;

	memset(text, '0', pages);
	text[pages] = 0;
	while (at < size && (at = lseek(memory->memfd, at, SEEK_DATA)) >= 0 && at < size) {
		text[at / PAGE] = '1';
		at = (at / PAGE + 1) * PAGE;
	}
}

static void tell_states(struct vm *vm)
{
	for (int i = 0; i < PARTS; i++) {
		char states[PAGES + 1] = "", there[PAGES + 1] = "";
		struct memory *memory = &vm->parts[i];

		for (unsigned int page = 0; page < MEMORY[i].pages; page++)
			states[page] = '0' + vm->private[memory->first + page];
		if (memory->memfd >= 0)
			populated(memory, MEMORY[i].pages, there);
		tell("states", ", \"vm\": %d, \"part\": \"%s\", \"first\": %u, \"gpa\": %lu, "
		     "\"private\": \"%s\", \"populated\": \"%s\", \"taken\": %lu", vm->index,
		     MEMORY[i].name, memory->first,
		     (unsigned long)(GUEST_AT + memory->first * PAGE), states, there, vm->taken);
	}
}

static const struct word WORDS[] = {
	{ "conversions", .number = &want.conversions }, { "seed", .number = &want.seed },
	{ "type", .number = &want.type }, { "touch-every", .number = &want.touch_every },
	{ "run", .on = &want.run }, { "child", .on = &want.child }, { "punch", .on = &want.punch },
	COMMON_WORDS,
};

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_bus_error };
	int types;

	read_options(argc, argv, WORDS);
	sigaction(SIGBUS, &action, NULL);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		die("/dev/kvm");
	types = ioctl(kvm, KVM_CHECK_EXTENSION, CAP_VM_TYPES);
	tell("kernel", ", \"vm_types\": %d, \"gmem\": %d, \"attributes\": %d", types,
	     ioctl(kvm, KVM_CHECK_EXTENSION, CAP_GUEST_MEMFD),
	     ioctl(kvm, KVM_CHECK_EXTENSION, CAP_MEMORY_ATTRIBUTES));
	if (want.type < 0)
		want.type = types > 0 && types & 1 << SW_PROTECTED_VM ? SW_PROTECTED_VM : ORDINARY_VM;
	for (int i = 0; i < VMS; i++)
		make_vm(i);
	rendezvous(told.ready, told.go);
	convert_all();
	if (want.child)
		touch_by_child();
	for (int i = 0; i < VMS; i++) {
		if (want.run)
			run_guest(&vms[i]);
		tell_states(&vms[i]);
	}
	if (told.stay)
		tell("stay", "%s", "");
	rendezvous(NULL, told.stay);
	tell("end", "%s", "");
	return fclose(out) ? 1 : 0;
}
