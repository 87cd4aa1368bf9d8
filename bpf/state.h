/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The maps: settings from user space, counts for it, and calls in flight. */

struct config {
	u32 enabled;		/* emit nothing before every hook is attached */
	u32 own_tgid;		/* the recorder never records itself */
	u32 test_tgid;		/* the self-test: what it does is sent before that, past the filters */
	u32 seals;		/* with FILTER_SEALS: all of these are set */
	u32 name_len;		/* with FILTER_NAME: bytes of name to compare */
	char name[256];
};

struct totals {
	u64 decided;
	u64 dropped;
};

/*
 * Everything one CPU counts, behind one lookup. User space maps the array: a
 * bpf(2) that looks something up keeps kprobe programs off its CPU, and for
 * long when it is preempted (include/linux/bpf.h:bpf_disable_instrumentation).
 */
struct counts {
	u64 cpu;		/* set by user space: cheaper than asking each time */
	u64 seq;
	u64 lost[HOOK_MAX * LOSS_MAX];
	struct totals totals[HOOK_MAX];
};

/* An object that was announced, or that the name filter turned away, or that is followed. */
struct object {
	u64 ino;
	u32 dev;
	u32 gen;
	u8 kind;
	u8 announced;
	u8 unwanted;
	u8 followed;		/* what anybody does to it is recorded */
	u8 unused[4];
};

/* One operation in flight at an outer hook (an mmap, a write call, …); inner hooks add to it. */
struct call {
	u64 sp;			/* where the stack stood there: a call inside of it stands lower */
	u64 time_ns;
	u64 inode;
	u64 ino;
	u64 iocb;		/* read, write: where the position stands */
	u64 size;
	u64 offset;		/* create: the new file's generation */
	u64 length;		/* create: its device */
	u64 arg;
	u32 seals;
	s32 check_answer;
	s32 file_answer;
	s32 writable;
	u32 checks;
	u32 flags;
	u16 mode;
	u8 fmode;
	u8 op;			/* 0: nothing in flight */
	u8 kind;
	u8 hook;
	u8 before_enabled;
	u8 unused;
};

/* A process, and the program that it runs. */
struct actor {
	u64 start_ns;
	u32 pid;
	u32 exec_id;
};

/*
 * What one task has in flight. Operations nest: a write to a set-uid file
 * changes its mode (fs/inode.c:file_remove_privs). The innermost one is here,
 * the others wait in outer_calls. A task keeps its slot until it ends.
 */
struct slot {
	u64 owner;		/* the task, in the array; 0: nobody's, or in the hash */
	struct call call;
	u32 depth;		/* calls that wait in outer_calls */
	u32 shared;		/* in the array: another task's is in the hash */
	u64 unsealable;		/* the inode that a write's check just found so, 0: none; by any task */
	u64 unsealable_ino;	/*   and its number: another file may come to lie there */
	u64 known_inode;	/* the inode of this task's last event, */
	struct object known;	/*   and what the objects map said of it */
	struct actor told;	/* what this task was when bpf/tasks.h told of it */
};

struct record {
	struct record_head head;
	union {
		struct event_body event;
		struct object_body object;
		struct name_body name;
		struct cgroup_body cgroup;
		struct task_body task;
	};
};

BPF_ARRAY(config, struct config, 1);
BPF_F_TABLE("array", u32, struct counts, counts, CPUS, BPF_F_MMAPABLE);
/*
 * Slots lie in an array at the last bits of the thread id: programs index it
 * without a call, a tenth of a hash's price. Of two tasks with the same bits
 * the second one's slot is in the hash. An insertion into owners decides
 * which is the first, since only one can succeed.
 */
#define SLOTS 16384
BPF_ARRAY(slots, struct slot, SLOTS);
BPF_HASH(owners, u32, u64, SLOTS);
BPF_HASH(calls, u64, struct slot, MAX_TASKS);

struct outer_key {
	u64 task;
	u64 depth;
};

#define MAX_DEPTH 7
BPF_HASH(outer_calls, struct outer_key, struct call, MAX_OUTER);
BPF_HASH(objects, u64, struct object, MAX_OBJECTS);
BPF_RINGBUF_OUTPUT(ring, RING_PAGES);
#if FILTER_PID
/* By thread group; the value is its start_time, 0: unknown. */
BPF_HASH(pids, u32, u64, MAX_TASKS);
#endif
#if FILTER_UID
BPF_HASH(uids, u32, u8, 1024);
#endif
#if FILTER_CGROUP
/* Those of the option and all below them, by number: bpf/cgroups.h. */
BPF_HASH(cgroups, u64, u8, MAX_CGROUPS);
#endif

INLINE struct counts *my_counts(void)
{
	u32 cpu = bpf_get_smp_processor_id();

	return counts.lookup(&cpu);
}

INLINE void count_loss(struct counts *n, u32 cause, u32 hook)
{
	/* The mask is for the verifier, which does not know how small hook is. */
	lock_xadd(&n->lost[(hook & (HOOK_MAX - 1)) * LOSS_MAX + cause], 1);
}

INLINE struct config *my_config(void)
{
	int zero = 0;

	return config.lookup(&zero);
}

INLINE int is_enabled(struct config *c, u64 pid_tgid)
{
	return c && (c->enabled || (c->test_tgid && c->test_tgid == pid_tgid >> 32));
}

/*
 * Files that are followed, whoever does something to them: those of --file
 * alone (FILTER_FILE), or those that a command's own processes had to do with
 * (FOLLOW_FILES), beside all that these processes do.
 */
#define BY_FILE (FILTER_FILE || FOLLOW_FILES)

#if BY_FILE
/*
 * An inode's address and number may come again: an entry ends with its file's
 * eviction, and one whose eviction was missed has another generation.
 */
INLINE int is_followed(u64 inode, u64 ino)
{
	struct object *o = objects.lookup(&inode);

	return o && o->followed && o->ino == ino && o->gen == read_u32(inode + OFF_INODE_GEN);
}
#endif

/*
 * Whose operations are recorded, on which file: decided before anything else
 * is read. inode 0: no file is at hand.
 */
INLINE int act_wanted(struct config *c, u64 pid_tgid, u64 inode, u64 ino)
{
	u32 tgid = pid_tgid >> 32;

	if (!c || tgid == c->own_tgid)
		return 0;
#if FILTER_PID || FILTER_UID || FILTER_CGROUP || FILTER_FILE
	if (tgid == c->test_tgid)
		return 1;
#endif
#if FILTER_PID && FOLLOW_FILES
	if (!pids.lookup(&tgid) && !is_followed(inode, ino))
		return 0;
#elif FILTER_PID
	if (!pids.lookup(&tgid))
		return 0;
#endif
#if FILTER_FILE
	if (inode && !is_followed(inode, ino))
		return 0;
#endif
#if FILTER_UID
	u32 uid = bpf_get_current_uid_gid();

	if (!uids.lookup(&uid))
		return 0;
#endif
#if FILTER_CGROUP
	u64 cgroup = task_cgroup(current_task());

	if (!cgroups.lookup(&cgroup))
		return 0;
#endif
	return 1;
}

INLINE int seals_wanted(u32 seals)
{
#if FILTER_SEALS
	struct config *c = my_config();

	return c && (seals & c->seals) == c->seals;
#else
	return 1;
#endif
}

/* Recorded at all: tracing has begun, and the task or the file is one of those. */
INLINE int is_wanted(u64 pid_tgid, u64 inode, u64 ino)
{
	struct config *c = my_config();

	return is_enabled(c, pid_tgid) && act_wanted(c, pid_tgid, inode, ino);
}
