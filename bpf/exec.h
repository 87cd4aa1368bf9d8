/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Programs run from memory files: each memory file that an execve or execveat
 * has in hand, told once, with the call's answer.
 *
 * Such a call is another task's when it returns: it has another thread id
 * (fs/exec.c:de_thread), name, address space and perhaps user. So it has no
 * slot: what was the case when it asked waits under the address of its task,
 * which stays.
 */

#define NR_EXECVE 59
#define NR_EXECVEAT 322
#define NR_COMPAT_EXECVE 11
#define NR_COMPAT_EXECVEAT 358
#define AT_EMPTY_PATH 0x1000
#define AT_EXECVE_CHECK 0x10000
#define EXEC_FILES 4	/* the program, an interpreter's interpreter, its loader */
#define PATH_HEAD 32

struct exec_file {
	u64 inode;
	struct object object;
	u64 size;
	u32 seals;
	s32 writable;
	u16 mode;
	u8 fmode;
	u8 role;
	u32 unused;
};

struct exec {
	u64 time_ns;
	u64 cgroup;
	u64 start_ns;
	u64 own_mm;
	char comm[16];
	u32 pid;
	u32 tid;
	u32 uid;
	u32 exec_id;
	s32 fd;
	u32 form;		/* the lowest byte of arg, and EXEC_CHECK */
	u32 flags;
	u16 nr;
	u8 told;		/* the system call's own return is still to come */
	u8 files;
	struct exec_file file[EXEC_FILES];
};

BPF_HASH(execs, u64, struct exec, MAX_EXECS);
BPF_ARRAY(no_exec, struct exec, 1);	/* zeros: too much for the stack */

/*
 * A task as key. It has to be a copy: what a helper was given by its place on
 * the stack the verifier takes for a plain number from then on.
 */
INLINE u64 exec_key(u64 task)
{
	asm volatile("" : "+r"(task));
	return task;
}

/*
 * Without a branch a character: the verifier would go on from each way that
 * the characters can be read (what LLVM 19 makes of it, until it gave up).
 */

/* The descriptor's number that a text is, -1: another text. */
INLINE s32 number_in(char *text)
{
	u64 number = 0, going = ~0ULL, other = 0;	/* going: all ones until the digits end */

#pragma clang loop unroll(full)
	for (int i = 0; i < 8; i++) {
		s64 digit = (s64)text[i] - '0', ends = going & ((digit | (9 - digit)) >> 63);

		asm volatile("" : "+r"(ends));
		/* By anything but NUL, or before there was any. */
		other |= i ? (u8)text[i] & ends : ends;
		going &= ~ends;
		asm volatile("" : "+r"(going));
		number = ((number * 10 + digit) & going) | (number & ~going);
	}
	return going | other ? -1 : (s32)number;
}

INLINE int begins(char *text, const char *with, int length)
{
	u64 differs = 0;

#pragma clang loop unroll(full)
	for (int i = 0; i < length; i++) {
		differs |= (u8)text[i] ^ (u8)with[i];
		asm volatile("" : "+r"(differs));
	}
	return !differs;
}

/* The caller's own descriptor that a path stands for, -1: none. */
INLINE s32 fd_in(char *path)
{
	if (begins(path, "/proc/self/fd/", 14))
		return number_in(path + 14);
	if (begins(path, "/proc/thread-self/fd/", 21))
		return number_in(path + 21);
	if (begins(path, "/dev/fd/", 8))
		return number_in(path + 8);
	return -1;
}

/* What the system call says. A kernel's own execution (kernel_execve) is none. */
struct exec_call {
	u64 path;		/* in user memory */
	u32 flags;
	s32 dir;
	u16 nr;
	u8 is_call;
	u8 is_at;
};

INLINE struct exec_call exec_call(u64 task)
{
	struct exec_call call = {};
	struct user_regs regs = {};

	user_regs(task, &regs);
	call.nr = 0xffff;
	if (is_compat(task)) {
		call.is_at = regs.orig_ax == NR_COMPAT_EXECVEAT;
		call.is_call = call.is_at || regs.orig_ax == NR_COMPAT_EXECVE;
		call.path = call.is_at ? (u32)regs.cx : (u32)regs.bx;
		call.dir = regs.bx;
		call.flags = call.is_at ? regs.di : 0;
		return call;
	}
	call.is_at = regs.orig_ax == NR_EXECVEAT;
	call.is_call = call.is_at || regs.orig_ax == NR_EXECVE;
	call.path = call.is_at ? regs.si : regs.di;
	call.dir = regs.di;
	call.flags = call.is_at ? regs.r8 : 0;
	if (call.is_call)
		call.nr = regs.orig_ax;
	return call;
}

/* Its form by the name that the kernel has of it, which no other thread can change meanwhile. */
INLINE void exec_form(struct exec *e, struct exec_call *call, u64 bprm)
{
	u64 fdpath = read_u64(bprm + OFF_BPRM_FDPATH);
	char path[PATH_HEAD] = {};
	s32 fd;

	bpf_probe_read_kernel_str(path, sizeof(path), (void *)read_u64(bprm + OFF_BPRM_FILENAME));
	fd = fd_in(path);
	e->fd = -1;
	e->form = FORM_PATH;
	/* "/dev/fd/N" is then what the kernel calls it (alloc_bprm); "/dev/fd/N/name" lies below. */
	if (fd >= 0) {
		e->fd = fdpath ? call->dir : fd;
		e->form = fdpath ? FORM_EMPTY_PATH : FORM_PROC_FD;
	}
	if (call->flags & AT_EXECVE_CHECK)
		e->form |= EXEC_CHECK;
}

/* The call that this task has in flight, begun if it has none; NULL: no room. */
INLINE struct exec *my_exec(u64 task)
{
	u64 key = exec_key(task);
	struct exec *e = execs.lookup(&key), *fresh;
	int zero = 0;
	struct counts *n;
	u64 me;

	if (e)
		return e;
	fresh = no_exec.lookup(&zero);
	if (!fresh || execs.update(&key, fresh)) {
		n = my_counts();
		if (n)
			count_loss(n, LOSS_INFLIGHT_FULL, HOOK_EXEC);
		return NULL;
	}
	e = execs.lookup(&key);
	if (!e)
		return NULL;
	me = bpf_get_current_pid_tgid();
	e->time_ns = bpf_ktime_get_boot_ns();
	e->pid = me >> 32;
	e->tid = me;
	e->uid = task_uid(task);
	e->cgroup = task_cgroup(task);
	task_comm(task, e->comm);
	e->start_ns = load_u64(load_u64(task + OFF_TASK_LEADER, TASK_DIRECT) + OFF_TASK_START_BOOT,
			       TASK_DIRECT);
	e->exec_id = load_u32(task + OFF_TASK_EXEC_ID, TASK_DIRECT);
	e->own_mm = task_mm_number(task);
	e->fd = -1;
	e->form = FORM_PATH;
	e->nr = exec_call(task).nr;
	e->flags = is_compat(task) ? FLAG_COMPAT : 0;
	return e;
}

/* Only what memory files are executed as is said of all: shmem's and hugetlb's. */
INLINE u8 executable_kind(u64 inode, int direct)
{
	u8 kind = inode_kind(inode, direct);

	return kind == KIND_TMPFS || kind == KIND_HUGETLB ? kind : KIND_UNKNOWN;
}

INLINE int exec_wanted(u64 inode, int direct)
{
	return is_wanted(bpf_get_current_pid_tgid(), inode, load_u64(inode + OFF_INODE_INO, direct));
}

/* One more file of it, as it is now, if it is none of those that it has. */
INLINE void add_exec_file(struct exec *e, u64 file, u64 inode, u8 kind, u8 role)
{
	struct counts *n = my_counts();
	struct exec_file *f;
	u32 place;

#pragma clang loop unroll(full)
	for (int i = 0; i < EXEC_FILES; i++) {
		f = &e->file[i];
		if (f->inode != inode)
			continue;
		/* What open_exec opened is the loader, unless it turns out to be executed itself. */
		if (f->role == ROLE_LOADER)
			f->role = role;
		return;
	}
	place = e->files;
	if (!n)
		return;
	if (place >= EXEC_FILES) {
		count_loss(n, LOSS_INFLIGHT_FULL, HOOK_EXEC);
		return;
	}
	/* Said again where the verifier sees it: clang drops what it can prove. */
	asm volatile("" : "+r"(place));
	f = &e->file[place & (EXEC_FILES - 1)];
	f->seals = inode_seals(inode, kind);
	/* Announced now, as there is no room for it at the return. */
	if (!get_object(n, inode, read_u64(inode + OFF_INODE_INO), kind, OP_EXEC, HOOK_EXEC,
			f->seals, NULL, &f->object)) {
		lock_xadd(&n->totals[HOOK_EXEC].decided, 1);
		lock_xadd(&n->totals[HOOK_EXEC].dropped, 1);
		return;
	}
	f->inode = inode;
	f->size = inode_size(inode, 0);
	f->writable = read_u32(inode + OFF_INODE_DATA + OFF_MAPPING_WRITABLE);
	f->mode = read_u16(inode + OFF_INODE_MODE);
	f->fmode = file_mode(file, 0);
	f->role = role;
	e->files = place + 1;
}

/*
 * security_bprm_creds_for_exec(bprm): the program is open, once for each call.
 * What this task, or one before it at this address, left behind has lost its
 * return.
 */
INLINE void exec_begins(u64 bprm, int direct)
{
	u64 task = current_task(), key = exec_key(task), file, inode;
	u8 kind;
	struct exec_call call;
	struct exec *e = execs.lookup(&key);
	struct counts *n;

	if (unlikely(e)) {
		n = my_counts();
		if (n && !e->told)
			count_loss(n, LOSS_NO_RETURN, HOOK_EXEC);
		execs.delete(&key);
	}
	file = load_u64(bprm + OFF_BPRM_FILE, direct);
	inode = file_inode(file, direct);
	kind = executable_kind(inode, direct);
	if (!kind || !exec_wanted(inode, direct))
		return;
	e = my_exec(task);
	if (!e)
		return;
	call = exec_call(task);
	exec_form(e, &call, bprm);
	add_exec_file(e, file, inode, kind, ROLE_PROGRAM);
	/* Now, as it is another program at the return. */
	tell_me(0);
}

/* A further file of the call: of an ordinary program nothing waits yet. */
INLINE void exec_goes_on(u64 file, int direct, u8 role)
{
	u64 inode = file_inode(file, direct);
	u8 kind = executable_kind(inode, direct);
	struct exec *e;

	if (!kind || !exec_wanted(inode, direct))
		return;
	e = my_exec(current_task());
	if (!e)
		return;
	add_exec_file(e, file, inode, kind, role);
	tell_me(0);
}

/* security_bprm_check(bprm), for the program and for each interpreter in its place. */
INLINE void exec_checked(u64 bprm, int direct)
{
	exec_goes_on(load_u64(bprm + OFF_BPRM_FILE, direct), direct, ROLE_INTERPRETER);
}

/* open_exec(name): an interpreter, or a loader. */
INLINE void exec_opened(s64 file)
{
	if (file && !is_error(file))
		exec_goes_on(file, 0, ROLE_LOADER);
}

INLINE struct record *exec_record(struct counts *n, struct exec *e, struct exec_file *f,
				  s64 answer)
{
	u32 seals_after = inode_seals(f->inode, f->object.kind);
	struct record *r;

	lock_xadd(&n->totals[HOOK_EXEC].decided, 1);
	if (!seals_wanted(f->seals | seals_after))
		goto dropped;
#if FILTER_DENIED
	if (!is_error(answer))
		goto dropped;
#endif
	r = new_record(n, TYPE_EVENT, HOOK_EXEC);
	if (!r)
		return NULL;
	r->head.time_ns = e->time_ns;
	r->head.op = OP_EXEC;
	r->head.nr = e->nr;
	r->head.seals = f->seals;
	set_key(r, &f->object);
	r->head.flags = e->flags | (seals_after != f->seals ? FLAG_RACED_SEALS : 0);
	r->event.pid = e->pid;
	r->event.tid = e->tid;
	r->event.uid = e->uid;
	r->event.cgroup = e->cgroup;
	__builtin_memcpy(r->event.comm, e->comm, sizeof(e->comm));
	r->event.start_ns = e->start_ns;
	r->event.exec_id = e->exec_id;
	r->event.own_mm = e->own_mm;
	r->event.vm = 0;
	r->event.fd = f->role == ROLE_PROGRAM ? e->fd : -1;
	r->event.size = f->size;
	r->event.size_after = inode_size(f->inode, 0);
	r->event.offset = 0;
	r->event.length = 0;
	/* How the call named an interpreter or a loader it never says. */
	r->event.arg = (f->role == ROLE_PROGRAM ? e->form : e->form & EXEC_CHECK) | (u32)f->role << 8;
	r->event.answer = answer;
	r->event.duration_ns = bpf_ktime_get_boot_ns() - e->time_ns;
	r->event.mm = is_error(answer) || e->form & EXEC_CHECK ? 0 : task_mm_number(current_task());
	r->event.seals_after = seals_after;
	r->event.check_answer = 0;
	r->event.file_answer = 0;
	r->event.writable = f->writable;
	r->event.mode = f->mode;
	r->event.fmode = f->fmode;
	r->event.checks = 0;
	set_spare(r);
	if (unlikely(answer == -EACCES || answer == -EPERM))
		r->head.flags |= inode_flags(f->inode, r->head.kind, 0);
	return r;
dropped:
	__attribute__((unused));
	lock_xadd(&n->totals[HOOK_EXEC].dropped, 1);
	return NULL;
}

/* bprm_execve returns: each file of the call is told. */
INLINE void exec_ends(s64 answer)
{
	u64 task = current_task(), key = exec_key(task);
	struct exec *e = execs.lookup(&key);
	struct counts *n;
	struct record *r;

	if (!e)
		return;
	n = my_counts();
#if STACKS
	/* After a success the stack is another program's, which has not begun. */
	u32 stack = n && is_error(answer) ? take_stack(n, HOOK_EXEC, OP_EXEC, answer, 0) : 0;
#endif
#pragma clang loop unroll(full)
	for (int i = 0; i < EXEC_FILES; i++) {
		if (!n || i >= e->files)
			break;
		r = exec_record(n, e, &e->file[i], answer);
#if STACKS
		if (r)
			r->event.user_stack = stack;
#endif
		if (r)
			submit(r);
	}
	e->told = 1;
	/* The system call's return would infer what was in hand. */
	if (!is_error(answer) || !exec_call(task).is_call)
		execs.delete(&key);
}

/*
 * The system call returns. Refused before the kernel had the file in hand (no
 * execute bit, noexec, open for writing, arguments too long) it is named by the
 * descriptor that the call names it by, as both are now.
 */
INLINE void exec_refused(s64 answer)
{
	u64 task, key, file, inode;
	struct exec *e;
	struct exec_call call;
	char path[PATH_HEAD] = {};
	struct counts *n;
	struct record *r;
	int sent = 0;
	u8 kind;

	if (!is_error(answer))
		return;
	task = current_task();
	key = exec_key(task);
	e = execs.lookup(&key);
	n = my_counts();
	if (e) {
		/* It was in hand; how bprm_execve ended was told, or not seen. */
		if (n && !e->told)
			count_loss(n, LOSS_NO_RETURN, HOOK_EXEC);
		execs.delete(&key);
		return;
	}
	/* What else is not there is no memory file that was named by a descriptor. */
	if (answer == -ENOENT || answer == -EFAULT || answer == -EBADF || answer == -ENOTDIR)
		return;
	e = my_exec(task);
	if (!n || !e)
		return;
	call = exec_call(task);
	bpf_probe_read_user_str(path, sizeof(path), (void *)call.path);
	if (call.flags & AT_EMPTY_PATH && !path[0]) {
		e->form = FORM_EMPTY_PATH;
		e->fd = call.dir;
	} else {
		e->form = FORM_PROC_FD;
		e->fd = fd_in(path);
	}
	if (call.flags & AT_EXECVE_CHECK)
		e->form |= EXEC_CHECK;
	e->flags |= FLAG_INFERRED;
	/* Read again: else the verifier would go on from each way that the digits can be read. */
	file = call.is_call ? task_file(*(volatile u32 *)&e->fd) : 0;
	inode = file ? file_inode(file, 0) : 0;
	kind = inode ? executable_kind(inode, 0) : KIND_UNKNOWN;
	if (kind && exec_wanted(inode, 0))
		add_exec_file(e, file, inode, kind, ROLE_PROGRAM);
	if (e->files) {
#if STACKS
		u32 stack = take_stack(n, HOOK_EXEC, OP_EXEC, answer, 0);
#endif
		r = exec_record(n, e, &e->file[0], answer);
#if STACKS
		if (r)
			r->event.user_stack = stack;
#endif
		if (r) {
			submit(r);
			sent = 1;
		}
	}
	execs.delete(&key);
	if (sent)
		tell_me(0);
}
