/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From what a hook saw to records in the ring. */

/* System calls whose file descriptor is known by its register (x86-64 ABI). */
#define NR_READ 0
#define NR_WRITE 1
#define NR_MMAP 9
#define NR_PREAD64 17
#define NR_PWRITE64 18
#define NR_READV 19
#define NR_WRITEV 20
#define NR_SENDFILE 40
#define NR_FCNTL 72
#define NR_FTRUNCATE 77
#define NR_FCHMOD 91
#define NR_SPLICE 275
#define NR_FALLOCATE 285
#define NR_PREADV 295
#define NR_PWRITEV 296
#define NR_COPY_FILE_RANGE 326
#define NR_PREADV2 327
#define NR_PWRITEV2 328

INLINE s32 syscall_fd(u8 op, u64 nr, struct user_regs *regs)
{
	switch (op) {
	case OP_MMAP:
		return nr == NR_MMAP ? (s32)regs->r8 : -1;
	case OP_WRITE:
		if (nr == NR_WRITE || nr == NR_PWRITE64 || nr == NR_WRITEV ||
		    nr == NR_PWRITEV || nr == NR_PWRITEV2 || nr == NR_SENDFILE)
			return regs->di;
		if (nr == NR_SPLICE || nr == NR_COPY_FILE_RANGE)
			return regs->dx;
		return -1;
	case OP_READ:
		if (nr == NR_READ || nr == NR_PREAD64 || nr == NR_READV ||
		    nr == NR_PREADV || nr == NR_PREADV2 || nr == NR_SPLICE ||
		    nr == NR_COPY_FILE_RANGE)
			return regs->di;
		if (nr == NR_SENDFILE)
			return regs->si;
		return -1;
	case OP_TRUNCATE:
		return nr == NR_FTRUNCATE ? (s32)regs->di : -1;
	case OP_CHMOD:
		return nr == NR_FCHMOD ? (s32)regs->di : -1;
	case OP_ALLOCATE:
	case OP_PUNCH_HOLE:
		return nr == NR_FALLOCATE ? (s32)regs->di : -1;
	case OP_ADD_SEALS:
		return nr == NR_FCNTL ? (s32)regs->di : -1;
	}
	return -1;
}

/* Fills fd and nr; returns the flags that explain why they are unknown. */
INLINE u32 syscall_origin(struct record *r, u64 task, u8 op, struct user_regs *regs)
{
	r->event.fd = -1;
	r->head.nr = 0xffff;
	if (load_u32(task + OFF_TASK_FLAGS, TASK_DIRECT) & (PF_KTHREAD | PF_IO_WORKER))
		return FLAG_KERNEL_TASK;
	if (is_compat(task))
		return FLAG_COMPAT;
	user_regs(task, regs);
	/* An exception's frame carries -1 there: no system call is running. */
	if (regs->orig_ax >= 0xffff)
		return 0;
	r->head.nr = regs->orig_ax;
	r->event.fd = syscall_fd(op, regs->orig_ax, regs);
	return 0;
}

/* Takes the sequence number first: a record that finds no room leaves a hole. */
INLINE struct record *new_record(struct counts *n, u8 type, u8 hook)
{
	u64 seq = n->seq++;
	struct record *r = ring.ringbuf_reserve(sizeof(struct record));

	if (!r) {
		count_loss(n, LOSS_RING_FULL, hook);
		return NULL;
	}
	r->head.seq = seq;
	r->head.cpu = n->cpu;
	r->head.type = type;
	r->head.hook = hook;
	return r;
}

/* No wake-up: the reader looks at the ring by the clock, not by interrupt. */
INLINE void submit(struct record *r)
{
	ring.ringbuf_submit(r, BPF_RB_NO_WAKEUP);
}

INLINE void set_key(struct record *r, struct object *o)
{
	r->head.ino = o->ino;
	r->head.dev = o->dev;
	r->head.gen = o->gen;
	r->head.kind = o->kind;
}

/* What nothing fills yet: the ring's memory has something old in it. */
INLINE void set_spare(struct record *r)
{
	r->event.user_stack = 0;
	r->event.kernel_stack = 0;
	r->event.spare[0] = 0;
	r->event.spare[1] = 0;
}

/* Who that is for ever: numbers alone come again (include/linux/sched.h). */
INLINE void set_identity(struct record *r, u64 task)
{
	u64 leader = load_u64(task + OFF_TASK_LEADER, TASK_DIRECT);

	r->event.start_ns = load_u64(leader + OFF_TASK_START_BOOT, TASK_DIRECT);
	r->event.exec_id = load_u32(task + OFF_TASK_EXEC_ID, TASK_DIRECT);
	r->event.own_mm = task_mm_number(task);
	r->event.vm = 0;
}

INLINE void set_task(struct record *r, u64 task, u64 pid_tgid)
{
	r->event.pid = pid_tgid >> 32;
	r->event.tid = pid_tgid;
	r->event.uid = task_uid(task);
	r->event.cgroup = task_cgroup(task);
	task_comm(task, r->event.comm);
	set_identity(r, task);
}
