/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Ways in that are told by who is meant rather than by a file: userfaultfd,
 * ptrace, processes in one address space, io_uring of another process, and
 * descriptors that are taken out of another process.
 */

/* A task that is not the current one. */
struct someone {
	u64 mm;
	u64 start_ns;
	u32 pid;
	u32 exec_id;
};

INLINE struct someone someone_of(u64 task)
{
	struct someone s = {};

	if (!task)
		return s;
	s.mm = mm_number(read_u64(task + OFF_TASK_MM), 0);
	s.start_ns = read_u64(read_u64(task + OFF_TASK_LEADER) + OFF_TASK_START_BOOT);
	s.pid = read_u32(task + OFF_TASK_TGID);
	s.exec_id = read_u32(task + OFF_TASK_EXEC_ID);
	return s;
}

/* struct pid, by its list of threads (include/linux/pid.h: PIDTYPE_PID is the first). */
INLINE u64 pid_task(u64 pid)
{
	u64 first = pid ? read_u64(pid + OFF_PID_TASKS) : 0;

	return first ? first - OFF_TASK_PID_LINKS : 0;
}

/* As set_task, for a task that is not the current one. */
INLINE void set_other_task(struct record *r, u64 task)
{
	struct someone who = someone_of(task);

	r->event.pid = who.pid;
	r->event.tid = read_u32(task + OFF_TASK_PID);
	r->event.uid = read_u32(read_u64(task + OFF_TASK_CRED) + OFF_CRED_UID);
	bpf_probe_read_kernel(r->event.comm, 16, (void *)(task + OFF_TASK_COMM));
#if HAVE_CGROUPS
	r->event.cgroup = read_u64(read_u64(read_u64(read_u64(task + OFF_TASK_CGROUPS) +
						     OFF_CSS_SET_CGROUP) + OFF_CGROUP_NODE) +
				   OFF_KERNFS_ID);
#else
	r->event.cgroup = 0;
#endif
	r->event.start_ns = who.start_ns;
	r->event.exec_id = who.exec_id;
	r->event.own_mm = who.mm;
}

/* What is told without any file. */
struct fact {
	u64 actor;		/* task_struct, 0: the current one */
	u64 mm;			/* its number */
	u64 arg;
	u64 length;
	s64 offset;
	s32 slot;
	u32 checks;
	u32 vm;
};

INLINE void tell_fact(struct fact *f, u8 op, u8 hook)
{
#if !FILTER_DENIED && !FILTER_NAME
	struct counts *n = my_counts();
	struct user_regs regs = {};
	struct object o = {};
	struct record *r;

	if (!n)
		return;
	lock_xadd(&n->totals[hook & (HOOK_MAX - 1)].decided, 1);
	if (!seals_wanted(0)) {
		lock_xadd(&n->totals[hook & (HOOK_MAX - 1)].dropped, 1);
		return;
	}
	r = plain_event(n, bpf_get_current_pid_tgid(), &o, op, hook);
	if (!r)
		return;
	if (f->actor)
		set_other_task(r, f->actor);
	else
		r->head.flags = syscall_origin(r, current_task(), op, &regs);
	r->head.seals = 0;
	r->event.size_after = 0;
	r->event.seals_after = 0;
	r->event.mm = f->mm;
	r->event.arg = f->arg;
	r->event.length = f->length;
	r->event.offset = f->offset;
	r->event.check_answer = f->slot;
	r->event.checks = f->checks;
	r->event.vm = f->vm;
	submit(r);
#endif
}

/* ---- userfaultfd ---------------------------------------------------------------------- */

#define UFFDIO_REGISTER 0xc020aa00U
#define UFFDIO_POISON 0xc020aa08U

INLINE struct asked asked_fill(u64 mm, u64 address, u64 length, u64 which)
{
	struct asked asked = { mm, address, length, which, OP_UFFD_FILL, HOOK_UFFD };

	return asked;
}

/*
 * A registration is known at its return alone: before, its argument may lie in
 * a page that is not there. So is a poisoning, as no function that has its
 * range can be counted on (7.3's is a changed copy).
 */
INLINE void begin_uffd(struct access *a, u64 file, u32 cmd, u64 arg)
{
	if (cmd != UFFDIO_REGISTER && cmd != UFFDIO_POISON)
		return;
	a->arg = arg;
	a->inode = read_u64(file + OFF_FILE_PRIVATE);	/* the context, until the return */
	begin_access(a, cmd == UFFDIO_POISON ? OP_UFFD_FILL : OP_UFFD_REGISTER, HOOK_UFFD);
}

/*
 * The caller's argument is his to change: it is believed where the mapping at
 * its address is this context's now, and the range is unknown otherwise.
 */
INLINE void finish_uffd(struct access *a, s64 answer)
{
	u64 context = a->inode, mm = read_u64(context + OFF_UFFD_MM), range[3] = {}, vma = 0;
	struct found found = {};

	a->inode = 0;
	a->mm = mm_number(mm, 0);
	/* Both begin with start and length, and what is behind is a mode. */
	if (!bpf_probe_read_user(range, sizeof(range), (void *)a->arg))
		vma = vma_at(mm, range[0]);
	if (vma)
		found = memory_in(mm, range[0], range[1], 0);
	a->arg = 0;
	if (a->op == OP_UFFD_FILL)
		a->arg = range[2] = FILL_POISON;
	if (found.inode && (answer || read_u64(vma + OFF_VMA_UFFD) == context)) {
		a->inode = found.inode;
		a->kind = found.kind;
		a->offset = found.offset;
		a->address = range[0];
		a->length = range[1];
		a->arg = range[2];
	} else if (answer) {
		a->op = 0;	/* of no memory file, as far as is known, and without effect */
	} else {
		a->checks = 1;
	}
}

/* ---- whose memory is whose --------------------------------------------------------------- */

/* tracer: 0: the current task */
INLINE void tell_trace(u64 child, u64 tracer)
{
	struct someone who = someone_of(child);
	struct fact f = { .actor = tracer, .mm = who.mm, .arg = who.pid, .offset = who.start_ns,
			  .slot = who.exec_id };

	tell_fact(&f, OP_TRACE, HOOK_TRACE);
}

/*
 * ptrace_attach(task, …) and ptrace_traceme() (child 0): both end in
 * __ptrace_link, which 7.3 has put into them, and 6.1 has not: what it tells
 * of is not told again at the return.
 */
INLINE void begin_trace(struct access *a, u64 child)
{
	a->inode = child;	/* no inode: it is told by finish_trace */
	begin_access(a, OP_TRACE, HOOK_TRACE);
}

INLINE void finish_trace(struct access *a, s64 answer)
{
	u64 child = a->inode, task = current_task();

	a->op = 0;
	if (answer)
		return;
	if (child)
		tell_trace(child, 0);
	else
		tell_trace(task, load_u64(task + OFF_TASK_TRACER, TASK_DIRECT));
}

/* __ptrace_link(child, new_parent, cred): also of the children that a tracee gets. */
INLINE void note_link(u64 child, u64 tracer)
{
	struct access_key key = { .pid_tgid = bpf_get_current_pid_tgid(), .hook = HOOK_TRACE };

	accesses.delete(&key);
	tell_trace(child, tracer);
}

/*
 * wake_up_new_task(task): every fork and clone. A vfork child stands for its
 * parent, as a thread does, until it executes something, which is what nearly
 * all do; of one that does not, note_exit_of_vfork tells.
 */
INLINE void note_new_task(u64 child, int direct)
{
	u64 mm = load_u64(child + OFF_TASK_MM, direct), task = current_task();
	struct someone who;
	struct fact f = {};

	if (!mm || mm != load_u64(task + OFF_TASK_MM, TASK_DIRECT) ||
	    load_u32(child + OFF_TASK_TGID, direct) == load_u32(task + OFF_TASK_TGID, TASK_DIRECT) ||
	    load_u64(child + OFF_TASK_VFORK, direct) || !access_wanted())
		return;
	who = someone_of(task);
	f.actor = child;
	f.mm = who.mm;
	f.arg = who.pid;
	f.offset = who.start_ns;
	f.slot = who.exec_id;
	tell_fact(&f, OP_SHARE_MM, HOOK_SHARE_MM);
}

/*
 * do_exit(code): a vfork child that did what it did in its parent's memory and
 * executed nothing. Kernel threads wait for their ends by the same field.
 */
INLINE void note_exit_of_vfork(void)
{
	u64 task = current_task(), parent;
	u64 mm = load_u64(task + OFF_TASK_MM, TASK_DIRECT);
	struct someone who = {};
	struct fact f = {};

	if (!load_u64(task + OFF_TASK_VFORK, TASK_DIRECT) || !mm ||
	    read_u32(mm + OFF_MM_USERS) < 2 || !access_wanted())
		return;
	parent = load_u64(task + OFF_TASK_PARENT, TASK_DIRECT);
	if (read_u64(parent + OFF_TASK_MM) == mm)
		who = someone_of(parent);
	f.mm = mm_number(mm, 0);
	f.arg = who.pid;
	f.offset = who.start_ns;
	f.slot = who.exec_id;
	tell_fact(&f, OP_SHARE_MM, HOOK_SHARE_MM);
}

/* Rings that are polled and were told of, by address; the value is the owner's mm. */
BPF_HASH(polled_rings, u64, u64, 4096);

/*
 * io_submit_sqes(ctx, count): buffers that were registered are another
 * process's memory. Or the ring's own kernel thread polls it (SQPOLL): that has
 * the owner's mm, and anybody who inherited the queue may have filled it.
 */
INLINE void note_ring(u64 ring)
{
	u64 owner = read_u64(ring + OFF_RING_MM), task = current_task();
	struct fact f = { .checks = 1 };
	u64 *known;

	if (!owner || (owner == my_mm() &&
		       !(load_u32(task + OFF_TASK_FLAGS, TASK_DIRECT) & (PF_KTHREAD | PF_IO_WORKER))))
		return;
	f.length = read_u32(ring + OFF_RING_BUFFERS);
	if (!f.length)
		return;
	f.mm = mm_number(owner, 0);
	if (owner == my_mm()) {
		known = polled_rings.lookup(&ring);
		if (known && *known == f.mm)
			return;
		polled_rings.update(&ring, &f.mm);
	}
	tell_fact(&f, OP_RING, HOOK_RING);
}

/* udmabuf_create(device, head, list): head->count files, which pins show since 6.11. */
#define UDMABUF_COUNT 4

INLINE void note_udmabuf(u64 head)
{
	struct fact f = { .arg = DEVICE_UDMABUF, .length = read_u32(head + UDMABUF_COUNT) };

	tell_fact(&f, OP_DEVICE, HOOK_DEVICE);
}

/* ---- descriptors that are taken ------------------------------------------------------------ */

/* From whom the current task is taking a file. */
struct giver {
	struct someone who;
	u64 link;		/* inode of /proc's link, 0: by a call */
	u64 inode;		/* where the link led, 0: nowhere yet */
	u64 receipt;
};

/* The oldest go where nobody takes them away: a link may be followed for other ends. */
BPF_TABLE("lru_hash", u64, struct giver, givers, 16384);

INLINE void begin_taking(u64 pid, u64 link, u32 receipt)
{
	u64 me = bpf_get_current_pid_tgid();
	struct giver *before = givers.lookup(&me);
	struct giver g = { .who = someone_of(pid_task(pid)), .link = link, .receipt = receipt };

	/* proc_map_files_get_link calls proc_pid_get_link. */
	if (before && link && before->link == link && !before->inode &&
	    before->receipt == RECEIPT_MAP_FILES)
		return;
	givers.update(&me, &g);
}

INLINE void end_taking(void)
{
	u64 me = bpf_get_current_pid_tgid();

	givers.delete(&me);
}

/* nd_jump_link(path): where a link of /proc leads to. */
INLINE void note_jump(u64 path)
{
	u64 me = bpf_get_current_pid_tgid();
	struct giver *g = givers.lookup(&me);

	if (g && g->link)
		g->inode = read_u64(read_u64(path + OFF_PATH_DENTRY) + OFF_DENTRY_INODE);
}

INLINE void set_giver(struct access *a, struct giver *g)
{
	a->mm = g->who.mm;
	a->slot = g->who.pid;
	a->offset = g->who.start_ns;
	a->arg = g->receipt | (u64)g->who.exec_id << 32;
}

/* Who is answering a system call for a task behind a filter, by that filter. */
BPF_HASH(supervisors, u64, struct giver, 4096);

#define SECCOMP_IOCTL_NOTIF_ADDFD 0x40182103U

/* seccomp_notify_ioctl(file, cmd, arg): until it returns, a task may get a file of the caller's. */
INLINE void begin_adding(u64 file, u32 cmd)
{
	u64 filter = read_u64(file + OFF_FILE_PRIVATE), me = bpf_get_current_pid_tgid();
	struct giver g = { .receipt = RECEIPT_SECCOMP };

	if (cmd != SECCOMP_IOCTL_NOTIF_ADDFD)
		return;
	g.who = someone_of(current_task());
	/* Its return has no arguments: this task's entry there says which filter it was. */
	g.inode = filter;
	supervisors.update(&filter, &g);
	givers.update(&me, &g);
}

INLINE void end_adding(void)
{
	u64 me = bpf_get_current_pid_tgid(), filter;
	struct giver *g = givers.lookup(&me);

	if (!g || g->receipt != RECEIPT_SECCOMP)
		return;
	filter = g->inode;
	supervisors.delete(&filter);
	givers.delete(&me);
}

#define FILTERS 8

/* The giver of the current task that is waiting behind one of its filters. */
INLINE struct giver *supervisor(void)
{
	u64 filter = read_u64(current_task() + OFF_TASK_FILTER);

#pragma clang loop unroll(disable)
	for (int i = 0; i < FILTERS && filter; i++) {
		struct giver *g = supervisors.lookup(&filter);

		if (g)
			return g;
		filter = read_u64(filter + OFF_FILTER_PREV);
	}
	return NULL;
}

/* A descriptor arrives by a call of another task's, or by one that takes it. */
INLINE void begin_receive(struct access *a, u64 file)
{
	u64 me = bpf_get_current_pid_tgid();
	struct giver *g = givers.lookup(&me);

	if (!g || g->link)
		g = supervisor();
	if (g)
		set_giver(a, g);
	a->inode = file_inode(file, 0);
	a->kind = inode_kind(a->inode, 0);
	if (!a->kind || !is_sealable(inode_seals(a->inode, a->kind)))
		return;
	a->fmode = file_mode(file, 0);
	begin_access(a, OP_RECEIVE, HOOK_RECEIVE);
}

/*
 * security_file_open(file): every open of the host, so most go by their
 * superblock. A file that has a path is opened by it; a memfd has none, nor
 * has what is unlinked, and whoever opens that took it from somebody, even
 * where no link was seen.
 */
INLINE void note_open(struct access *a, u64 file, int direct)
{
	u64 inode = file_inode(file, direct), me;
	u8 kind = inode_kind(inode, direct);
	struct giver *g;

	if (!kind || !is_sealable(inode_seals(inode, kind)) || !access_wanted())
		return;
	me = bpf_get_current_pid_tgid();
	g = givers.lookup(&me);
	if (g && g->link && g->inode == inode)
		set_giver(a, g);
	else
		g = NULL;
	/* Programs open their own files anew by such links; what has no path is got by them alone. */
	if ((!g || g->who.pid == me >> 32) && read_u32(inode + OFF_INODE_LINKS))
		return;
	if (g)
		givers.delete(&me);
	a->inode = inode;
	a->kind = kind;
	a->fmode = file_mode(file, direct);
	a->time_ns = bpf_ktime_get_boot_ns();
	a->op = OP_RECEIVE;
	tell_access(a, me, HOOK_OPEN, 0);
}

/* io_msg_ring(request, flags): a file of the request's ring goes to another one. */
INLINE void begin_msg_ring(u64 request)
{
	u64 me = bpf_get_current_pid_tgid();
	struct giver g = { .receipt = RECEIPT_MSG_RING };

	g.who.mm = mm_number(read_u64(read_u64(request + OFF_REQUEST_RING) + OFF_RING_MM), 0);
	givers.update(&me, &g);
}

/*
 * __io_fixed_fd_install(ring, file, slot): into the table of a ring. By
 * somebody else, it is given to whoever has that ring; by its own process it
 * is received, which 7.3 also does on behalf of the one who sends it.
 */
INLINE void note_ring_file(struct access *a, u64 ring, u64 file)
{
	u64 owner = read_u64(ring + OFF_RING_MM), me = bpf_get_current_pid_tgid();
	struct giver *g = givers.lookup(&me);

	a->inode = file_inode(file, 0);
	a->kind = inode_kind(a->inode, 0);
	if (!a->kind || !is_sealable(inode_seals(a->inode, a->kind)))
		return;
	a->fmode = file_mode(file, 0);
	a->time_ns = bpf_ktime_get_boot_ns();
	a->arg = RECEIPT_MSG_RING;
	a->op = OP_RECEIVE;
	if (g && g->receipt == RECEIPT_MSG_RING)
		a->mm = g->who.mm;
	if (owner != my_mm()) {
		a->op = OP_GIVE;
		a->mm = mm_number(owner, 0);
	}
	tell_access(a, me, HOOK_RECEIVE, 0);
}

/* do_madvise and its kin, told at the entry: only process_madvise's are of another mm. */
INLINE void note_advice(struct access *a, u64 mm, u64 address, u64 length, u32 advice)
{
	struct found found;

	if (mm == my_mm() || !access_wanted())
		return;
	found = memory_in(mm, address, length, 0);
	if (!found.inode && !found.too_many)
		return;
	a->inode = found.inode;
	a->kind = found.kind;
	a->offset = found.offset;
	a->checks = found.too_many;
	a->mm = mm_number(mm, 0);
	a->address = address;
	a->length = length;
	a->arg = advice;
	a->op = OP_ADVISE;
	a->time_ns = bpf_ktime_get_boot_ns();
	tell_access(a, bpf_get_current_pid_tgid(), HOOK_ADVISE, 0);
}

/* ---- virtual machines ----------------------------------------------------------------------- */

/* kvm_destroy_vm(kvm): nothing of it is left that could reach memory. */
INLINE void note_vm_end(u64 kvm)
{
	struct vm *known = vms.lookup(&kvm);
	struct fact f = {};

	if (!known)
		return;
	f.mm = known->mm;
	f.vm = known->number;
	vm_numbers.delete(&f.vm);
	vms.delete(&kvm);
	tell_fact(&f, OP_VM_END, HOOK_MEMSLOT);
}

/*
 * kvm_arch_commit_memory_region(kvm, old, new, change): the slot that is set
 * has its file in hand; the number in the caller's region may be another's by now.
 */
INLINE void note_slot_file(u64 slot)
{
	struct access_key key = { .pid_tgid = bpf_get_current_pid_tgid(), .hook = HOOK_MEMSLOT };
	struct access *a = accesses.lookup(&key);
	struct kvm_facts *kvm;
	u64 place = slot, file;
	int zero = 0;

	/* A number, not a pointer of a known type: offsets out of a map are none that it takes. */
	slot = read_u64((u64)&place);
	if (!a || !(a->checks & KVM_MEM_GUEST_MEMFD))
		return;
	kvm = kvm_facts.lookup(&zero);
	if (!kvm || !kvm->has_gmem)
		return;
	file = read_u64(slot + kvm->slot_file);
	if (!file)
		return;
	a->inode = file_inode(file, 0);
	a->kind = inode_kind(a->inode, 0);
	a->offset = read_u64(slot + kvm->slot_page) << PAGE_SHIFT;
	if (!a->kind)
		a->inode = 0;
}

/* ---- processes that exist already ------------------------------------------------------------ */

/* What show_process found; user space has it mapped. */
BPF_F_TABLE("array", u32, struct someone, shown, 1, BPF_F_MMAPABLE);

/*
 * Whose folder in /proc it is that the recorder has open. Not hooked anywhere,
 * as tell_mapped: /proc itself tells neither the exact start nor the program.
 */
INLINE void tell_process(u64 fd)
{
	u64 inode = file_inode(task_file(fd), 0);
	struct someone who = {}, *out;
	int zero = 0;

	out = shown.lookup(&zero);
	if (!out)
		return;
	if (inode && read_u64(read_u64(inode + OFF_INODE_SB) + OFF_SB_MAGIC) == PROC_SUPER_MAGIC)
		who = someone_of(pid_task(read_u64(inode + OFF_PROC_PID)));
	*out = who;
}
