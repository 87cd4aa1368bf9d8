/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Who called: the registers with which a task entered the kernel and the pages
 * of its stack next to them, for user space to find the callers in; and where
 * code lies in its address space. Both have rings of their own: a stack must
 * never push out a decision. What was on the stack goes no further than to
 * the recorder, which keeps the callers alone (tracer/capture/stacks).
 *
 * The Python side reads these structs (tracer/capture/stacks/samples.py), so
 * they are written as those of record.h are.
 */
#if STACKS
#define STACKS_DENIED 1
#define STACKS_BREACH 2
#define STACKS_ALL 4
#define STACK_PAGES 5
#define STACKS_A_SECOND 200	/* of one CPU, of 2^30 ns */

struct stack_sample {
	u64 time_ns;
	u64 mm;			/* number of the address space */
	u64 start_ns;		/* when the process began, boot clock */
	u64 base;		/* address of the first page */
	u64 maps_lost;		/* how often there was no room for a struct code_map so far */
	u32 pid;
	u32 tid;
	u32 sample;		/* its number */
	u32 present;		/* bit N: page N was there */
	u64 regs[21];		/* struct pt_regs */
	u64 kernel_frames;	/* how many of kernel[] are used, the innermost first */
	u64 kernel[64];		/* addresses of the kernel's code: for the recorder alone */
	char pages[20480];
};

#define CODE_FILE 1
#define CODE_ANONYMOUS 2
#define CODE_VDSO 3
#define CODE_FORK 4		/* mm has from now on what from_mm has */

struct code_map {
	u64 time_ns;
	u64 mm;
	u64 from_mm;
	u64 start;
	u64 end;
	u64 pgoff;
	u64 ino;
	u64 size;
	u64 start_ns;
	u32 pid;
	u32 dev;
	u32 gen;
	u16 kind;
	u16 length;		/* bytes used in path */
	char path[1280];	/* names, the innermost first, each ended by a NUL */
};

#define PATH_ROOM 1024		/* behind it one more name has room */
#define PATH_STEPS 40

struct stack_state {
	u64 samples;		/* of this CPU */
	u64 second;
	u64 taken;		/* in that second */
};

BPF_RINGBUF_OUTPUT(stack_samples, STACK_RING_PAGES);
BPF_RINGBUF_OUTPUT(code_maps, CODE_RING_PAGES);
BPF_PERCPU_ARRAY(stack_states, struct stack_state, 1);
BPF_ARRAY(maps_lost, u64, 1);

/* Seals that may forbid what succeeded; whether they did, the rules know (tracer/rules). */
INLINE u32 forbidding(u8 op)
{
	switch (op) {
	case OP_WRITE:
	case OP_PUNCH_HOLE:
	case OP_MMAP:
	case OP_MPROTECT:
	case OP_MREMAP:
	case OP_REMAP_FILE_PAGES:
		return 0x3c;
	case OP_TRUNCATE:
		return 0x26;
	case OP_ALLOCATE:
		return 0x3c;
	case OP_CHMOD:
	case OP_READ:
	case OP_EXEC:
		return 0x20;
	case OP_ADD_SEALS:
		return F_SEAL_SEAL;
	}
	return 0;
}

INLINE int stack_wanted(u8 op, s64 answer, u32 seals)
{
#if STACKS == STACKS_DENIED
	return is_error(answer);
#elif STACKS == STACKS_BREACH
	return !is_error(answer) && seals & forbidding(op);
#else
	return 1;
#endif
}

/* Takes the stack of what this task does; the sample's number, 0: none was taken. */
INLINE u32 take_stack(struct counts *n, u8 hook, u8 op, s64 answer, u32 seals)
{
	u64 task, regs, leader, now;
	struct stack_sample *s;
	struct stack_state *state;
	struct config *c;
	u64 *lost;
	int zero = 0;

	if (!stack_wanted(op, answer, seals))
		return 0;
	task = current_task();
	if (load_u32(task + OFF_TASK_FLAGS, TASK_DIRECT) & (PF_KTHREAD | PF_IO_WORKER))
		return 0;
	/* The self-test's own are nobody's business. */
	c = my_config();
	if (!c || !c->enabled)
		return 0;
	state = stack_states.lookup(&zero);
	lost = maps_lost.lookup(&zero);
	if (!state || !lost)
		return 0;
	now = bpf_ktime_get_boot_ns();
	if (state->second != now >> 30) {
		state->second = now >> 30;
		state->taken = 0;
	}
	if (state->taken >= STACKS_A_SECOND) {
		count_loss(n, LOSS_STACK_RATE, hook);
		return 0;
	}
	s = stack_samples.ringbuf_reserve(sizeof(struct stack_sample));
	if (!s) {
		count_loss(n, LOSS_STACK, hook);
		return 0;
	}
	state->taken++;
	s->time_ns = now;
	s->mm = task_mm_number(task);
	leader = load_u64(task + OFF_TASK_LEADER, TASK_DIRECT);
	s->start_ns = load_u64(leader + OFF_TASK_START_BOOT, TASK_DIRECT);
	s->maps_lost = *lost;
	s->pid = bpf_get_current_pid_tgid() >> 32;
	s->tid = bpf_get_current_pid_tgid();
	s->present = 0;
	u32 sample = state->samples++ * CPUS + n->cpu + 1;

	s->sample = sample;
#if HAVE_TASK_PT_REGS
	regs = (u64)bpf_task_pt_regs((struct task_struct *)task);
#else
	regs = read_u64(task + OFF_TASK_STACK) + THREAD_SIZE - PT_REGS_SIZE;
#endif
	bpf_probe_read_kernel(s->regs, PT_REGS_SIZE, (void *)regs);
	s->kernel_frames = 0;
#if KERNEL_STACKS && HAVE_TASK_PT_REGS
	/* With ours on top: user space knows which those are, by their names. */
	long got = bpf_get_task_stack((struct task_struct *)task, s->kernel, sizeof(s->kernel), 0);

	if (got > 0)
		s->kernel_frames = got / sizeof(u64);
#endif
	/* Page by page: a read that meets a hole, or the stack's end, fails as a whole. */
	s->base = s->regs[19] & ~4095ULL;
#pragma clang loop unroll(full)
	for (int i = 0; i < STACK_PAGES; i++)
		if (!bpf_probe_read_user(s->pages + i * 4096, 4096, (void *)(s->base + i * 4096)))
			s->present |= 1 << i;
	stack_samples.ringbuf_submit(s, BPF_RB_NO_WAKEUP);
	return sample;
}

INLINE void set_stack(struct record *r, u32 sample)
{
	r->event.user_stack = sample;
#if KERNEL_STACKS && HAVE_TASK_PT_REGS
	r->event.kernel_stack = sample;
#endif
}

#define VM_EXEC 4

INLINE int code_wanted(struct counts *n)
{
	struct config *c = my_config();

	return n && c && c->enabled && act_wanted(c, bpf_get_current_pid_tgid(), 0, 0);
}

INLINE struct code_map *new_code_map(struct counts *n, u16 kind)
{
	struct code_map *m = code_maps.ringbuf_reserve(sizeof(struct code_map));
	int zero = 0;
	u64 *lost;

	if (!m) {
		count_loss(n, LOSS_STACK_MAP, HOOK_CODE);
		lost = maps_lost.lookup(&zero);
		if (lost)
			lock_xadd(lost, 1);
		return NULL;
	}
	m->time_ns = bpf_ktime_get_boot_ns();
	m->kind = kind;
	m->length = 0;
	m->from_mm = 0;
	m->ino = 0;
	m->size = 0;
	m->dev = 0;
	m->gen = 0;
	return m;
}

#define OVERLAYFS_MAGIC 0x794c7630
#define FUSE_MAGIC 0x65735546
#define MNT_NS_INTERNAL (~0ULL - MAX_ERRNO + 1)	/* ERR_PTR(-EINVAL): kern_mount's */

/* The file, and its path from the root of the tree of mounts that it is on. */
INLINE void describe_code(struct code_map *m, u64 file)
{
	u64 path = file + OFF_FILE_PATH, mount, dentry, inode;
	u32 at = 0;

	mount = read_u64(path + OFF_PATH_MNT) - OFF_MOUNT_MNT;
#if OFF_BACKING_PATH
	/*
	 * Since 6.8 the file that overlayfs maps is one of the layer below, on a
	 * mount of its own, and has beside it what the user opened.
	 */
	if (read_u64(mount + OFF_MOUNT_NS) >= MNT_NS_INTERNAL) {
		u64 user = read_u64(file + OFF_BACKING_PATH + OFF_PATH_DENTRY);
		u64 sb = read_u64(read_u64(user + OFF_DENTRY_INODE) + OFF_INODE_SB);
		u64 magic = read_u64(sb + OFF_SB_MAGIC);

		if (magic == OVERLAYFS_MAGIC || magic == FUSE_MAGIC)
			path = file + OFF_BACKING_PATH;
	}
#endif
	dentry = read_u64(path + OFF_PATH_DENTRY);
	mount = read_u64(path + OFF_PATH_MNT) - OFF_MOUNT_MNT;
	inode = read_u64(dentry + OFF_DENTRY_INODE);
	m->ino = read_u64(inode + OFF_INODE_INO);
	m->size = read_u64(inode + OFF_INODE_SIZE);
	m->gen = read_u32(inode + OFF_INODE_GEN);
	m->dev = read_u32(read_u64(inode + OFF_INODE_SB) + OFF_SB_DEV);
#pragma clang loop unroll(disable)
	for (int i = 0; i < PATH_STEPS; i++) {
		u64 parent = read_u64(dentry + OFF_DENTRY_PARENT);
		long got;

		if (dentry == read_u64(mount + OFF_MOUNT_MNT + OFF_MNT_ROOT) ||
		    dentry == parent) {
			u64 up = read_u64(mount + OFF_MOUNT_MNT + OFF_MNT_PARENT);

			if (up == mount)
				break;
			dentry = read_u64(mount + OFF_MOUNT_MNT + OFF_MNT_POINT);
			mount = up;
			continue;
		}
		if (at >= PATH_ROOM)
			break;
		got = bpf_probe_read_kernel_str(m->path + at, 256,
						(void *)read_u64(dentry + OFF_DENTRY_NAME));
		if (got <= 0)
			break;
		at += got & 511;
		dentry = parent;
	}
	m->length = at;
}

/* perf_event_mmap(vma): a mapping is there, or has got other rights. */
INLINE void note_code(u64 vma)
{
	struct counts *n;
	struct code_map *m;
	u64 file, mm, leader;

	if (!(read_u64(vma + OFF_VMA_FLAGS) & VM_EXEC))
		return;
	n = my_counts();
	if (!code_wanted(n))
		return;
	file = read_u64(vma + OFF_VMA_FILE);
	m = new_code_map(n, file ? CODE_FILE : CODE_ANONYMOUS);
	if (!m)
		return;
	mm = read_u64(vma + OFF_VMA_MM);
	m->mm = mm_number(mm, 0);
	m->start = read_u64(vma + OFF_VMA_START);
	m->end = read_u64(vma + OFF_VMA_END);
	m->pgoff = read_u64(vma + OFF_VMA_PGOFF);
	m->pid = bpf_get_current_pid_tgid() >> 32;
	leader = read_u64(current_task() + OFF_TASK_LEADER);
	m->start_ns = read_u64(leader + OFF_TASK_START_BOOT);
#if OFF_MM_VDSO
	if (!file && m->start == read_u64(mm + OFF_MM_VDSO))
		m->kind = CODE_VDSO;
#endif
#if HAVE_CODE_PATHS
	if (file)
		describe_code(m, file);
#endif
	code_maps.ringbuf_submit(m, BPF_RB_NO_WAKEUP);
}

/* A process that was just made has the mappings of its parent, or (vfork) its very address space. */
INLINE void note_code_copied(u64 parent, u64 child)
{
	struct counts *n = my_counts();
	u64 from = read_u64(parent + OFF_TASK_MM), mm = read_u64(child + OFF_TASK_MM), leader;
	struct code_map *m;

	if (!mm || !from || read_u32(parent + OFF_TASK_TGID) == read_u32(child + OFF_TASK_TGID) ||
	    !code_wanted(n))
		return;
	m = new_code_map(n, CODE_FORK);
	if (!m)
		return;
	m->mm = mm_number(mm, 0);
	m->from_mm = mm_number(from, 0);
	m->start = 0;
	m->end = 0;
	m->pgoff = 0;
	m->pid = read_u32(child + OFF_TASK_TGID);
	leader = read_u64(child + OFF_TASK_LEADER);
	m->start_ns = read_u64(leader + OFF_TASK_START_BOOT);
	code_maps.ringbuf_submit(m, BPF_RB_NO_WAKEUP);
}
#endif
