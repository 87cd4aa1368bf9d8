/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The BPF programs: each handler once for trampolines (its context is the
 * array of arguments, the answer behind them) and once for kprobes (its
 * context is the registers). Families that need the same work share one
 * program; tracer/kernel/families.py says which. Only what the plan uses is
 * compiled: WITH_name is 1 then. NARGS_name and ARG_x come from BTF.
 */
#define PROGRAM_F(kind, name, body) \
	int kind##_##name(u64 *ctx) { body; return 0; }
#define PROGRAM_K(kind, name, body) \
	int kind##_##name(struct pt_regs *ctx) { body; return 0; }

#define F0 ctx[0]
#define F1 ctx[1]
#define F2 ctx[2]
#define F3 ctx[3]
#define F4 ctx[4]
#define F5 ctx[5]
#define K0 ctx->di
#define K1 ctx->si
#define K2 ctx->dx
#define K3 ctx->cx
#define K4 ctx->r8
#define K5 ctx->r9
/* Whether its arguments can be loaded directly. */
#define DIRECT_F 1
#define DIRECT_K 0
/* Where the stack stands: higher than at every hook inside of this call. */
#define SP_F ((u64)ctx)
#define SP_K ctx->sp
#define ANSWER_F(nargs) ((s64)ctx[nargs])
#define ANSWER_K ((s64)PT_REGS_RC(ctx))
/* Functions that return an int leave the upper half of the register undefined. */
#define INT(answer) ((s64)(s32)(answer))

/* What a trampoline can load directly, from the arguments that it has at the return as well. */
#define FILE_INODE(file) load_u64((file) + OFF_FILE_INODE, 1)
#define IOCB_INODE(iocb) FILE_INODE(load_u64((iocb) + OFF_KIOCB_FILE, 1))
#define DENTRY_INODE(dentry) load_u64((dentry) + OFF_DENTRY_INODE, 1)

#if WITH_FENTRY_MMAP
PROGRAM_F(fentry, mmap, begin_mmap(F0, 1, F2, F3, F4, F5, SP_F))
/* Most mmaps have no file. */
PROGRAM_F(fexit, mmap, if (F0) finish_my_call(ANSWER_F(NARGS_MMAP), HOOK_MMAP, 1, FILE_INODE(F0), 0, SP_F))
#endif
#if WITH_KPROBE_MMAP
PROGRAM_K(kprobe, mmap, begin_mmap(K0, 0, K2, K3, K4, K5, SP_K))
PROGRAM_K(kretprobe, mmap, finish_my_call(ANSWER_K, HOOK_MMAP, 0, 0, 0, SP_K))
#endif

#if WITH_FENTRY_MMAP_CHECK
PROGRAM_F(fexit, mmap_check, note_check(INT(ANSWER_F(NARGS_MMAP_CHECK)), HOOK_MMAP))
#endif
#if WITH_KPROBE_MMAP_CHECK
PROGRAM_K(kretprobe, mmap_check, note_check(INT(ANSWER_K), HOOK_MMAP))
#endif

#if WITH_FENTRY_SHMEM_MMAP
PROGRAM_F(fexit, shmem_mmap, note_file_mmap(INT(ANSWER_F(NARGS_SHMEM_MMAP))))
#endif
#if WITH_KPROBE_SHMEM_MMAP
PROGRAM_K(kretprobe, shmem_mmap, note_file_mmap(INT(ANSWER_K)))
#endif

#if WITH_FENTRY_HUGETLB_MMAP
PROGRAM_F(fexit, hugetlb_mmap, note_file_mmap(INT(ANSWER_F(NARGS_HUGETLB_MMAP))))
#endif
#if WITH_KPROBE_HUGETLB_MMAP
PROGRAM_K(kretprobe, hugetlb_mmap, note_file_mmap(INT(ANSWER_K)))
#endif

#if WITH_FENTRY_SETATTR
PROGRAM_F(fentry, setattr, begin_setattr(CAT(F, ARG_SETATTR_DENTRY), CAT(F, ARG_SETATTR_IATTR), 1, SP_F))
PROGRAM_F(fexit, setattr, finish_my_call(INT(ANSWER_F(NARGS_SETATTR)), HOOK_SETATTR, 1, DENTRY_INODE(CAT(F, ARG_SETATTR_DENTRY)), 0, SP_F))
#endif
#if WITH_KPROBE_SETATTR
PROGRAM_K(kprobe, setattr, begin_setattr(CAT(K, ARG_SETATTR_DENTRY), CAT(K, ARG_SETATTR_IATTR), 0, SP_K))
PROGRAM_K(kretprobe, setattr, finish_my_call(INT(ANSWER_K), HOOK_SETATTR, 0, 0, 0, SP_K))
#endif

/* The write call's function is shmem's own, or every file system's. */
#define WRITE_KIND (WRITE_IS_SHMEM ? KIND_TMPFS : KIND_UNKNOWN)

#if WITH_FENTRY_WRITE
PROGRAM_F(fexit, write, write_returned(F0, F1, ANSWER_F(NARGS_WRITE), WRITE_KIND, SP_F))
#endif
#if WITH_KPROBE_WRITE
PROGRAM_K(kprobe, write, begin_io(K0, K1, 0, OP_WRITE, HOOK_WRITE, WRITE_KIND, SP_K))
PROGRAM_K(kretprobe, write, finish_my_call(ANSWER_K, HOOK_WRITE, 0, 0, 0, SP_K))
#endif

#if WITH_FENTRY_WRITE_CHECK
PROGRAM_F(fexit, write_check, write_checked(F1, INT(ANSWER_F(NARGS_WRITE_CHECK)), SP_F))
#endif
#if WITH_KPROBE_WRITE_CHECK
PROGRAM_K(kretprobe, write_check, note_check(INT(ANSWER_K), HOOK_WRITE))
#endif

#if WITH_FENTRY_READ
PROGRAM_F(fentry, read, begin_io(F0, F1, 1, OP_READ, HOOK_READ, KIND_TMPFS, SP_F))
PROGRAM_F(fexit, read, finish_my_call(ANSWER_F(NARGS_READ), HOOK_READ, 1, IOCB_INODE(F0), F0, SP_F))
#endif
#if WITH_KPROBE_READ
PROGRAM_K(kprobe, read, begin_io(K0, K1, 0, OP_READ, HOOK_READ, KIND_TMPFS, SP_K))
PROGRAM_K(kretprobe, read, finish_my_call(ANSWER_K, HOOK_READ, 0, 0, 0, SP_K))
#endif

#if WITH_FENTRY_ALLOCATE
PROGRAM_F(fentry, allocate, begin_allocate(F0, 1, F1, F2, F3, SP_F))
PROGRAM_F(fexit, allocate, finish_my_call(ANSWER_F(NARGS_ALLOCATE), HOOK_ALLOCATE, 1, FILE_INODE(F0), 0, SP_F))
#endif
#if WITH_KPROBE_ALLOCATE
PROGRAM_K(kprobe, allocate, begin_allocate(K0, 0, K1, K2, K3, SP_K))
PROGRAM_K(kretprobe, allocate, finish_my_call(ANSWER_K, HOOK_ALLOCATE, 0, 0, 0, SP_K))
#endif

/*
 * The kernel's own parameter was an unsigned long on 5.10 and 6.1 and is an
 * unsigned int on 6.12 and later, of whose upper half nobody knows.
 */
#define SEALS_ARG(arg) (BYTES_SEALS_ARG == 8 ? (arg) : (u32)(arg))

#if WITH_FENTRY_SEALS
PROGRAM_F(fentry, seals, begin_seals(F0, 1, F1, SEALS_ARG(F2), SP_F))
PROGRAM_F(fexit, seals, finish_my_call(ANSWER_F(NARGS_SEALS), HOOK_SEALS, 1, FILE_INODE(F0), 0, SP_F))
#endif
#if WITH_KPROBE_SEALS
PROGRAM_K(kprobe, seals, begin_seals(K0, 0, K1, SEALS_ARG(K2), SP_K))
PROGRAM_K(kretprobe, seals, finish_my_call(ANSWER_K, HOOK_SEALS, 0, 0, 0, SP_K))
#endif

#if WITH_FENTRY_CREATE
PROGRAM_F(fentry, create, begin_create(0, SP_F))
PROGRAM_F(fexit, create, finish_memfd_create(ANSWER_F(NARGS_CREATE), SP_F))
#endif
#if WITH_KPROBE_CREATE
PROGRAM_K(kprobe, create, begin_create(0, SP_K))
PROGRAM_K(kretprobe, create, finish_memfd_create(ANSWER_K, SP_K))
#endif

#if WITH_FENTRY_CREATE_CHECK
PROGRAM_F(fexit, create_check, note_check(INT(ANSWER_F(NARGS_CREATE_CHECK)), HOOK_CREATE))
#endif
#if WITH_KPROBE_CREATE_CHECK
PROGRAM_K(kretprobe, create_check, note_check(INT(ANSWER_K), HOOK_CREATE))
#endif

#if WITH_FENTRY_CREATED
PROGRAM_F(fentry, created, note_created(F0, 1))
#endif
#if WITH_KPROBE_CREATED
PROGRAM_K(kprobe, created, note_created(K0, 0))
#endif

#if WITH_FENTRY_MREMAP
PROGRAM_F(fentry, mremap, begin_mremap(SP_F))
PROGRAM_F(fexit, mremap, finish_my_call(ANSWER_F(NARGS_MREMAP), HOOK_MREMAP, 0, 0, 0, SP_F))
#endif
#if WITH_KPROBE_MREMAP
PROGRAM_K(kprobe, mremap, begin_mremap(SP_K))
PROGRAM_K(kretprobe, mremap, finish_my_call(ANSWER_K, HOOK_MREMAP, 0, 0, 0, SP_K))
#endif

#if WITH_FENTRY_REMAP_FILE_PAGES
PROGRAM_F(fentry, remap_file_pages, begin_remap_file_pages(SP_F))
PROGRAM_F(fexit, remap_file_pages, finish_my_call(ANSWER_F(NARGS_REMAP_FILE_PAGES), HOOK_MMAP, 0, 0, 0, SP_F))
#endif
#if WITH_KPROBE_REMAP_FILE_PAGES
PROGRAM_K(kprobe, remap_file_pages, begin_remap_file_pages(SP_K))
PROGRAM_K(kretprobe, remap_file_pages, finish_my_call(ANSWER_K, HOOK_MMAP, 0, 0, 0, SP_K))
#endif

#if WITH_FENTRY_EXEC_BEGIN
PROGRAM_F(fentry, exec_begin, exec_begins(F0, 1))
#endif
#if WITH_KPROBE_EXEC_BEGIN
PROGRAM_K(kprobe, exec_begin, exec_begins(K0, 0))
#endif

#if WITH_FENTRY_EXEC_CHECK
PROGRAM_F(fentry, exec_check, exec_checked(F0, 1))
#endif
#if WITH_KPROBE_EXEC_CHECK
PROGRAM_K(kprobe, exec_check, exec_checked(K0, 0))
#endif

#if WITH_FENTRY_EXEC_OPEN
PROGRAM_F(fexit, exec_open, exec_opened(ANSWER_F(NARGS_EXEC_OPEN)))
#endif
#if WITH_KPROBE_EXEC_OPEN
PROGRAM_K(kretprobe, exec_open, exec_opened(ANSWER_K))
#endif

#if WITH_FENTRY_EXEC
PROGRAM_F(fexit, exec, exec_ends(INT(ANSWER_F(NARGS_EXEC))))
#endif
#if WITH_KPROBE_EXEC
PROGRAM_K(kretprobe, exec, exec_ends(INT(ANSWER_K)))
#endif

#if WITH_FENTRY_EXEC_REFUSED
PROGRAM_F(fexit, exec_refused, exec_refused(ANSWER_F(NARGS_EXEC_REFUSED)))
#endif
#if WITH_KPROBE_EXEC_REFUSED
PROGRAM_K(kretprobe, exec_refused, exec_refused(ANSWER_K))
#endif

#if WITH_FENTRY_MAP
PROGRAM_F(fentry, map, note_mapping(F0, 1, OP_MAP, HOOK_MAP))
#endif
#if WITH_KPROBE_MAP
PROGRAM_K(kprobe, map, note_mapping(K0, 0, OP_MAP, HOOK_MAP))
#endif

#if WITH_FENTRY_UNMAP
PROGRAM_F(fentry, unmap, note_mapping(F0, 1, OP_UNMAP, HOOK_UNMAP))
#endif
#if WITH_KPROBE_UNMAP
PROGRAM_K(kprobe, unmap, note_mapping(K0, 0, OP_UNMAP, HOOK_UNMAP))
#endif

#if WITH_FENTRY_EVICT
PROGRAM_F(fentry, evict, note_evict(F0))
#endif
#if WITH_KPROBE_EVICT
PROGRAM_K(kprobe, evict, note_evict(K0))
#endif

#if FILTER_PID
/* sched_process_fork(parent, child): children of a followed process are followed. */
int on_fork(struct bpf_raw_tracepoint_args *ctx)
{
	note_fork(ctx->args[0], ctx->args[1]);
	return 0;
}

/* sched_process_free(task): nothing of it is left to be seen. */
int on_free(struct bpf_raw_tracepoint_args *ctx)
{
	note_free(ctx->args[0]);
	return 0;
}
#endif

#if FILTER_FILE
/* BPF_PROG_TEST_RUN alone starts it: its argument is a descriptor of a file that is to be followed. */
int follow_descriptor(struct bpf_raw_tracepoint_args *ctx)
{
	note_followed(ctx->args[0]);
	return 0;
}
#endif

#if HAVE_CGROUPS
/* cgroup_mkdir(cgroup, path): before anybody can be in it, or see it. */
int on_mkdir(struct bpf_raw_tracepoint_args *ctx)
{
	note_cgroup(ctx->args[0]);
	return 0;
}

#if FILTER_CGROUP
/* cgroup_rmdir(cgroup, path): nobody is in it any more. */
int on_rmdir(struct bpf_raw_tracepoint_args *ctx)
{
	forget_cgroup(ctx->args[0]);
	return 0;
}
#endif
#endif

/* sched_process_exit: a task's slot goes with it. */
int on_exit(struct bpf_raw_tracepoint_args *ctx)
{
	note_exit();
	return 0;
}
