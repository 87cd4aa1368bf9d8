/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Cgroups: each one is told as it is made. The tracepoint comes before its
 * folder can be seen (kernel/cgroup/cgroup.c:cgroup_mkdir, kernfs_activate), so
 * one that lives for a moment is told too, and no other hook does any work.
 *
 * A name stays what it was made as, since cgroup v2 has no rename, and a number
 * is not used again: kernfs counts up, and adds a generation when that wraps
 * (fs/kernfs/dir.c:__kernfs_new_node, since 5.5 commit 67c0496e87d1).
 */
#if HAVE_CGROUPS
#define CGROUP_PART 144
#define CGROUP_PARTS 2		/* a name has at most 255 bytes: NAME_MAX */

/* Of v2: in the tree that every task's default cgroup is in. */
INLINE int is_default_cgroup(u64 cgroup)
{
	u64 mine = read_u64(read_u64(current_task() + OFF_TASK_CGROUPS) + OFF_CSS_SET_CGROUP);

	return read_u64(cgroup + OFF_CGROUP_ROOT) == read_u64(mine + OFF_CGROUP_ROOT);
}

INLINE void send_cgroup(struct counts *n, u64 node, u64 id, u64 parent)
{
	u64 text = read_u64(node + OFF_KERNFS_NAME);
	u32 named_by = read_u32(read_u64(current_task() + OFF_TASK_CRED) + OFF_CRED_FSUID);
	u64 now = bpf_ktime_get_boot_ns();
	struct record *r;
	long got;

#pragma clang loop unroll(full)
	for (u32 part = 0; part < CGROUP_PARTS; part++) {
		r = new_record(n, TYPE_CGROUP, HOOK_NONE);
		if (!r)
			return;
		r->head.time_ns = now;
		r->head.ino = 0;
		r->head.dev = 0;
		r->head.gen = 0;
		r->head.kind = 0;
		r->head.op = 0;
		r->head.nr = 0xffff;
		r->head.flags = 0;
		r->head.seals = 0;
		r->cgroup.cgroup = id;
		r->cgroup.parent = parent;
		r->cgroup.named_by = named_by;
		r->cgroup.part = part;
		got = bpf_probe_read_kernel_str(r->cgroup.text, CGROUP_PART, (void *)text);
		if (got < 0)
			count_loss(n, LOSS_CGROUP_NAME, HOOK_NONE);
		/* Without the NUL, which a full piece has too: a next one begins in its place. */
		r->cgroup.length = got > 0 ? got - 1 : 0;
		r->cgroup.more = got == CGROUP_PART && part + 1 < CGROUP_PARTS;
		r->cgroup.unused_u16 = 0;
		r->cgroup.unused_u32 = 0;
		submit(r);
		if (got != CGROUP_PART)
			return;
		text += CGROUP_PART - 1;
	}
}

INLINE void note_cgroup(u64 cgroup)
{
	struct config *c = my_config();
	struct counts *n = my_counts();
	u64 node, above, id, parent;

	if (!c || !n || !is_default_cgroup(cgroup))
		return;
	node = read_u64(cgroup + OFF_CGROUP_NODE);
	above = read_u64(node + OFF_KERNFS_PARENT);
	id = read_u64(node + OFF_KERNFS_ID);
	parent = read_u64(above + OFF_KERNFS_ID);
#if FILTER_CGROUP
	u8 one = 1;

	if (cgroups.lookup(&parent) && cgroups.update(&id, &one))
		count_loss(n, LOSS_CGROUPS_FULL, HOOK_NONE);
#endif
	/* Those before that are read by user space. */
	if (c->enabled)
		send_cgroup(n, node, id, parent);
}

#if FILTER_CGROUP
INLINE void forget_cgroup(u64 cgroup)
{
	u64 id;

	if (!is_default_cgroup(cgroup))
		return;
	id = read_u64(read_u64(cgroup + OFF_CGROUP_NODE) + OFF_KERNFS_ID);
	cgroups.delete(&id);
}
#endif
#endif
