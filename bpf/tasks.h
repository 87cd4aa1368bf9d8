/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Who acts: each process, and each program that it runs, is told once, with the
 * first thing of it that is recorded: its executable, command line and parent.
 *
 * None of it is proof of anything. The command line is the process's own
 * memory, and mm->exe_file is set by prctl(PR_SET_MM_EXE_FILE), for which the
 * owner of a user namespace needs nobody's leave (kernel/sys.c).
 */
#define TASK_PIECE 120
#define PATH_ROOM 1024
#define PATH_PIECES 9		/* PATH_ROOM / TASK_PIECE, rounded up */
#define PATH_STEPS 24		/* names and mounts */
#define CMDLINE_PIECES 16
#define UPID_SIZE 16		/* struct upid: a number and its namespace */

/* Who was told. A full map forgets those that were used least, and tells them again. */
BPF_TABLE("lru_hash", struct actor, u8, told, 16384);

/* Where an actor is gathered: more than the stack has room for. */
struct gathered {
	u64 busy;		/* somebody that we interrupted is at it */
	u64 parent_start_ns;
	u64 ino;
	u32 dev;
	u32 gen;
	u32 parent;
	u32 ns_pid;
	u32 start;		/* where the path starts in text */
	u8 cut;
	u8 unlinked;
	u8 unused[2];
	char text[PATH_ROOM + 256];
};

BPF_PERCPU_ARRAY(gathering, struct gathered, 1);

/*
 * The path of a file, from its end: by dentries, and where a mount's root is
 * reached by what it is mounted on (fs/d_path.c:prepend_path). A file without a
 * place in its tree, as a memfd, has its name alone.
 */
INLINE void gather_path(struct gathered *g, u64 file)
{
	u64 dentry = read_u64(file + OFF_FILE_PATH_DENTRY), mnt = read_u64(file + OFF_FILE_PATH_MNT);
	u32 at = PATH_ROOM;

	g->cut = 1;
#pragma clang loop unroll(disable)
	for (int i = 0; i < PATH_STEPS; i++) {
		u64 above = read_u64(dentry + OFF_DENTRY_PARENT), name;
		u32 length;

		if (dentry == read_u64(mnt + OFF_MNT_ROOT)) {
			above = read_u64(mnt + OFF_MNT_PARENT) + OFF_MOUNT_MNT;
			if (above == mnt) {
				g->cut = 0;
				break;
			}
			dentry = read_u64(mnt + OFF_MNT_POINT);
			mnt = above;
			continue;
		}
		name = read_u64(dentry + OFF_DENTRY_NAME);
		length = read_u32(dentry + OFF_DENTRY_NAME_LEN);
		if (length > NAME_MAX || length >= at)
			break;
		at -= length;
		/* Said again where the verifier sees it: clang drops what it can prove. */
		asm volatile("" : "+r"(at), "+r"(length));
		at &= PATH_ROOM - 1;
		length &= 255;
		bpf_probe_read_kernel(g->text + at, length, (void *)name);
		if (above == dentry) {
			g->cut = 0;
			break;
		}
		if (!at)
			break;
		at--;
		asm volatile("" : "+r"(at));
		at &= PATH_ROOM - 1;
		g->text[at] = '/';
		dentry = above;
	}
	g->start = at;
}

INLINE void gather(struct gathered *g, u64 task, u64 mm)
{
	u64 leader = read_u64(task + OFF_TASK_LEADER), parent, pid, file, inode;

	parent = read_u64(leader + OFF_TASK_PARENT);
	g->parent = read_u32(parent + OFF_TASK_TGID);
	g->parent_start_ns = read_u64(read_u64(parent + OFF_TASK_LEADER) + OFF_TASK_START_BOOT);
	pid = read_u64(leader + OFF_TASK_THREAD_PID);
	g->ns_pid = pid ? read_u32(pid + OFF_PID_NUMBERS + UPID_SIZE * read_u32(pid + OFF_PID_LEVEL)) : 0;
	g->ino = 0;
	g->dev = g->gen = 0;
	g->start = PATH_ROOM;
	g->cut = g->unlinked = 0;
	file = mm ? read_u64(mm + OFF_MM_EXE) : 0;
	if (!file)
		return;
	inode = file_inode(file, 0);
	g->ino = read_u64(inode + OFF_INODE_INO);
	g->dev = read_u32(read_u64(inode + OFF_INODE_SB) + OFF_SB_DEV);
	g->gen = read_u32(inode + OFF_INODE_GEN);
	g->unlinked = !read_u32(inode + OFF_INODE_LINKS);
	gather_path(g, file);
}

INLINE struct record *task_record(struct counts *n, struct gathered *g, struct actor *who, u8 what,
				  u32 part)
{
	struct record *r = new_record(n, TYPE_TASK, HOOK_NONE);

	if (!r)
		return NULL;
	r->head.time_ns = bpf_ktime_get_boot_ns();
	r->head.ino = 0;
	r->head.dev = 0;
	r->head.gen = 0;
	r->head.kind = 0;
	r->head.op = 0;
	r->head.nr = 0xffff;
	r->head.flags = 0;
	r->head.seals = 0;
	r->task.pid = who->pid;
	r->task.exec_id = who->exec_id;
	r->task.start_ns = who->start_ns;
	r->task.parent = g->parent;
	r->task.ns_pid = g->ns_pid;
	r->task.parent_start_ns = g->parent_start_ns;
	r->task.exe_ino = g->ino;
	r->task.exe_dev = g->dev;
	r->task.exe_gen = g->gen;
	r->task.part = part;
	r->task.what = what;
	r->task.cut = g->cut;
	r->task.unlinked = g->unlinked;
	return r;
}

INLINE int send_path(struct counts *n, struct gathered *g, struct actor *who)
{
	u32 at = g->start, length;
	struct record *r;

#pragma clang loop unroll(disable)
	for (u32 part = 0; part < PATH_PIECES; part++) {
		r = task_record(n, g, who, TASK_EXE, part);
		if (!r)
			return 0;
		length = PATH_ROOM - at;
		if (length > TASK_PIECE)
			length = TASK_PIECE;
		asm volatile("" : "+r"(at));
		at &= 2 * PATH_ROOM - 1;
		bpf_probe_read_kernel(r->task.text, TASK_PIECE, (char *)g->text + at);
		r->task.length = length;
		at += length;
		r->task.more = at < PATH_ROOM;
		submit(r);
		if (at >= PATH_ROOM)
			break;
	}
	return 1;
}

/* Where the process keeps it, or says that it does (prctl(PR_SET_MM_ARG_START)). */
INLINE int send_cmdline(struct counts *n, struct gathered *g, struct actor *who, u64 mm)
{
	u64 at = read_u64(mm + OFF_MM_ARG_START), end = read_u64(mm + OFF_MM_ARG_END), length;
	struct record *r;
	int missed = 0;

#pragma clang loop unroll(disable)
	for (u32 part = 0; part < CMDLINE_PIECES; part++) {
		if (at >= end || missed)
			break;
		r = task_record(n, g, who, TASK_CMDLINE, part);
		if (!r)
			return 0;
		length = end - at;
		if (length > TASK_PIECE)
			length = TASK_PIECE;
		asm volatile("" : "+r"(length));
		length &= 127;
		if (length > TASK_PIECE)
			length = TASK_PIECE;
		r->task.more = end - at > length;
		r->task.length = length;
		if (bpf_probe_read_user(r->task.text, length, (void *)at)) {
			/* It goes on, and not in what was recorded. */
			r->task.length = 0;
			r->task.more = 1;
			missed = 1;
		}
		at += length;
		submit(r);
	}
	if (missed)
		count_loss(n, LOSS_TASK_TEXT, HOOK_NONE);
	return 1;
}

/* Tells of a task, the current one or another, whatever was told before. */
INLINE int send_task(struct counts *n, u64 task, u64 mm, struct actor *who)
{
	u64 own = load_u64(current_task() + OFF_TASK_MM, TASK_DIRECT);
	int zero = 0, done;
	struct gathered *g = gathering.lookup(&zero);

	if (!g || g->busy)
		return 0;
	g->busy = 1;
	gather(g, task, mm);
	done = send_path(n, g, who);
#if CMDLINE
	if (done && mm && mm == own)
		done = send_cmdline(n, g, who, mm);
#endif
	g->busy = 0;
	return done;
}

/*
 * Tells of a task with this mm, if nobody did yet; whether it is told now. One
 * that has no mm as it exits may be another thread's process, which has.
 */
INLINE int tell_task(struct counts *n, u64 task, u64 mm, struct actor *who)
{
	u8 one = 1;

	if (told.lookup(who))
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

/* As plain events have it. last_mm: which one it had, if it is exiting and has none any more. */
INLINE void tell_me(u64 last_mm)
{
	u64 task = current_task(), mm = load_u64(task + OFF_TASK_MM, TASK_DIRECT);
	struct actor who = current_actor(task);
	struct counts *n = my_counts();

	if (n)
		tell_task(n, task, mm ? mm : last_mm, &who);
}
