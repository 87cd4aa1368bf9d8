/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Memory files that one process sends to another in a message of a unix socket
 * (SCM_RIGHTS). A message has a list of its files (struct scm_fp_list), copied
 * when it is looked at before it is taken (MSG_PEEK): who sent it is kept with
 * each list until that is gone, and is known so to whoever gets the files.
 */
#define SCM_MAX_FD 253		/* include/net/scm.h */

/* By list: who sent it. */
BPF_HASH(sent, u64, struct someone, 16384);
/* By task: the list that it is copying. */
BPF_HASH(copying, u64, u64, 4096);

INLINE void keep_sender(u64 list, struct someone *who)
{
	struct counts *n = my_counts();

	if (sent.update(&list, who) && n)
		count_loss(n, LOSS_INFLIGHT_FULL, HOOK_RECEIVE);
}

/* A message is about to be queued: nobody can have received it. */
INLINE void note_sent(u64 list)
{
	struct someone who = someone_of(current_task());
	int wanted = access_wanted(), memory = 0;
	u64 n = read_u16(list + OFF_SCM_COUNT);

#pragma clang loop unroll(disable)
	for (int i = 0; i < SCM_MAX_FD; i++) {
		struct access a = { .fd = -1, .op = OP_GIVE, .arg = RECEIPT_SCM_RIGHTS };
		u64 file;

		/* clang makes one bound of both, which the verifier of 6.1 cannot follow. */
		asm volatile("" : "+r"(n));
		if (i >= n)
			break;
		file = read_u64(list + OFF_SCM_FILES + i * 8);
		a.inode = file_inode(file, 0);
		a.kind = inode_kind(a.inode, 0);
		if (!a.kind || !is_sealable(inode_seals(a.inode, a.kind)))
			continue;
		memory = 1;
		if (!wanted)
			continue;
		a.time_ns = bpf_ktime_get_boot_ns();
		a.fmode = file_mode(file, 0);
		tell_access_of(&a, bpf_get_current_pid_tgid(), HOOK_RECEIVE, 0, 0);
	}
	if (memory)
		keep_sender(list, &who);
}

/* scm_fp_dup(list) */
INLINE void begin_copy(u64 list)
{
	u64 me = bpf_get_current_pid_tgid();
	struct counts *n = my_counts();

	if (!list || (SENT_IS_SEEN && !sent.lookup(&list)))
		return;
	if (copying.update(&me, &list) && n)
		count_loss(n, LOSS_INFLIGHT_FULL, HOOK_RECEIVE);
}

/* Where nothing else shows that a message is sent, the first copy of its list does. */
INLINE void finish_copy(u64 copy)
{
	u64 me = bpf_get_current_pid_tgid(), *list = copying.lookup(&me), of;
	struct someone *known, who;

	if (!list)
		return;
	of = *list;
	copying.delete(&me);
	if (!copy)
		return;
	known = sent.lookup(&of);
	if (known) {
		who = *known;
		keep_sender(copy, &who);
	} else if (!SENT_IS_SEEN) {
		note_sent(copy);
	}
}

/*
 * scm_detach_fds(message, cookie): its files are received until it returns. A
 * message from before the trace, or that found no room, has no known sender.
 */
INLINE void begin_message(u64 cookie)
{
	u64 list = read_u64(cookie + OFF_SCM_LIST), me = bpf_get_current_pid_tgid();
	struct someone *who = sent.lookup(&list);
	struct giver g = { .receipt = RECEIPT_SCM_RIGHTS };

	if (who)
		g.who = *who;
	givers.update(&me, &g);
}

/* __scm_destroy(cookie): a list is gone, received or not. */
INLINE void note_message_end(u64 cookie)
{
	u64 list = read_u64(cookie + OFF_SCM_LIST);

	sent.delete(&list);
}
