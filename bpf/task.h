/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The task that runs: who it is, and the registers with which it entered the kernel. */

/* struct pt_regs from bx to orig_ax, with room for what is not asked for. */
struct user_regs {
	u64 bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax;
};
#define PT_REGS_SIZE 168
#define PT_REGS_BX 40

/*
 * The current task. Kernels with bpf_get_current_task_btf (5.11, commit
 * 3ca1032ab7ab) and bpf_task_pt_regs (5.15, commit dd6e10fbd9fb) let its
 * fields be loaded directly; others need a helper for each, and the place of
 * the user's registers worked out (they have no FRED, which would move them).
 */
#if HAVE_TASK_PT_REGS
#define TASK_DIRECT 1
INLINE u64 current_task(void)
{
	return (u64)bpf_get_current_task_btf();
}

INLINE void user_regs(u64 task, struct user_regs *regs)
{
	u64 at = (u64)bpf_task_pt_regs((struct task_struct *)task) + PT_REGS_BX;

	regs->bx = *(u64 *)(at + 0);
	regs->r10 = *(u64 *)(at + 16);
	regs->r8 = *(u64 *)(at + 32);
	regs->cx = *(u64 *)(at + 48);
	regs->dx = *(u64 *)(at + 56);
	regs->si = *(u64 *)(at + 64);
	regs->di = *(u64 *)(at + 72);
	regs->orig_ax = *(u64 *)(at + 80);
}
#else
#define TASK_DIRECT 0
INLINE u64 current_task(void)
{
	return bpf_get_current_task();
}

INLINE void user_regs(u64 task, struct user_regs *regs)
{
	u64 top = read_u64(task + OFF_TASK_STACK) + THREAD_SIZE;

	bpf_probe_read_kernel(regs, sizeof(*regs), (void *)(top - PT_REGS_SIZE + PT_REGS_BX));
}
#endif

/* fd to file in the current task; 0 if there is none. */
INLINE u64 task_file(u32 fd)
{
	u64 files = load_u64(current_task() + OFF_TASK_FILES, TASK_DIRECT);
	u64 table = read_u64(files + OFF_FILES_FDT);

	if (fd >= read_u32(table + OFF_FDT_MAX))
		return 0;
	return read_u64(read_u64(table + OFF_FDT_FD) + (u64)fd * 8);
}

/* In a 32-bit system call, also that of a 64-bit program (int 0x80). */
INLINE int is_compat(u64 task)
{
	return load_u32(task + OFF_TASK_STATUS, TASK_DIRECT) & TS_COMPAT;
}

/*
 * x86 numbers address spaces and never gives a number twice, for its own
 * flushes (arch/x86/include/asm/mmu_context.h:init_new_context, since 4.14,
 * commit f39681ed0f48).
 */
INLINE u64 mm_number(u64 mm, int direct)
{
	return mm ? load_u64(mm + OFF_MM_NUMBER, direct) : 0;
}

/* The number of the task's own address space; it has none once it exits. */
INLINE u64 task_mm_number(u64 task)
{
	return mm_number(load_u64(task + OFF_TASK_MM, TASK_DIRECT), TASK_DIRECT);
}

/* The cgroup as bpf_get_current_cgroup_id has it: that of the default hierarchy. */
INLINE u64 task_cgroup(u64 task)
{
#if !HAVE_CGROUPS
	return 0;
#elif TASK_DIRECT
	u64 set = *(u64 *)(task + OFF_TASK_CGROUPS);
	u64 cgroup = *(u64 *)(set + OFF_CSS_SET_CGROUP);

	return *(u64 *)(*(u64 *)(cgroup + OFF_CGROUP_NODE) + OFF_KERNFS_ID);
#else
	return bpf_get_current_cgroup_id();
#endif
}

INLINE u32 task_uid(u64 task)
{
#if TASK_DIRECT
	return *(u32 *)(*(u64 *)(task + OFF_TASK_CRED) + OFF_CRED_UID);
#else
	return bpf_get_current_uid_gid();
#endif
}

INLINE void task_comm(u64 task, char *comm)
{
#if TASK_DIRECT
	*(u64 *)comm = *(u64 *)(task + OFF_TASK_COMM);
	*(u64 *)(comm + 8) = *(u64 *)(task + OFF_TASK_COMM + 8);
#else
	bpf_get_current_comm(comm, 16);
#endif
}
