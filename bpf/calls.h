/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * One decision = one call in flight: begun at an outer hook's entry, told at
 * its return. Calls nest; the stack tells which are inside of which.
 */

/* The slot in the array that is this task's, or that of another one with the same bits. */
INLINE struct slot *place_of(u64 me)
{
	u32 place = me & (SLOTS - 1);

	return slots.lookup(&place);
}

/* This task's slot, NULL before its first operation; *me is filled for later use. */
INLINE struct slot *my_slot(u64 *me)
{
	struct slot *s;

	*me = bpf_get_current_pid_tgid();
	s = place_of(*me);
	if (!s || s->owner == *me)
		return s;
	return unlikely(s->shared) ? calls.lookup(me) : NULL;
}

/* This task's first one; NULL where there is no room. */
INLINE struct slot *new_slot(u64 me)
{
	u32 place = me & (SLOTS - 1);
	struct slot *s = place_of(me), fresh = {};

	if (!s)
		return NULL;
	if (!owners.insert(&place, &me)) {
		/* Somebody else's that ended. */
		s->call.op = 0;
		s->depth = 0;
		s->known_inode = 0;
		s->told.start_ns = 0;
		s->owner = me;
		return s;
	}
	s->shared = 1;
	calls.update(&me, &fresh);
	return calls.lookup(&me);
}

/* A task ends: its slot is free. */
INLINE void free_slot(struct slot *s, u64 me)
{
	u32 place = me & (SLOTS - 1);

	if (s->owner != me) {
		calls.delete(&me);
		return;
	}
	s->owner = 0;
	owners.delete(&place);
}

INLINE void count_call_lost(struct call *c, u32 cause)
{
	struct counts *n = my_counts();

	if (n && !c->before_enabled)
		count_loss(n, cause, c->hook);
}

/* Another call begins inside of the one in flight, which waits for its end. */
INLINE void put_aside(u64 me, struct slot *s)
{
	struct outer_key key = { .task = me, .depth = s->depth };

	if (s->depth >= MAX_DEPTH || outer_calls.update(&key, &s->call))
		count_call_lost(&s->call, LOSS_INFLIGHT_FULL);
	else
		s->depth++;
}

/* The call in flight has ended: the one that it was inside of, if any, is in flight again. */
INLINE void take_back(u64 me, struct slot *s)
{
	struct outer_key key = { .task = me };
	struct call *outer;

	s->call.op = 0;
	if (!s->depth)
		return;
	key.depth = --s->depth;
	outer = outer_calls.lookup(&key);
	if (!outer)
		return;
	s->call = *outer;
	outer_calls.delete(&key);
}

/*
 * Calls whose hook stood lower on the stack than this one does have ended, and
 * their return was not seen. hook: of one that is just ending and is none of them.
 */
INLINE void forget_below(u64 me, struct slot *s, u64 sp, u8 hook)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i <= MAX_DEPTH; i++) {
		if (!s->call.op || s->call.hook == hook || s->call.sp > sp)
			return;
		count_call_lost(&s->call, LOSS_NO_RETURN);
		take_back(me, s);
	}
}

/*
 * Where the stack stood, as a return tells it, differs by a few words between
 * methods and kernels; a call inside of another stands lower by more than that.
 */
#define SP_SLACK 64

/* Whether this task's innermost call is the one that returns here. */
INLINE int is_returning(u64 me, struct slot *s, u8 hook, u64 sp)
{
	if (likely(s->call.op && s->call.hook == hook))
		return 1;
	if (!s->call.op)
		return 0;
	forget_below(me, s, sp - SP_SLACK, hook);
	return s->call.op && s->call.hook == hook;
}

/*
 * Opens this task's slot (s, or a new one) for an operation on a file, or
 * returns NULL. sp: where the stack stands at the hook.
 */
INLINE struct call *begin_call(u64 pid_tgid, struct slot *s, struct target *t, u8 op, u8 hook,
			       u64 sp)
{
	struct config *settings = my_config();
	struct call *c;

	if (!act_wanted(settings, pid_tgid, t->inode, t->ino))
		return NULL;
	if (unlikely(!s)) {
		s = new_slot(pid_tgid);
		if (!s) {
			struct counts *n = my_counts();

			if (n)
				count_loss(n, LOSS_INFLIGHT_FULL, hook);
			return NULL;
		}
	}
	c = &s->call;
	if (unlikely(c->op)) {
		forget_below(pid_tgid, s, sp, 0);
		if (c->op)
			put_aside(pid_tgid, s);
	}
	c->before_enabled = !is_enabled(settings, pid_tgid);
	c->sp = sp;
	c->time_ns = bpf_ktime_get_boot_ns();
	c->inode = t->inode;
	c->ino = t->ino;
	c->iocb = 0;
	c->size = t->size;
	c->seals = t->seals;
	c->checks = 0;
	c->flags = 0;
	c->writable = 0;
	c->mode = 0;
	c->fmode = t->fmode;
	c->op = op;
	c->kind = t->kind;
	c->hook = hook;
	return c;
}

/* As begin_call, for programs that did not look for the slot yet. */
INLINE struct call *begin_my_call(struct target *t, u8 op, u8 hook, u64 sp)
{
	u64 me;
	struct slot *s = my_slot(&me);

	return begin_call(me, s, t, op, hook, sp);
}

/* What only some operations are decided by: exec bits and shared mappings. */
INLINE void read_inode_details(struct call *c)
{
	c->writable = read_u32(c->inode + OFF_INODE_DATA + OFF_MAPPING_WRITABLE);
	c->mode = read_u16(c->inode + OFF_INODE_MODE);
}

/* Seals that the successful call itself may have added: F_SEAL_EXEC brings others (6.3). */
#define SEALS_BY_EXEC 0x3e
#define F_SEAL_WRITE 0x8
#define F_SEAL_FUTURE_WRITE 0x10

INLINE u32 raced_flags(struct call *c, u8 op, u8 hook, s64 answer, u32 seals_after, u64 size_after)
{
	u32 expected = c->seals, flags = 0;

	if (op == OP_ADD_SEALS && !answer) {
		expected |= c->arg;
		if ((c->arg & 0x20) && (c->mode & 0111))
			expected |= SEALS_BY_EXEC;
	}
	if (seals_after != expected)
		flags |= FLAG_RACED_SEALS;
	/* memfd_add_seals forbids writable mappings before it sets the seal. */
	if (hook == HOOK_MMAP && answer == -1 && !(seals_after & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) &&
	    (c->writable < 0 || (s32)read_u32(c->inode + OFF_INODE_DATA + OFF_MAPPING_WRITABLE) < 0))
		flags |= FLAG_RACED_SEALS;
	if (size_after != c->size && (is_error(answer) || op == OP_READ || op == OP_CHMOD ||
				      op == OP_ADD_SEALS || op == OP_PUNCH_HOLE))
		flags |= FLAG_RACED_SIZE;
	return flags;
}

/*
 * A trampoline's return sees by its arguments that a call was ours though
 * nothing is in flight: the program at its entry did not run. For setattr and
 * seals that also depends on what was asked, and the kernel's own count of
 * programs that it skipped must do.
 */
INLINE void note_no_entry(u64 inode, u8 hook)
{
	struct counts *n;
	u8 kind;

	if (!inode || hook == HOOK_SETATTR || hook == HOOK_SEALS)
		return;
	kind = inode_kind(inode, 1);
	if (!kind || !is_sealable(inode_seals(inode, kind)))
		return;
	n = my_counts();
	if (n && is_wanted(bpf_get_current_pid_tgid(), inode, read_u64(inode + OFF_INODE_INO)))
		count_loss(n, LOSS_NO_ENTRY, hook);
}

/*
 * Most hooks have one operation. The compiler knows it then, and leaves out
 * what only others need: 4 % of what a recorded write costs.
 */
INLINE u8 operation(struct call *c, u8 hook)
{
	switch (hook) {
	case HOOK_WRITE:
		return OP_WRITE;
	case HOOK_READ:
		return OP_READ;
	case HOOK_SEALS:
		return OP_ADD_SEALS;
	case HOOK_MREMAP:
		return OP_MREMAP;
	}
	return c->op;
}

/*
 * A write's length as the system call has it. What is left in the iterator at
 * the return may be what RLIMIT_FSIZE left of it (mm/filemap.c or
 * fs/read_write.c:generic_write_checks truncates it before the first check).
 * Of other system calls the length is not in a register: theirs stays so.
 */
#define MAX_RW_COUNT 0x7ffff000

INLINE u64 requested(u16 nr, struct user_regs *regs, u64 left)
{
	u64 length = regs->dx > MAX_RW_COUNT ? MAX_RW_COUNT : regs->dx;

	if (nr != NR_WRITE && nr != NR_PWRITE64)
		return left;
	/* A core dump while a write is interrupted is none of this call's. */
	return length > left ? length : left;
}

/*
 * Tells of a call that returns here. A trampoline has the arguments again:
 * inode and iocb are then typed and can be loaded from directly. A kretprobe
 * has not, and the slot's are used.
 */
INLINE void tell_call(u64 pid_tgid, struct slot *s, s64 answer, u8 hook, int direct, u64 inode,
		      u64 iocb)
{
	struct call *c = &s->call;
	u8 op = operation(c, hook);
	struct counts *n = my_counts();
	struct user_regs regs = {};
	struct record *r;
	u32 seals_after;
	int is_told;
	u64 task;

	if (!n || c->before_enabled)
		return;
	if (!direct) {
		inode = c->inode;
		iocb = c->iocb;
	}
	lock_xadd(&n->totals[hook].decided, 1);
	seals_after = inode_seals(c->inode, c->kind);
	if (!seals_wanted(c->seals | seals_after))
		goto dropped;
#if FILTER_DENIED
	if (!is_error(answer))
		goto dropped;
#endif
	/* The same file as this task's last event: the common case needs no other map. */
	if (s->known_inode != c->inode || s->known.ino != c->ino || !s->known.announced) {
		s->known_inode = c->inode;
		if (!get_object(n, c->inode, c->ino, c->kind, op, hook, c->seals, NULL, &s->known))
			goto dropped;
	}
#if STACKS
	u32 stack = take_stack(n, hook, op, answer, c->seals);
#endif
	task = current_task();
	r = new_record(n, TYPE_EVENT, hook);
	if (!r)
		return;
	r->head.time_ns = c->time_ns;
	r->head.op = op;
	r->head.seals = c->seals;
	set_key(r, &s->known);
	set_task(r, task, pid_tgid);
	r->head.flags = c->flags | syscall_origin(r, task, op, &regs);
	r->event.size = c->size;
	r->event.size_after = inode_size(inode, direct);
	r->event.offset = c->offset;
	/* Only now is it known where an O_APPEND write or a first chunk began. */
	if (hook == HOOK_WRITE || hook == HOOK_READ)
		r->event.offset = load_u64(iocb + OFF_KIOCB_POS, direct) - (answer > 0 ? answer : 0);
	r->event.length = c->length;
	if (hook == HOOK_WRITE && direct)
		r->event.length = requested(r->head.nr, &regs, c->length);
	r->event.arg = c->arg;
	r->event.answer = answer;
	r->event.duration_ns = bpf_ktime_get_boot_ns() - c->time_ns;
	r->event.mm = 0;
	r->event.seals_after = seals_after;
	r->event.check_answer = c->flags & FLAG_CHECK_REACHED ? c->check_answer : 0;
	r->event.file_answer = c->flags & FLAG_FILE_MMAP_REACHED ? c->file_answer : 0;
	r->event.writable = c->writable;
	/* A mapping that went while the call waited for the inode did not hinder it. */
	if (op == OP_ADD_SEALS && !answer)
		r->event.writable = read_u32(c->inode + OFF_INODE_DATA + OFF_MAPPING_WRITABLE);
	r->event.mode = c->mode;
	r->event.fmode = c->fmode;
	r->event.checks = c->checks;
	set_spare(r);
#if STACKS
	r->event.user_stack = stack;
#endif
	r->head.flags |= raced_flags(c, op, hook, answer, seals_after, r->event.size_after);
	if (unlikely(answer == -EACCES || answer == -EPERM))
		r->head.flags |= inode_flags(inode, c->kind, direct);
	/* Of most tasks everything has been told: one look at what this slot has is all. */
	is_told = r->event.start_ns == s->told.start_ns && r->event.exec_id == s->told.exec_id;
	submit(r);
	if (unlikely(!is_told))
		tell_slot(n, s);
	return;
dropped:
	__attribute__((unused));
	follow_file(n, c->inode, c->ino, c->kind, hook);
	lock_xadd(&n->totals[hook].dropped, 1);
}

/* The return of what this task has in flight, if it began at the given hook. */
INLINE void finish_call(u64 pid_tgid, struct slot *s, s64 answer, u8 hook, int direct, u64 inode,
			u64 iocb, u64 sp)
{
	if (!s || !is_returning(pid_tgid, s, hook, sp)) {
		if (direct)
			note_no_entry(inode, hook);
		return;
	}
	tell_call(pid_tgid, s, answer, hook, direct, inode, iocb);
	take_back(pid_tgid, s);
}

/* As finish_call, for programs that did not look for the slot yet. */
INLINE void finish_my_call(s64 answer, u8 hook, int direct, u64 inode, u64 iocb, u64 sp)
{
	u64 me;
	struct slot *s = my_slot(&me);

	finish_call(me, s, answer, hook, direct, inode, iocb, sp);
}

/* The seal check inside a call, or the file's own mmap: they add to the call in flight. */
INLINE void note_check(s64 answer, u8 outer_hook)
{
	u64 pid_tgid;
	struct slot *s = my_slot(&pid_tgid);
	struct call *c;

	if (!s || !s->call.op || s->call.hook != outer_hook)
		return;
	c = &s->call;
	c->check_answer = answer;
	c->checks++;
	c->flags |= FLAG_CHECK_REACHED;
}

INLINE void note_file_mmap(s64 answer)
{
	u64 pid_tgid;
	struct slot *s = my_slot(&pid_tgid);

	if (!s || !s->call.op || s->call.hook != HOOK_MMAP)
		return;
	s->call.file_answer = answer;
	s->call.flags |= FLAG_FILE_MMAP_REACHED;
}
