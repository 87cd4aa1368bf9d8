/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Ways to a memory file's pages that pass none of its own functions: other
 * processes' calls, pins, userfaultfd, mprotect, descriptors that arrive.
 *
 * They have a table of their own for calls in flight, since they happen inside
 * other calls (a page fault inside a write), and nothing here runs often:
 * splice's and hugetlb's reads are among them as only audits ask for those.
 *
 * One program serves them all, so that little is compiled: it is loaded anew
 * for each function, with the way's number in place of WAY_MARK
 * (tracer/capture/program.py), and of a known number the verifier walks, and
 * the kernel keeps, that way's branch alone.
 */
#define WAY_MARK 0x5ea150fb

enum way {
	WAY_MEMSLOT = 1,
	WAY_GMEM_CREATE = 2,
	WAY_SECRET_CREATE = 3,
	WAY_FAULT = 4,
	WAY_PIN = 5,		/* (address, pages, flags) */
	WAY_PIN_REMOTE = 6,	/* (mm, address, pages, flags) */
	WAY_PIN_FILE = 7,
	WAY_REMOTE = 8,
	WAY_UFFD = 9,
	WAY_MPROTECT = 10,
	WAY_RECEIVE = 11,
	WAY_SPLICE = 12,	/* (file, position, pipe, length) */
	WAY_READ = 13,		/* (kiocb, iov_iter) */
	WAY_UFFD_COPY = 14,	/* (mm or userfaultfd_ctx, address, source, length) */
	WAY_UFFD_ZERO = 15,	/* (mm or userfaultfd_ctx, address, length) */
	WAY_UFFD_CONTINUE = 16,	/* the same */
	WAY_TRACE = 17,
	WAY_SHARE_MM = 18,
	WAY_PIDFD_GETFD = 19,
	WAY_PROC_LINK = 20,
	WAY_MAP_FILES = 21,
	WAY_JUMP = 22,
	WAY_OPEN = 23,
	WAY_ADVISE = 24,	/* (mm, address, length, advice) or (address, length, behavior) */
	WAY_VM_END = 25,
	WAY_SLOT_FILE = 26,
	WAY_RING = 27,
	WAY_RING_FILE = 28,
	WAY_UDMABUF = 29,
	WAY_MSG_RING = 30,
	WAY_SECCOMP = 31,
	WAY_VFORK_END = 32,
	WAY_ATTACH = 33,
	WAY_TRACEME = 34,
	WAY_SEND = 35,
	WAY_COPY = 36,
	WAY_MESSAGE = 37,
	WAY_MESSAGE_END = 38,
	WAY_CONVERT = 39,	/* (file, ioctl, argument) */
	WAY_CONVERT_RANGE = 40,	/* (kvm, first page, page behind it, mask, attributes) */
	WAY_VM_BEGIN = 41,	/* (kvm, type) */
	WAY_CONVERT_FILE = 42,	/* (file, argument) */
	WAY_SEV_DEBUG = 43,	/* (kvm, command as KVM copied it) */
	WAY_SEV_PAGE = 44,	/* (kvm, address, flags) */
	WAY_SEV_MEMORY = 45,	/* (kvm, address, length, pages, flags) */
};

INLINE u64 my_way(void)
{
	u64 way;

	asm volatile("%0 = %1" : "=r"(way) : "i"(WAY_MARK));
	return way;
}

#define FOLL_WRITE 0x1
#define PAGE_SHIFT 12
#define VM_FAULT_ERROR 0x873	/* OOM SIGBUS HWPOISON HWPOISON_LARGE SIGSEGV FALLBACK */

#define SEV_TAKEN 1		/* KVM has the command in hand */
#define SEV_NEW_PAGE 2		/* its last piece began a page */

struct access_key {
	u64 pid_tgid;
	u64 hook;
};

struct access {
	u64 time_ns;
	u64 inode;		/* 0: unknown, or no memory file */
	u64 mm;			/* its number */
	u64 address;
	u64 length;
	u64 arg;
	u32 vm;			/* memslot, convert: its number, */
	u32 vm_type;		/*   and its type + 1, 0: not seen to begin */
	s64 offset;
	s32 fd;
	s32 slot;
	u32 checks;
	u16 fmode;
	u8 op;
	u8 kind;
	u32 told;		/* a record was sent */
	u32 taken;		/* sev_debug: SEV_* */
};

BPF_HASH(accesses, struct access_key, struct access, MAX_TASKS);

INLINE u64 my_mm(void)
{
	return load_u64(current_task() + OFF_TASK_MM, TASK_DIRECT);
}

INLINE int access_wanted(void)
{
	return is_wanted(bpf_get_current_pid_tgid(), 0, 0);
}

INLINE void begin_access(struct access *a, u8 op, u8 hook)
{
	struct access_key key = { .pid_tgid = bpf_get_current_pid_tgid(), .hook = hook };
	struct counts *n = my_counts();

	a->time_ns = bpf_ktime_get_boot_ns();
	a->op = op;
	if (n && accesses.lookup(&key))
		count_loss(n, LOSS_NO_RETURN, hook);
	if (n && accesses.update(&key, a))
		count_loss(n, LOSS_INFLIGHT_FULL, hook);
}

/* By the file itself. */
INLINE void begin_by_file(struct access *a, u64 file, u64 offset, u64 length, u8 op, u8 hook)
{
	a->inode = file_inode(file, 0);
	a->kind = inode_kind(a->inode, 0);
	if (!a->kind || !is_sealable(inode_seals(a->inode, a->kind)))
		return;
	a->offset = offset;
	a->length = length;
	a->fmode = file_mode(file, 0);
	begin_access(a, op, hook);
}

/* announce: the object too, if it was not yet. */
INLINE void tell_access_of(struct access *a, u64 pid_tgid, u8 hook, s64 answer, int announce)
{
	struct counts *n = my_counts();
	struct user_regs regs = {};
	struct object o = {};
	struct record *r;
	u32 seals = 0;

	if (!n)
		return;
	lock_xadd(&n->totals[hook & (HOOK_MAX - 1)].decided, 1);
	if (a->inode)
		seals = inode_seals(a->inode, a->kind);
	if (!seals_wanted(seals))
		goto dropped;
#if FILTER_DENIED
	if (hook == HOOK_FAULT ? !(answer & VM_FAULT_ERROR) : !is_error(answer))
		goto dropped;
#endif
#if FILTER_NAME
	if (!a->inode)
		goto dropped;
#endif
	if (a->inode) {
		u64 ino = read_u64(a->inode + OFF_INODE_INO);

		if (announce ? !get_object(n, a->inode, ino, a->kind, a->op, hook, seals, NULL, &o) :
			       !look_at_object(a->inode, ino, a->kind, &o))
			goto dropped;
	}
#if STACKS
	u32 stack = a->op == OP_MPROTECT ? take_stack(n, hook, a->op, answer, seals) : 0;
#endif
	r = plain_event(n, pid_tgid, &o, a->op, hook);
	if (!r)
		return;
#if STACKS
	set_stack(r, stack);
#endif
	r->head.time_ns = a->time_ns;
	r->head.flags = syscall_origin(r, current_task(), a->op, &regs);
	r->head.seals = seals;
	if (a->op == OP_MEMSLOT)
		r->event.fd = a->fd;
	if (a->op == OP_CONVERT && !a->checks)
		r->head.flags |= FLAG_INFERRED;
	if (a->op == OP_SEV_DEBUG && !(a->taken & SEV_TAKEN))
		r->head.flags |= is_error(answer) ? FLAG_INFERRED :
						    FLAG_INFERRED | FLAG_RETURN_MISSING;
	r->event.size = a->inode ? inode_size(a->inode, 0) : 0;
	r->event.size_after = a->address;
	r->event.offset = a->offset;
	r->event.length = a->length;
	r->event.arg = a->arg;
	r->event.answer = answer;
	r->event.duration_ns = bpf_ktime_get_boot_ns() - a->time_ns;
	r->event.mm = a->mm;
	r->event.vm = a->vm;
	r->event.seals_after = seals;
	r->event.check_answer = a->slot;
	r->event.file_answer = a->vm_type;
	r->event.fmode = a->fmode;
	r->event.checks = a->checks;
	if (a->inode) {
		r->event.writable = read_u32(a->inode + OFF_INODE_DATA + OFF_MAPPING_WRITABLE);
		r->event.mode = read_u16(a->inode + OFF_INODE_MODE);
	}
	a->told = 1;
	submit(r);
	return;
dropped:
	__attribute__((unused));
	lock_xadd(&n->totals[hook & (HOOK_MAX - 1)].dropped, 1);
}

INLINE void tell_access(struct access *a, u64 pid_tgid, u8 hook, s64 answer)
{
	tell_access_of(a, pid_tgid, hook, answer, 1);
}

/* What a way in asks for, by address. */
struct asked {
	u64 mm;
	u64 address;
	u64 length;
	u64 arg;
	u8 op;			/* 0: of no interest */
	u8 hook;
};

/*
 * Pins: all that hold a page for long carry FOLL_LONGTERM; of short ones only
 * those of another process are of interest, which is process_vm_readv/writev
 * (mm/process_vm_access.c:process_vm_rw_single_vec).
 */
INLINE struct asked asked_pin(u64 mm, u64 address, u64 pages, u32 flags, int remote)
{
	struct asked asked = { mm, address, pages << PAGE_SHIFT, flags, 0, HOOK_PIN };

	if (flags & FOLL_LONGTERM)
		asked.op = OP_PIN;
	else if (remote)
		asked.op = flags & FOLL_WRITE ? OP_REMOTE_WRITE : OP_REMOTE_READ;
	return asked;
}

INLINE struct asked asked_mprotect(u64 address, u64 length, u64 prot)
{
	struct asked asked = { my_mm(), address, length, prot, OP_MPROTECT, HOOK_MPROTECT };

	return asked;
}

/* ptrace, /proc/PID/mem, and what the kernel itself reads of a process. */
INLINE struct asked asked_remote(u64 mm, u64 address, u32 length, u32 flags)
{
	struct asked asked = { mm, address, length, flags, OP_REMOTE_READ, HOOK_REMOTE };

	if (flags & FOLL_WRITE)
		asked.op = OP_REMOTE_WRITE;
	return asked;
}
