/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The programs of bpf/access.h and bpf/guest.h, as bpf/programs.h has the
 * others. Only the branch of the way that a program is loaded for is ever
 * looked at by the verifier, so that an argument that another function does
 * not have harms nobody.
 */

/* Ways that tell of something at their entry, but security_file_open's, which is called often. */
INLINE int tells_at_entry(u64 way)
{
	switch (way) {
	case WAY_VFORK_END:
	case WAY_SHARE_MM:
	case WAY_ADVISE:
	case WAY_SEND:
	case WAY_TRACE:
	case WAY_VM_END:
	case WAY_RING:
	case WAY_RING_FILE:
	case WAY_UDMABUF:
		return 1;
	}
	return 0;
}

/* Grows with each record that this CPU sends: by somebody who interrupted us, too. */
INLINE u64 sent_so_far(void)
{
	struct counts *n = my_counts();

	return n ? n->seq : 0;
}

/* Tells who acted: task, or the current one if that is 0. */
INLINE void tell_actor(u64 task)
{
	u64 acting = task ? task : current_task();
	struct someone known = someone_of(acting);
	struct actor who = { .start_ns = known.start_ns, .pid = known.pid, .exec_id = known.exec_id };
	struct counts *n = my_counts();

	if (n)
		tell_task(n, acting, read_u64(acting + OFF_TASK_MM), &who);
}

/* The return of every way but those that make a file: which hook it was. True: it told of something. */
INLINE int finish_way(u64 way, s64 answer)
{
	struct access_key key = { .pid_tgid = bpf_get_current_pid_tgid() };
	struct access *a;
	int tells = way == WAY_TRACEME;

	switch (way) {
	case WAY_MEMSLOT:
		key.hook = HOOK_MEMSLOT;
		break;
	case WAY_SEV_DEBUG:
		finish_sev_debug(answer);
		return 0;
	case WAY_CONVERT:
	case WAY_CONVERT_FILE:
		key.hook = HOOK_CONVERT;
		break;
	case WAY_FAULT:
		key.hook = HOOK_FAULT;
		break;
	case WAY_REMOTE:
		key.hook = HOOK_REMOTE;
		break;
	case WAY_UFFD:
	case WAY_UFFD_COPY:
	case WAY_UFFD_ZERO:
	case WAY_UFFD_CONTINUE:
		key.hook = HOOK_UFFD;
		break;
	case WAY_MPROTECT:
		key.hook = HOOK_MPROTECT;
		break;
	case WAY_PIDFD_GETFD:
	case WAY_MSG_RING:
	case WAY_MESSAGE:
		end_taking();
		return 0;
	case WAY_SECCOMP:
		end_adding();
		return 0;
	case WAY_ATTACH:
	case WAY_TRACEME:
		key.hook = HOOK_TRACE;
		break;
	case WAY_RECEIVE:
		key.hook = HOOK_RECEIVE;
		break;
	case WAY_SPLICE:
	case WAY_READ:
		key.hook = HOOK_READ;
		break;
	default:
		key.hook = HOOK_PIN;
	}
	a = accesses.lookup(&key);
	if (!a)
		return 0;
	if (way == WAY_UFFD)
		finish_uffd(a, answer);
	if (way == WAY_CONVERT && a->op == OP_SEV_DEBUG)
		finish_encrypt_op(a, answer);
	else if (way == WAY_CONVERT)
		finish_convert(a);
	if (way == WAY_ATTACH || way == WAY_TRACEME)
		finish_trace(a, answer);
	if (a->op) {
		tell_access(a, key.pid_tgid, key.hook, answer);
		tells = 1;
	}
	accesses.delete(&key);
	return tells;
}

/* Which of two forms a function has here: the plan says so where it has the newer one. */
#ifndef UFFD_BY_CONTEXT
#define UFFD_BY_CONTEXT 0
#endif
#ifndef ADVISE_BY_STRUCT
#define ADVISE_BY_STRUCT 0
#endif

/* Until 6.5 the functions that fill had the mm, since then the context that names it. */
#define FILLED_MM(of) (UFFD_BY_CONTEXT ? read_u64((of) + OFF_UFFD_MM) : (of))

/* Each way's entry: X is F or K, the arguments by trampoline or in registers. */
#define ENTER_WAY(X) \
	u64 way = my_way(), before = tells_at_entry(way) ? sent_so_far() : 0, other = 0; \
	struct access a = { .fd = -1 }; \
	struct asked asked = {}; \
	if (way == WAY_GMEM_CREATE || way == WAY_SECRET_CREATE) { \
		begin_create(way == WAY_GMEM_CREATE ? read_u64(X##1 + CREATE_GMEM_FLAGS) : 0, SP_##X); \
		goto done; \
	} \
	switch (way) { /* often called: cheap first */ \
	case WAY_OPEN: note_open(&a, X##0, DIRECT_##X); goto done; \
	case WAY_VFORK_END: note_exit_of_vfork(); goto done; \
	case WAY_SHARE_MM: other = X##0; note_new_task(other, DIRECT_##X); goto done; \
	case WAY_ADVISE: \
		if (ADVISE_BY_STRUCT) \
			note_advice(&a, read_u64(X##2 + OFF_MADVISE_MM), X##0, X##1, \
				    read_u32(X##2 + OFF_MADVISE_ADVICE)); \
		else \
			note_advice(&a, X##0, X##1, X##2, X##3); \
		goto done; \
	case WAY_SEND: note_sent(X##0); goto done; \
	case WAY_COPY: begin_copy(X##0); goto done; \
	case WAY_MESSAGE_END: note_message_end(X##0); goto done; \
	case WAY_CONVERT: \
		if ((u32)X##1 == KVM_SET_MEMORY_ATTRIBUTES && access_wanted()) \
			begin_convert(&a, X##0, X##2); \
		else if ((u32)X##1 == KVM_MEMORY_ENCRYPT_OP && access_wanted()) \
			begin_encrypt_op(&a, X##0, X##2); \
		goto done; \
	case WAY_SEV_DEBUG: begin_sev_debug(X##1); goto done; \
	case WAY_SEV_PAGE: note_sev_piece(X##1, X##2); goto done; \
	case WAY_SEV_MEMORY: note_sev_piece(X##1, X##4); goto done; \
	case WAY_CONVERT_RANGE: note_converted(X##0, X##1, X##2, X##3, X##4); goto done; \
	} \
	if (!access_wanted()) \
		goto done; \
	switch (way) { \
	case WAY_MEMSLOT: asked = asked_memslot(&a, X##0, X##1); break; \
	case WAY_FAULT: begin_fault(&a, X##0); goto done; \
	case WAY_PIN: asked = asked_pin(my_mm(), X##0, (u32)X##1, X##2, 0); break; \
	case WAY_PIN_REMOTE: asked = asked_pin(X##0, X##1, X##2, X##3, 1); break; \
	case WAY_PIN_FILE: begin_by_file(&a, X##0, X##1, X##2 - X##1 + 1, OP_PIN, HOOK_PIN); goto done; \
	case WAY_REMOTE: asked = asked_remote(X##0, X##1, X##3, X##4); break; \
	case WAY_UFFD: begin_uffd(&a, X##0, X##1, X##2); goto done; \
	case WAY_UFFD_COPY: asked = asked_fill(FILLED_MM(X##0), X##1, X##3, FILL_COPY); break; \
	case WAY_UFFD_ZERO: asked = asked_fill(FILLED_MM(X##0), X##1, X##2, FILL_ZERO); break; \
	case WAY_UFFD_CONTINUE: asked = asked_fill(FILLED_MM(X##0), X##1, X##2, FILL_CONTINUE); break; \
	case WAY_TRACE: other = X##1; note_link(X##0, other); goto done; \
	case WAY_ATTACH: begin_trace(&a, X##0); goto done; \
	case WAY_TRACEME: begin_trace(&a, 0); goto done; \
	case WAY_PIDFD_GETFD: begin_taking(X##0, 0, RECEIPT_PIDFD_GETFD); goto done; \
	case WAY_PROC_LINK: \
	case WAY_MAP_FILES: \
		/* Without a dentry the walk is to be done again. */ \
		if (X##0) \
			begin_taking(read_u64(X##1 + OFF_PROC_PID), X##1, way == WAY_PROC_LINK ? \
				     RECEIPT_PROC_FD : RECEIPT_MAP_FILES); \
		goto done; \
	case WAY_JUMP: note_jump(X##0); goto done; \
	case WAY_VM_END: note_vm_end(X##0); goto done; \
	case WAY_CONVERT_FILE: begin_convert_file(&a, X##0, X##1); goto done; \
	case WAY_VM_BEGIN: note_vm_begin(X##0, X##1); goto done; \
	case WAY_SLOT_FILE: note_slot_file(X##2); goto done; \
	case WAY_RING: note_ring(X##0); goto done; \
	case WAY_RING_FILE: note_ring_file(&a, X##0, X##1); goto done; \
	case WAY_MSG_RING: begin_msg_ring(X##0); goto done; \
	case WAY_SECCOMP: begin_adding(X##0, X##1); goto done; \
	case WAY_UDMABUF: note_udmabuf(X##1); goto done; \
	case WAY_MPROTECT: asked = asked_mprotect(X##0, X##1, X##2); break; \
	case WAY_MESSAGE: begin_message(X##1); goto done; \
	case WAY_RECEIVE: begin_receive(&a, X##0); goto done; \
	case WAY_SPLICE: \
		begin_by_file(&a, X##0, read_u64(X##1), X##3, OP_READ, HOOK_READ); \
		goto done; \
	case WAY_READ: \
		begin_by_file(&a, read_u64(X##0 + OFF_KIOCB_FILE), read_u64(X##0 + OFF_KIOCB_POS), \
			      read_u64(X##1 + OFF_IOV_COUNT), OP_READ, HOOK_READ); \
		goto done; \
	} \
	begin_by_address(&a, &asked); \
done: \
	if (way == WAY_OPEN ? a.told : tells_at_entry(way) && sent_so_far() != before) \
		tell_actor(other)

/* Those return how many bytes they filled. */
INLINE int is_fill(u64 way)
{
	return way == WAY_UFFD_COPY || way == WAY_UFFD_ZERO || way == WAY_UFFD_CONTINUE;
}

/* Others return an int, or a long that would fit one; a fault's has no sign. By
 * trampoline, bpf_get_func_ret (5.17) finds the answer however many arguments there are.
 * no_convert: it is another ioctl of a VM, as far as that is known at the return. */
#define LEAVE_WAY(answer, sp, no_convert) \
	u64 way = my_way(), before; \
	int tells = 0; \
	if (way == WAY_CONVERT && (no_convert)) \
		return 0; \
	if (way == WAY_GMEM_CREATE || way == WAY_SECRET_CREATE) { \
		finish_guest_create(way, INT(answer), sp); \
	} else if (way == WAY_COPY) { \
		before = sent_so_far(); \
		finish_copy(answer); \
		tells = sent_so_far() != before; \
	} else { \
		tells = finish_way(way, way == WAY_FAULT ? (s64)(u32)(answer) : \
				   is_fill(way) ? (s64)(answer) : INT(answer)); \
	} \
	if (tells) \
		tell_actor(way == WAY_TRACEME ? read_u64(current_task() + OFF_TASK_TRACER) : 0)

#if WITH_FENTRY_WAY

PROGRAM_F(fentry, way, ENTER_WAY(F))
PROGRAM_F(fexit, way, u64 answer = 0; bpf_get_func_ret(ctx, &answer);
	  LEAVE_WAY(answer, SP_F, (u32)F1 != KVM_SET_MEMORY_ATTRIBUTES &&
				  (u32)F1 != KVM_MEMORY_ENCRYPT_OP))
#endif
#if WITH_KPROBE_WAY
PROGRAM_K(kprobe, way, ENTER_WAY(K))
PROGRAM_K(kretprobe, way, LEAVE_WAY(ANSWER_K, SP_K, 0))
#endif

/* BPF_PROG_TEST_RUN alone starts it: args are descriptor, inode or 0, flags. */
int show_mapped(struct bpf_raw_tracepoint_args *ctx)
{
	tell_mapped(ctx->args[0], ctx->args[1], ctx->args[2]);
	return 0;
}

/* BPF_PROG_TEST_RUN alone starts it: args are an address in the kernel and a number of bytes. */
int show_memory(struct bpf_raw_tracepoint_args *ctx)
{
	tell_memory(ctx->args[0], ctx->args[1]);
	return 0;
}

/* BPF_PROG_TEST_RUN alone starts it: args are a struct kvm and its VMM's mm_struct. */
int show_vm(struct bpf_raw_tracepoint_args *ctx)
{
	tell_vm(ctx->args[0], ctx->args[1]);
	return 0;
}

/* BPF_PROG_TEST_RUN alone starts it: its argument is a descriptor of a folder in /proc. */
int show_process(struct bpf_raw_tracepoint_args *ctx)
{
	tell_process(ctx->args[0]);
	return 0;
}
