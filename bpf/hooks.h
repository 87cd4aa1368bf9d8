/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What each hook does, whatever the method by which it is attached. */

INLINE void begin_io(u64 iocb, u64 iter, int direct, u8 op, u8 hook, u8 kind, u64 sp)
{
	u64 file = load_u64(iocb + OFF_KIOCB_FILE, direct);
	struct target t = target_of_file(file, direct, kind);
	struct call *c;

	if (!t.kind || !is_sealable(t.seals))
		return;
	c = begin_my_call(&t, op, hook, sp);
	if (!c)
		return;
	c->iocb = iocb;
	c->length = load_u64(iter + OFF_IOV_COUNT, direct);
	c->arg = 0;
}

/*
 * Writes by trampolines: the call begins at its first seal check, where the
 * inode lock is held and seals and size are exact. What the call was asked for
 * is still in its arguments when it returns; a call that was never checked
 * begins only there. A file that cannot be sealed costs one read: its check
 * marks the call slot for the return. The mark is about the file, which cannot
 * become sealable any more, so it does no harm where tasks share a slot.
 */
INLINE void leave_unsealable(u64 me, u64 inode)
{
	struct slot *place = place_of(me);

	if (!place)
		return;
	place->unsealable = inode;
	place->unsealable_ino = load_u64(inode + OFF_INODE_INO, 1);
}

INLINE int was_unsealable(u64 me, u64 inode)
{
	struct slot *place = place_of(me);

	if (!place || place->unsealable != inode ||
	    place->unsealable_ino != load_u64(inode + OFF_INODE_INO, 1))
		return 0;
	place->unsealable = 0;
	return 1;
}

INLINE void write_checked(u64 mapping, s64 answer, u64 sp)
{
	u64 inode = load_u64(mapping + OFF_MAPPING_HOST, 1), me;
	struct target t = target_of(inode, 1, KIND_TMPFS);
	struct slot *s;
	struct call *c;

	if (!is_sealable(t.seals)) {
		leave_unsealable(bpf_get_current_pid_tgid(), inode);
		return;
	}
	s = my_slot(&me);
	if (s && s->call.op == OP_WRITE && s->call.inode == inode) {
		c = &s->call;
	} else {
		c = begin_call(me, s, &t, OP_WRITE, HOOK_WRITE, sp);
		if (!c)
			return;
		c->arg = 0;
	}
	c->check_answer = answer;
	c->checks++;
	c->flags |= FLAG_CHECK_REACHED;
}

/* kind: as target_of has it. */
INLINE void write_returned(u64 iocb, u64 iter, s64 answer, u8 kind, u64 sp)
{
	u64 file = load_u64(iocb + OFF_KIOCB_FILE, 1), inode = file_inode(file, 1), me;
	struct slot *s = my_slot(&me);
	struct call *c;

	if (s && is_returning(me, s, HOOK_WRITE, sp)) {
		c = &s->call;
	} else {
		struct target t;

		if (was_unsealable(me, inode))
			return;
		t = target_of(inode, 1, kind);
		if (t.kind != KIND_TMPFS || !is_sealable(t.seals))
			return;
		c = begin_call(me, s, &t, OP_WRITE, HOOK_WRITE, sp);
		if (!c)
			return;
		s = my_slot(&me);
		c->arg = 0;
		/* Bytes went in, so a check was asked: its program did not run. */
		if (answer > 0) {
			struct counts *n = my_counts();

			c->flags |= FLAG_ENTRY_MISSING;
			if (n && !c->before_enabled)
				count_loss(n, LOSS_NO_ENTRY, HOOK_WRITE);
		}
	}
	c->fmode = file_mode(file, 1);
	c->length = load_u64(iter + OFF_IOV_COUNT, 1) + (answer > 0 ? answer : 0);
	finish_call(me, s, answer, HOOK_WRITE, 1, inode, iocb, sp);
}

INLINE void begin_mmap(u64 file, int direct, u64 len, u64 prot, u64 flags, u64 pgoff, u64 sp)
{
	struct target t;
	struct call *c;

	if (!file)
		return;
	t = target_of_file(file, direct, KIND_UNKNOWN);
	if (!t.kind || !is_sealable(t.seals))
		return;
	c = begin_my_call(&t, OP_MMAP, HOOK_MMAP, sp);
	if (!c)
		return;
	c->offset = pgoff << 12;
	c->length = len;
	c->arg = (u32)prot | flags << 32;
	read_inode_details(c);
}

INLINE void begin_setattr(u64 dentry, u64 iattr, int direct, u64 sp)
{
	u32 valid = load_u32(iattr + OFF_IATTR_VALID, direct);
	struct target t;
	struct call *c;

	/* Times and owners are no seal's business. */
	if (!(valid & (ATTR_SIZE | ATTR_MODE)))
		return;
	t = target_of(load_u64(dentry + OFF_DENTRY_INODE, direct), direct, KIND_UNKNOWN);
	if (!is_sealable(t.seals))
		return;
	c = begin_my_call(&t, valid & ATTR_SIZE ? OP_TRUNCATE : OP_CHMOD, HOOK_SETATTR, sp);
	if (!c)
		return;
	c->offset = 0;
	c->length = valid & ATTR_SIZE ? read_u64(iattr + OFF_IATTR_SIZE) : 0;
	c->arg = valid | (u64)(valid & ATTR_MODE ? read_u16(iattr + OFF_IATTR_MODE) : 0) << 32;
	read_inode_details(c);
}

INLINE void begin_allocate(u64 file, int direct, u64 mode, u64 offset, u64 len, u64 sp)
{
	struct target t = target_of_file(file, direct, KIND_UNKNOWN);
	struct call *c;

	if (!is_sealable(t.seals))
		return;
	c = begin_my_call(&t, mode & FALLOC_FL_PUNCH_HOLE ? OP_PUNCH_HOLE : OP_ALLOCATE,
			  HOOK_ALLOCATE, sp);
	if (!c)
		return;
	c->offset = offset;
	c->length = len;
	c->arg = (u32)mode;
}

/* Also on files that cannot be sealed: the refusal is a decision too. */
INLINE void begin_seals(u64 file, int direct, u64 cmd, u64 arg, u64 sp)
{
	struct target t;
	struct call *c;

	if ((u32)cmd != F_ADD_SEALS)
		return;
	t = target_of_file(file, direct, KIND_UNKNOWN);
	if (!t.kind)
		return;
	c = begin_my_call(&t, OP_ADD_SEALS, HOOK_SEALS, sp);
	if (!c)
		return;
	c->offset = 0;
	c->length = 0;
	c->arg = arg;
	read_inode_details(c);
}

#define VM_KEPT 0x8f		/* READ WRITE EXEC SHARED, and MAYSHARE: MAP_SHARED as asked */

/*
 * Begins a call that is about the mapping at an address, if a memory file that
 * can be sealed lies there. arg is what the kernel keeps of that mapping, as it is at entry.
 */
INLINE struct call *begin_of_mapping(u64 task, u64 at, u8 op, u8 hook, u64 sp, u64 *vma)
{
	u64 file;
	struct target t;
	struct call *c;

	*vma = vma_at(load_u64(task + OFF_TASK_MM, TASK_DIRECT), at);
	file = *vma ? read_u64(*vma + OFF_VMA_FILE) : 0;
	if (!file)
		return NULL;
	t = target_of_file(file, 0, KIND_UNKNOWN);
	if (!t.kind || !is_sealable(t.seals))
		return NULL;
	c = begin_my_call(&t, op, hook, sp);
	if (!c)
		return NULL;
	c->arg = (read_u64(*vma + OFF_VMA_FLAGS) & VM_KEPT) << 8;
	read_inode_details(c);
	return c;
}

/*
 * mremap(old address, old length, new length, flags), also the 32-bit one: a
 * mapping that grows reaches pages of the file that it did not reach before,
 * and nothing asks the file's seals (mm/mremap.c).
 */
INLINE void begin_mremap(u64 sp)
{
	u64 task = current_task(), me = bpf_get_current_pid_tgid(), vma, at, old, length, flags;
	struct user_regs regs = {};
	struct call *c;

	if (!BY_FILE && !act_wanted(my_config(), me, 0, 0))
		return;
	user_regs(task, &regs);
	if (is_compat(task)) {
		at = (u32)regs.bx;
		old = (u32)regs.cx;
		length = (u32)regs.dx;
		flags = regs.si;
	} else {
		at = regs.di;
		old = regs.si;
		length = regs.dx;
		flags = regs.r10;
	}
	c = begin_of_mapping(task, at, OP_MREMAP, HOOK_MREMAP, sp, &vma);
	if (!c)
		return;
	c->offset = (read_u64(vma + OFF_VMA_PGOFF) << 12) + at - read_u64(vma + OFF_VMA_START);
	c->length = length;
	c->arg |= (flags & 0xff) | ((old + 4095) >> 12) << 16;
}

/*
 * remap_file_pages(start, size, prot, first page, flags), also the 32-bit one:
 * what is mapped at start shows another part of its file. Since 4.0 the kernel
 * calls do_mmap for it (mm/mmap.c, c8d78c1823f4), so that mmap's seal checks
 * are asked, and its hook is mmap's.
 */
INLINE void begin_remap_file_pages(u64 sp)
{
	u64 task = current_task(), me = bpf_get_current_pid_tgid(), vma, at, size, page;
	struct user_regs regs = {};
	struct call *c;

	if (!BY_FILE && !act_wanted(my_config(), me, 0, 0))
		return;
	user_regs(task, &regs);
	if (is_compat(task)) {
		at = (u32)regs.bx;
		size = (u32)regs.cx;
		page = (u32)regs.si;
	} else {
		at = regs.di;
		size = regs.si;
		page = regs.r10;
	}
	c = begin_of_mapping(task, at & ~4095ULL, OP_REMAP_FILE_PAGES, HOOK_MMAP, sp, &vma);
	if (!c)
		return;
	c->offset = page << 12;
	c->length = size;
	c->arg |= at >> 12 << 16;
}

/* A record of something that just happened, with no answer of its own. */
INLINE struct record *plain_event(struct counts *n, u64 pid_tgid, struct object *o, u8 op, u8 hook)
{
	struct record *r = new_record(n, TYPE_EVENT, hook);

	if (!r)
		return NULL;
	r->head.time_ns = bpf_ktime_get_boot_ns();
	r->head.op = op;
	r->head.flags = 0;
	r->head.nr = 0xffff;
	set_key(r, o);
	set_task(r, current_task(), pid_tgid);
	r->event.fd = -1;
	r->event.size = 0;
	r->event.offset = 0;
	r->event.length = 0;
	r->event.arg = 0;
	r->event.answer = 0;
	r->event.duration_ns = 0;
	r->event.mm = 0;
	r->event.check_answer = 0;
	r->event.file_answer = 0;
	r->event.writable = 0;
	r->event.mode = 0;
	r->event.fmode = 0;
	r->event.checks = 0;
	set_spare(r);
	return r;
}

/*
 * A system call that makes a memory file. Its answer is a descriptor, and before
 * it returns another thread can have put another file at that number (dup2):
 * the file is taken where the kernel has it in hand, by note_created.
 */
INLINE void begin_create(u64 flags, u64 sp)
{
	struct target t = {};
	struct call *c = begin_my_call(&t, OP_CREATE, HOOK_CREATE, sp);

	if (c)
		c->arg = flags;
}

/* alloc_file_pseudo(inode, …): an inode gets the open file that is to be returned. */
INLINE void note_created(u64 inode, int direct)
{
	u64 me;
	struct slot *s = my_slot(&me);
	struct call *c;

	if (!s || s->call.op != OP_CREATE)
		return;
	c = &s->call;
	c->inode = inode;
	c->ino = load_u64(inode + OFF_INODE_INO, direct);
	c->offset = load_u32(inode + OFF_INODE_GEN, direct);
	c->length = read_u32(load_u64(inode + OFF_INODE_SB, direct) + OFF_SB_DEV);
}

/* What a call made, as it was when only the kernel had it. */
struct made {
	u64 inode;		/* 0: nothing, or not seen */
	u64 ino;
	u64 arg;
	u32 dev;
	u32 gen;
	u32 flags;		/* CHECK_REACHED: */
	s32 check_answer;	/*   what a security module said of the new file */
	u8 seen;		/* the call's entry was */
	u8 before_enabled;
};

/* The call that returns here is over. */
INLINE struct made take_made(u64 me, struct slot *s, u64 sp)
{
	struct made made = {};
	struct call *c;

	if (!s || !is_returning(me, s, HOOK_CREATE, sp))
		return made;
	c = &s->call;
	made.inode = c->inode;
	made.ino = c->ino;
	made.arg = c->arg;
	made.dev = c->length;
	made.gen = c->offset;
	made.flags = c->flags;
	made.check_answer = c->flags & FLAG_CHECK_REACHED ? c->check_answer : 0;
	made.seen = 1;
	made.before_enabled = c->before_enabled;
	take_back(me, s);
	return made;
}

/* Others that were faster may have ended it: there is a new inode then, or none. */
INLINE int is_still(struct made *made)
{
	return read_u64(made->inode + OFF_INODE_INO) == made->ino &&
	       read_u32(made->inode + OFF_INODE_GEN) == made->gen;
}

#define MFD_HUGETLB 4

/*
 * Told at its return alone. A call that was refused made no file: its kind is
 * what it would have made, where that is one (makes). Of a success of which the
 * file was not seen, no object is named.
 * name: that it asked for, in user memory; 0: none.
 */
INLINE void tell_create(struct made *made, s64 answer, u64 wish, u16 nr, u32 origin, u64 name,
			u8 makes)
{
	u32 flags = wish; /* all that any kernel takes */
	u64 pid_tgid = bpf_get_current_pid_tgid(), inode = 0;
	struct counts *n = my_counts();
	struct object o = {};
	struct record *r;
	u32 seals = 0;
	u8 kind = 0;

	if (!n || made->before_enabled || !is_wanted(pid_tgid, 0, 0))
		return;
	lock_xadd(&n->totals[HOOK_CREATE].decided, 1);
	if (answer < 0) {
		made->inode = 0;
	} else if (!made->inode) {
		origin |= FLAG_ENTRY_MISSING;
#if WITH_FENTRY_CREATED || WITH_KPROBE_CREATED
		count_loss(n, LOSS_NO_ENTRY, HOOK_CREATE);
#endif
	} else if (is_still(made)) {
		inode = made->inode;
		kind = inode_kind(inode, 0);
		seals = inode_seals(inode, kind);
	}
	if (!seals_wanted(seals))
		goto dropped;
#if FILTER_DENIED
	if (!is_error(answer))
		goto dropped;
#endif
#if FILTER_NAME
	/* A call that made no file has no name that could be compared. */
	if (!kind)
		goto dropped;
#endif
	if (!kind && is_of_others(NULL, 0))
		goto dropped;
	if (kind && !get_object(n, inode, made->ino, kind, OP_CREATE, HOOK_CREATE, seals, &flags,
				&o))
		goto dropped;
	if (!kind && made->inode) {
		o.ino = made->ino;
		o.dev = made->dev;
		o.gen = made->gen;
		if (!makes)
			makes = flags & MFD_HUGETLB ? KIND_HUGETLB : KIND_MEMFD;
	} else if (is_error(answer) && name) {
		send_requested_name(n, &o, name, &flags, HOOK_CREATE);
	}
#if STACKS
	u32 stack = take_stack(n, HOOK_CREATE, OP_CREATE, answer, seals);
#endif
	r = plain_event(n, pid_tgid, &o, OP_CREATE, HOOK_CREATE);
	if (!r)
		return;
#if STACKS
	set_stack(r, stack);
#endif
	r->head.seals = seals;
	r->head.nr = nr;
	r->head.flags = origin | made->flags;
	r->event.check_answer = made->check_answer;
	if (!kind)
		r->head.kind = makes;
	r->event.fd = answer >= 0 ? answer : -1;
	r->event.size_after = AUDIT && kind ? inode_size(inode, 0) : 0;
	r->event.arg = wish;
	r->event.answer = answer;
	r->event.seals_after = seals;
	if (kind) {
		r->event.mode = read_u16(inode + OFF_INODE_MODE);
		r->event.fmode = 3;
	}
	submit(r);
	tell_me(0);
	return;
dropped:
	__attribute__((unused));
	if (kind)
		follow_file(n, inode, made->ino, kind, HOOK_CREATE);
	lock_xadd(&n->totals[HOOK_CREATE].dropped, 1);
}

/* memfd_create(name, flags) */
INLINE void finish_memfd_create(s64 answer, u64 sp)
{
	u64 task = current_task(), me;
	struct slot *s = my_slot(&me);
	struct made made = take_made(me, s, sp);
	struct user_regs regs = {};
	int compat = is_compat(task);

	user_regs(task, &regs);
	tell_create(&made, answer, (u32)(compat ? regs.cx : regs.si),
		    compat ? 0xffff : regs.orig_ax, compat ? FLAG_COMPAT : 0,
		    compat ? (u32)regs.bx : regs.di, KIND_UNKNOWN);
}

/*
 * A task that exits has given its address space up before what it mapped is
 * unmapped (kernel/exit.c:exit_mm): then it is its own.
 */
INLINE int is_other_mm(u64 mm)
{
	u64 task = current_task(), own = load_u64(task + OFF_TASK_MM, TASK_DIRECT);

	if (!own && load_u32(task + OFF_TASK_FLAGS, TASK_DIRECT) & PF_EXITING)
		return 0;
	return mm != own;
}

INLINE void note_mapping(u64 vma, int direct, u8 op, u8 hook)
{
#if !FILTER_DENIED
	u64 file = load_u64(vma + OFF_VMA_FILE, direct), inode, ino, mm, start, pid_tgid;
	struct counts *n;
	struct object o = {};
	struct record *r;
	u32 seals;
	u8 kind;

	if (!file)
		return;
	inode = file_inode(file, direct);
	kind = inode_kind(inode, direct);
	if (!kind)
		return;
	seals = inode_seals(inode, kind);
	if (!is_sealable(seals))
		return;
	n = my_counts();
	pid_tgid = bpf_get_current_pid_tgid();
	ino = read_u64(inode + OFF_INODE_INO);
	if (!n || !is_wanted(pid_tgid, inode, ino))
		return;
	lock_xadd(&n->totals[hook].decided, 1);
	if (!seals_wanted(seals))
		goto dropped;
	if (!get_object(n, inode, ino, kind, op, hook, seals, NULL, &o))
		goto dropped;
	mm = read_u64(vma + OFF_VMA_MM);
	r = plain_event(n, pid_tgid, &o, op, hook);
	if (!r)
		return;
	start = read_u64(vma + OFF_VMA_START);
	r->head.flags = is_other_mm(mm) ? FLAG_OTHER_MM : 0;
	r->head.seals = seals;
	r->event.seals_after = seals;
	r->event.size = inode_size(inode, 0);
	r->event.size_after = r->event.size;
	r->event.offset = read_u64(vma + OFF_VMA_PGOFF) << 12;
	r->event.length = read_u64(vma + OFF_VMA_END) - start;
	r->event.arg = read_u64(vma + OFF_VMA_FLAGS);
	r->event.answer = start;
	r->event.mm = mm_number(mm, 0);
	r->event.writable = read_u32(inode + OFF_INODE_DATA + OFF_MAPPING_WRITABLE);
	/* Its last mm, if it is exiting. */
	mm &= same(r->head.flags, 0);
	submit(r);
	tell_me(mm);
	return;
dropped:
	__attribute__((unused));
	follow_file(n, inode, ino, kind, hook);
	lock_xadd(&n->totals[hook].dropped, 1);
#endif
}

/* Ends an object's time: the next inode at this address is another one. */
INLINE void note_evict(u64 inode)
{
	struct object *known = objects.lookup(&inode);
	struct object o;
	struct counts *n;
	struct record *r;
	u64 pid_tgid;

	if (!known)
		return;
	o = *known;
	objects.delete(&inode);
	n = my_counts();
	pid_tgid = bpf_get_current_pid_tgid();
	if (!n || !o.announced || !is_enabled(my_config(), pid_tgid))
		return;
	lock_xadd(&n->totals[HOOK_EVICT].decided, 1);
	r = plain_event(n, pid_tgid, &o, OP_EVICT, HOOK_EVICT);
	if (!r)
		return;
	r->head.seals = inode_seals(inode, o.kind);
	r->event.seals_after = r->head.seals;
	r->event.size_after = r->event.size = inode_size(inode, 0);
	submit(r);
	tell_me(0);
}

#if FILTER_FILE
/* The recorder has named a file (--file), which it holds open: the inode stays this one. */
INLINE void note_followed(u32 fd)
{
	u64 file = task_file(fd), inode;
	struct object o = {};
	u8 kind;

	if (!file)
		return;
	inode = file_inode(file, 0);
	kind = inode_kind(inode, 0);
	if (!kind)
		return;
	fill_object(&o, inode, read_u64(inode + OFF_INODE_INO), kind, object_name(inode).is_memfd);
	o.followed = 1;
	objects.update(&inode, &o);
}
#endif

#if FILTER_PID
INLINE void note_fork(u64 parent, u64 child)
{
	u32 parent_tgid = read_u32(parent + OFF_TASK_TGID), tgid = read_u32(child + OFF_TASK_TGID);
	struct counts *n;
	u64 started;

	if (parent_tgid == tgid || !pids.lookup(&parent_tgid))
		return;
	started = read_u64(child + OFF_TASK_START);
	if (!pids.update(&tgid, &started))
		return;
	n = my_counts();
	if (n)
		count_loss(n, LOSS_PIDS_FULL, HOOK_FORK);
}
#endif

#if FILTER_PID
/*
 * When its last thread is released, a process is no longer followed: its id
 * may come again. Not at its exit, where 7.3 has not yet unmapped its memory.
 * The release comes late (after an RCU grace period), so its id may have come
 * again already: then the start time is another's. A thread that takes the
 * first one's place at exec takes its start time too (fs/exec.c:de_thread).
 */
INLINE void note_free(u64 task)
{
	u32 tgid = read_u32(task + OFF_TASK_TGID);
	u64 *started;

	if (tgid != read_u32(task + OFF_TASK_PID))
		return;
	started = pids.lookup(&tgid);
	if (started && (!*started || *started == read_u64(task + OFF_TASK_START)))
		pids.delete(&tgid);
}
#endif

/* The slot goes with its task. */
INLINE void note_exit(void)
{
	u64 pid_tgid;
	struct slot *s = my_slot(&pid_tgid);

	if (!s)
		return;
	forget_below(pid_tgid, s, ~0ULL, 0);
	free_slot(s, pid_tgid);
}
