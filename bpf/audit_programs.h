/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The programs of bpf/access.h and bpf/guest.h, as bpf/programs.h has the
 * others. Only the branch of the way that a program is loaded for is ever
 * looked at by the verifier, so that an argument that another function does
 * not have harms nobody.
 */

/* Each way's entry: X is F or K, the arguments by trampoline or in registers. */
#define ENTER_WAY(X) \
	u64 way = my_way(); \
	struct access a = { .fd = -1 }; \
	struct asked asked = {}; \
	if (way == WAY_GMEM_CREATE || way == WAY_SECRET_CREATE) { \
		begin_create(way == WAY_GMEM_CREATE ? read_u64(X##1 + CREATE_GMEM_FLAGS) : 0, SP_##X); \
		return 0; \
	} \
	if (!access_wanted()) \
		return 0; \
	switch (way) { \
	case WAY_MEMSLOT: asked = asked_memslot(&a, X##0, X##1); break; \
	case WAY_FAULT: begin_fault(&a, X##0); return 0; \
	case WAY_PIN: asked = asked_pin(my_mm(), X##0, (u32)X##1, X##2, 0); break; \
	case WAY_PIN_REMOTE: asked = asked_pin(X##0, X##1, X##2, X##3, 1); break; \
	case WAY_PIN_FILE: begin_by_file(&a, X##0, X##1, X##2 - X##1 + 1, OP_PIN, HOOK_PIN); return 0; \
	case WAY_REMOTE: asked = asked_remote(X##0, X##1, X##3, X##4); break; \
	case WAY_UFFD: asked = asked_uffd(X##0, X##1, X##2); break; \
	case WAY_MPROTECT: asked = asked_mprotect(X##0, X##1, X##2); break; \
	case WAY_RECEIVE: begin_by_file(&a, X##0, 0, 0, OP_RECEIVE, HOOK_RECEIVE); return 0; \
	case WAY_SPLICE: \
		begin_by_file(&a, X##0, read_u64(X##1), X##3, OP_READ, HOOK_READ); \
		return 0; \
	case WAY_READ: \
		begin_by_file(&a, read_u64(X##0 + OFF_KIOCB_FILE), read_u64(X##0 + OFF_KIOCB_POS), \
			      read_u64(X##1 + OFF_IOV_COUNT), OP_READ, HOOK_READ); \
		return 0; \
	} \
	begin_by_address(&a, &asked)

/* All ways return an int, or a long that would fit one; a fault's has no sign. By
 * trampoline, bpf_get_func_ret (5.17) finds the answer however many arguments there are. */
#define LEAVE_WAY(answer, sp) \
	u64 way = my_way(); \
	if (way == WAY_GMEM_CREATE || way == WAY_SECRET_CREATE) \
		finish_guest_create(way, INT(answer), sp); \
	else \
		finish_way(way, way == WAY_FAULT ? (s64)(u32)(answer) : INT(answer))

#if WITH_FENTRY_WAY

PROGRAM_F(fentry, way, ENTER_WAY(F))
PROGRAM_F(fexit, way, u64 answer = 0; bpf_get_func_ret(ctx, &answer); LEAVE_WAY(answer, SP_F))
#endif
#if WITH_KPROBE_WAY
PROGRAM_K(kprobe, way, ENTER_WAY(K))
PROGRAM_K(kretprobe, way, LEAVE_WAY(ANSWER_K, SP_K))
#endif

/* BPF_PROG_TEST_RUN alone starts it: args are descriptor, inode or 0, flags. */
int show_mapped(struct bpf_raw_tracepoint_args *ctx)
{
	tell_mapped(ctx->args[0], ctx->args[1], ctx->args[2]);
	return 0;
}
