/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Who acts: each process, and each program that it runs, is told once, with the
 * first thing of it that is recorded: its executable, command line and parent.
 *
 * None of it is proof of anything. The command line is the process's own
 * memory, and mm->exe_file is set by prctl(PR_SET_MM_EXE_FILE), for which the
 * owner of a user namespace needs nobody's leave (kernel/sys.c).
 */
#define TASK_PIECE 127
#define TASK_PIECES 17		/* of both texts together */
#define CMDLINE_ROOM 2047
#define EXE_PATH_ROOM 1024
#define EXE_PATH_STEPS 20		/* names and mounts */
#define UPID_SIZE 16		/* struct upid: a number and its namespace */

/* Who was told. A full map forgets those that were used least, and tells them again. */
BPF_TABLE("lru_hash", struct actor, u8, told, 16384);

/* Where an actor is gathered: more than the stack has room for. */
struct gathered {
	u64 busy;		/* somebody that we interrupted is at it */
	u64 value;		/* what was read last */
	u64 self;		/* where this is, as a number */
	u64 parent_start_ns;
	u64 ino;
	u32 dev;
	u32 gen;
	u32 parent;
	u32 ns_pid;
	u64 from;		/* the text that is sent: what of it is left, */
	u64 left;
	u64 part;		/*   and the number of the next piece */
	u64 what;
	u64 has_cmdline;	/* all ones: it comes behind the path */
	u64 cmdline_left;
	u64 beyond;		/* all ones: what is sent goes on, and was not read */
	u64 cmdline_beyond;
	u64 at;			/* where the path starts in text */
	u64 failed;
	u64 full;		/* a piece found no room */
	u8 cut;
	u8 unlinked;
	u8 unused[6];
	char text[EXE_PATH_ROOM + 256];
	char cmdline[CMDLINE_ROOM + 1];
};

BPF_PERCPU_ARRAY(gathering, struct gathered, 1);

/*
 * The verifier walks each way through a loop, and knows a way again by what
 * stands in registers and on the stack at its head. So what changes from one
 * step to the next stands in a map, and choices are arithmetic: without that
 * each program would be ten times as long to it. But where a loop can end, the
 * count of its steps has to stand in a register: 6.1 takes it for endless if all
 * registers are as they were one step before.
 */
#define forget_registers() asm volatile("" ::: "memory")

/* clang turns arithmetic into branches again where it sees what it is. */
#define hide(value) asm volatile("" : "+r"(value))

/* All ones if a is b, or else 0. */
INLINE u64 same(u64 a, u64 b)
{
	u64 other = a ^ b, negative = -other, is;

	hide(negative);
	is = ((other | negative) >> 63) - 1;
	hide(is);
	return is;
}

/* All ones if a < b, of numbers below 2^63, or else 0. */
INLINE u64 less(u64 a, u64 b)
{
	u64 is = 0 - ((a - b) >> 63);

	hide(is);
	return is;
}

INLINE u64 fetch(struct gathered *g, u64 addr)
{
	bpf_probe_read_kernel(&g->value, 8, (void *)addr);
	return g->value;
}

INLINE u32 fetch_u32(struct gathered *g, u64 addr)
{
	bpf_probe_read_kernel(&g->value, 4, (void *)addr);
	return g->value;
}

/* Room for one more name and its slash. */
#define NAME_ROOM 256

/*
 * The path of a file, from its end: by dentries, and where a mount's root is
 * reached by what it is mounted on (fs/d_path.c:prepend_path). A file without a
 * place in its tree, as a memfd, has its name alone.
 */
INLINE void gather_path(struct gathered *g, u64 file)
{
	u64 dentry = fetch(g, file + OFF_FILE_PATH_DENTRY), mnt = fetch(g, file + OFF_FILE_PATH_MNT);

#pragma clang loop unroll(disable)
	for (u64 i = 0; i < EXE_PATH_STEPS; i++) {
		u64 is_root = same(dentry, fetch(g, mnt + OFF_MNT_ROOT));
		u64 above = fetch(g, dentry + OFF_DENTRY_PARENT);
		u64 mnt_above = fetch(g, mnt + OFF_MNT_PARENT) + OFF_MOUNT_MNT;
		u64 under = fetch(g, mnt + OFF_MNT_POINT);
		u64 name = fetch(g, dentry + OFF_DENTRY_NAME), is_top, slash, at = g->at;
		u64 length = fetch_u32(g, dentry + OFF_DENTRY_NAME_LEN) & ~is_root & 255;

		is_top = (is_root & same(mnt_above, mnt)) | (~is_root & same(above, dentry));
		/* A slash before each name but a lone one; a mount point's name has it already. */
		at -= length;
		slash = at - (~is_root & ~is_top & 1);
		/* Said again where the verifier sees it: clang drops what it can prove. */
		asm volatile("" : "+r"(at), "+r"(slash), "+r"(length));
		at &= EXE_PATH_ROOM - 1;
		slash &= EXE_PATH_ROOM - 1;
		length &= 255;
		g->text[slash] = '/';
		bpf_probe_read_kernel(g->text + at, length, (void *)name);
		at = slash;
		g->at = at;
		g->cut = ~is_top & 1;
		forget_registers();
		is_top |= less(at, NAME_ROOM);
		hide(i);
		if (is_top)
			break;
		dentry = (is_root & under) | (~is_root & above);
		mnt = (is_root & mnt_above) | (~is_root & mnt);
	}
	forget_registers();
}
INLINE void gather(struct gathered *g, u64 task, u64 mm)
{
	u64 leader = fetch(g, task + OFF_TASK_LEADER), parent, pid, file, inode;

	/* What cannot be read is 0, and what is near 0 cannot be read. */
	parent = fetch(g, leader + OFF_TASK_PARENT);
	g->parent = fetch_u32(g, parent + OFF_TASK_TGID);
	g->parent_start_ns = fetch(g, fetch(g, parent + OFF_TASK_LEADER) + OFF_TASK_START_BOOT);
	pid = fetch(g, leader + OFF_TASK_THREAD_PID);
	g->ns_pid = fetch_u32(g, pid + OFF_PID_NUMBERS + UPID_SIZE * fetch_u32(g, pid + OFF_PID_LEVEL));
	file = fetch(g, mm + OFF_MM_EXE);
	inode = fetch(g, file + OFF_FILE_INODE);
	g->ino = fetch(g, inode + OFF_INODE_INO);
	g->dev = fetch_u32(g, fetch(g, inode + OFF_INODE_SB) + OFF_SB_DEV);
	g->gen = fetch_u32(g, inode + OFF_INODE_GEN);
	g->unlinked = same(fetch_u32(g, inode + OFF_INODE_LINKS), 0) & ~same(file, 0) & 1;
	g->at = EXE_PATH_ROOM - 1;
	g->cut = 0;
	if (file)
		gather_path(g, file);
	g->from = g->self + __builtin_offsetof(struct gathered, text) + g->at;
	g->left = EXE_PATH_ROOM - 1 - g->at;
	g->what = TASK_EXE;
	g->part = 0;
	g->beyond = 0;
	forget_registers();
}

/*
 * The command line, where the process keeps it, or says that it does
 * (PR_SET_MM_ARG_START). Only the current task's memory is at hand.
 */
INLINE void gather_cmdline(struct gathered *g, u64 mm)
{
	u64 own = fetch(g, current_task() + OFF_TASK_MM), start = fetch(g, mm + OFF_MM_ARG_START);
	u64 end = fetch(g, mm + OFF_MM_ARG_END), all = end - start, fits = less(all, CMDLINE_ROOM);
	u64 length = (all & fits) | (CMDLINE_ROOM & ~fits), failed;

	g->has_cmdline = less(start, end) & same(mm, own) & ~same(mm, 0);
	length &= g->has_cmdline;
	hide(length);
	length &= CMDLINE_ROOM;
	/* Of who exits and has no memory any more, nothing can be read: not even nothing. */
	failed = ~same(bpf_probe_read_user(g->cmdline, length, (void *)start), 0) & g->has_cmdline;
	g->cmdline_left = length & ~failed;
	g->cmdline_beyond = failed | ~fits;
	g->failed = failed;
	forget_registers();
}

/* The next piece of the text that is sent. */
INLINE void send_piece(struct record *r, struct counts *n, u64 seq, struct gathered *g,
		       struct actor *who)
{
	u64 left = g->left, fits = less(left, TASK_PIECE), length;

	r->head.seq = seq;
	r->head.cpu = n->cpu;
	r->head.type = TYPE_TASK;
	r->head.hook = HOOK_NONE;
	r->head.time_ns = bpf_ktime_get_boot_ns();
	r->head.ino = g->ino;
	r->head.dev = g->dev;
	r->head.gen = g->gen;
	r->head.kind = 0;
	r->head.op = 0;
	r->head.nr = 0xffff;
	r->head.flags = 0;
	r->head.seals = 0;
	r->task.start_ns = who->start_ns;
	r->task.pid = who->pid;
	r->task.exec_id = who->exec_id;
	r->task.parent_start_ns = g->parent_start_ns;
	r->task.parent = g->parent;
	r->task.ns_pid = g->ns_pid;
	r->task.part = g->part;
	r->task.what = g->what;
	r->task.cut = g->cut;
	r->task.unlinked = g->unlinked;
	r->task.unused = 0;
	length = (left & fits) | (TASK_PIECE & ~fits);
	hide(length);
	length &= TASK_PIECE;
	bpf_probe_read_kernel(r->task.text, length, (void *)g->from);
	r->task.length = length;
	r->task.more = (g->beyond | less(length, left)) & 1;
	submit(r);
	g->from += length;
	g->left = left - length;
	g->part++;
}

/* Behind the path there comes the command line; true: all was sent. */
INLINE u64 next_text(struct gathered *g)
{
	u64 over = same(g->left, 0), next = over & g->has_cmdline;

	g->from = (g->from & ~next) | ((g->self + __builtin_offsetof(struct gathered, cmdline)) & next);
	g->left |= g->cmdline_left & next;
	g->beyond |= g->cmdline_beyond & next;
	g->what = (g->what & ~next) | (TASK_CMDLINE & next);
	g->part &= ~next;
	g->has_cmdline &= ~next;
	forget_registers();
	return over & ~next;
}

/* Tells of a task, the current one or another, whatever was told before. */
INLINE int send_task(struct counts *n, u64 task, u64 mm, struct actor *who)
{
	int zero = 0;
	u64 over, seq;
	struct record *r;
	struct gathered *g = gathering.lookup(&zero);

	if (!g || g->busy)
		return 0;
	g->busy = 1;
	/* As numbers: the verifier compares no pointers, and adds little to them. */
	g->self = (u64)g;
	g->value = mm;
	forget_registers();
	mm = g->value;
	gather(g, task, mm);
	g->has_cmdline = g->failed = g->full = 0;
	if (CMDLINE)
		gather_cmdline(g, mm);
#pragma clang loop unroll(disable)
	for (u64 i = 0; i < TASK_PIECES; i++) {
		/* As new_record does, but with one look whether there was room: 6.1 takes two. */
		seq = n->seq++;
		r = ring.ringbuf_reserve(sizeof(struct record));
		if (!r) {
			count_loss(n, LOSS_RING_FULL, HOOK_NONE);
			g->full = 1;
			break;
		}
		send_piece(r, n, seq, g, who);
		over = next_text(g);
		hide(i);
		if (over)
			break;
	}
	forget_registers();
	if (g->failed)
		count_loss(n, LOSS_TASK_TEXT, HOOK_NONE);
	g->busy = 0;
	return !g->full;
}

/*
 * Tells of a task with this mm, if nobody did yet; whether it is told now. One
 * that has no mm as it exits may be another thread's process, which has.
 */
INLINE int tell_task(struct counts *n, u64 task, u64 mm, struct actor *who)
{
	u8 one = 1;

	if (!TASKS || told.lookup(who))
		return 1;
	if (!send_task(n, task, mm, who))
		return 0;
	if (mm || !(read_u32(task + OFF_TASK_FLAGS) & PF_EXITING))
		told.update(who, &one);
	return 1;
}

INLINE struct actor current_actor(u64 task)
{
	u64 leader = load_u64(task + OFF_TASK_LEADER, TASK_DIRECT);
	struct actor who = {};

	who.start_ns = load_u64(leader + OFF_TASK_START_BOOT, TASK_DIRECT);
	who.exec_id = load_u32(task + OFF_TASK_EXEC_ID, TASK_DIRECT);
	who.pid = bpf_get_current_pid_tgid() >> 32;
	return who;
}

/* Tells of the current task, and marks it so where its next call finds it. */
INLINE void tell_slot(struct counts *n, struct slot *s)
{
	u64 task = current_task();
	struct actor who = current_actor(task);

	if (tell_task(n, task, load_u64(task + OFF_TASK_MM, TASK_DIRECT), &who))
		s->told = who;
}

/* As plain events have it. last_mm: which one it had, if it is exiting and has none any more. */
INLINE void tell_me(u64 last_mm)
{
	u64 task = current_task(), mm = load_u64(task + OFF_TASK_MM, TASK_DIRECT);
	struct actor who = current_actor(task);
	struct counts *n = my_counts();

	if (n)
		tell_task(n, task, mm ? mm : last_mm, &who);
}
