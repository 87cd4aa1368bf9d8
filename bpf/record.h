/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The record: one C layout for everything that goes through the ring buffer
 * and everything that a recording stores.
 *
 * All records have one size, so that whatever lies in the ring is one array
 * (tracer/record.py reads this file and derives the numpy dtypes from
 * it; tests/unit/cli/test_record.py compiles it and compares). Keep each field
 * naturally aligned and each struct free of padding.
 */
#ifndef SEALSNOOP_RECORD_H
#define SEALSNOOP_RECORD_H

/* Common to every record. 48 bytes. */
struct record_head {
	u64 time_ns;	/* CLOCK_BOOTTIME: at entry of the operation */
	u64 seq;	/* counts records of this CPU from 0; a hole is a loss */
	u64 ino;	/* object key: inode number, */
	u32 dev;	/*   device as the kernel holds it (major << 20 | minor), */
	u32 gen;	/*   inode generation */
	u16 cpu;	/* CPU of the return; 0xffff: written by user space */
	u8 type;	/* enum record_type */
	u8 op;		/* enum op */
	u8 hook;	/* enum hook: the family that reported it */
	u8 kind;	/* enum kind */
	u16 nr;		/* system call number, 0xffff: none or unknown */
	u32 flags;	/* enum flag */
	u32 seals;	/* F_SEAL_* at entry; 0 where the object has none */
};

/* type EVENT and BASELINE. 176 bytes. */
struct event_body {
	u32 pid;		/* thread group id, initial pid namespace */
	u32 tid;
	u32 uid;
	s32 fd;			/* as the system call had it, -1: unknown */
	char comm[16];
	u64 cgroup;
	u64 start_ns;		/* boot clock, when the thread group's leader began */
	u64 own_mm;		/* number of the task's own address space, 0: none */
	u32 exec_id;		/* counts the programs that it executed, and those before it */
	u32 vm;			/* number of the virtual machine, 0: none */
	u64 size;		/* i_size at entry, bytes */
	u64 size_after;		/* i_size at return, bytes; some ops: an address */
	s64 offset;		/* bytes into the file */
	u64 length;		/* bytes asked for; truncate: the new size */
	u64 arg;		/* by op: see enum op */
	s64 answer;		/* 0, a count, an address, or -errno */
	u64 duration_ns;
	u64 mm;			/* number of the address space that is meant, 0: none */
	u32 seals_after;	/* F_SEAL_* at return */
	s32 check_answer;	/* of the inner seal check, if CHECK_REACHED */
	s32 file_answer;	/* of the file's own mmap, if FILE_MMAP_REACHED */
	s32 writable;		/* address_space.i_mmap_writable at entry; add_seals that succeeded: at return */
	u16 mode;		/* i_mode at entry */
	u16 fmode;		/* file.f_mode & 3: 1 read, 2 write; 0: no file */
	u32 checks;		/* how often the inner check was asked (chunks) */
	u32 user_stack;		/* numbers of stacks, 0: none was taken */
	u32 kernel_stack;
	u64 spare[2];		/* 0 */
};

/* type OBJECT: a memory file, announced once. 176 bytes; the task stands as in an event. */
struct object_body {
	u32 pid;		/* the task that was seen with it first */
	u32 tid;
	u32 uid;
	u32 owner_uid;		/* i_uid, initial user namespace */
	char comm[16];
	u64 cgroup;
	u64 start_ns;
	u64 own_mm;
	u32 exec_id;
	u32 vm;			/* 0 */
	u64 size;
	u64 mapping_flags;	/* address_space.flags: folio order in bits 16-25 */
	u32 owner_gid;
	u32 name_len;		/* bytes of the name, in the NAME records behind */
	u16 mode;
	u16 create_flags_known;	/* 1: create_flags is what memfd_create got */
	u32 create_flags;	/* MFD_* */
	u64 unused[10];
};

/* type NAME: a piece of an object's name. 176 bytes. */
struct name_body {
	u16 part;		/* piece number, from 0 */
	u16 length;		/* bytes used in text */
	char text[172];
};

/* type LOSS: written by user space once a second while counts move. */
struct loss_body {
	u32 cause;		/* enum loss_cause */
	u32 unused_u32;
	u64 count;		/* since the record before this one */
	u64 total;		/* since the start */
	u64 unused[19];
};

/* type CLOCK: two clocks read at one moment. */
struct clock_body {
	s64 realtime_ns;
	u64 monotonic_ns;
	u64 unused[20];
};

/* type TOTALS: what each hook decided, whether or not it was recorded. */
struct totals_body {
	u64 decided;		/* calls that reached the hook's return and were ours */
	u64 dropped;		/* of these, turned away by a filter */
	u64 unused[20];
};

enum record_type {
	TYPE_EVENT = 1,
	TYPE_OBJECT = 2,
	TYPE_NAME = 3,
	TYPE_BASELINE = 4,	/* held open or mapped before the trace began */
	TYPE_LOSS = 5,
	TYPE_CLOCK = 6,
	TYPE_TOTALS = 7,
};

enum op {
	OP_MMAP = 1,		/* arg: prot | flags << 32 */
	OP_MPROTECT = 2,	/* by address; arg: the new prot */
	OP_WRITE = 3,
	OP_READ = 4,
	OP_TRUNCATE = 5,	/* arg: ia_valid | ia_mode << 32 */
	OP_CHMOD = 6,		/* arg: ia_valid | ia_mode << 32 */
	OP_ALLOCATE = 7,	/* arg: fallocate mode */
	OP_PUNCH_HOLE = 8,	/* arg: fallocate mode */
	OP_ADD_SEALS = 9,	/* arg: the seals to add */
	OP_CREATE = 10,		/* arg: MFD_* or GUEST_MEMFD_FLAG_* flags */
	OP_FAULT = 11,		/* by address; arg: FAULT_FLAG_*, answer: VM_FAULT_* */
	OP_MAP = 12,		/* a mapping begins; arg: vm_flags, answer: address */
	OP_UNMAP = 13,		/* a mapping ends; the same fields */
	OP_EVICT = 14,		/* the object is gone */
	OP_OPEN = 16,		/* BASELINE only: a file descriptor held */
	OP_MEMSLOT = 17,	/* KVM: guest memory is set; its own fields, see below */
	OP_REMOTE_READ = 18,	/* by address, in another process; arg: FOLL_* flags */
	OP_REMOTE_WRITE = 19,	/* the same */
	OP_PIN = 20,		/* long-term pin, by address; arg: FOLL_* flags */
	OP_UFFD_REGISTER = 21,	/* userfaultfd, by address; arg: UFFDIO_REGISTER_MODE_* */
	OP_RECEIVE = 22,	/* a descriptor arrives; its number is not known yet */
	OP_MAPPED = 23,		/* BASELINE only, the recorder's: answer: 1 i_mmap has mappings, 0 none */
	OP_ATTACH = 24,		/* BASELINE only: hooks in a module; answer: 0 on, -ENOENT off, -EOPNOTSUPP refused */
	OP_MREMAP = 25,		/* arg: MREMAP_* | (vm_flags & 0x8f) << 8 | old pages << 16 */
	OP_UFFD_FILL = 26,	/* a page put there by userfaultfd, by address; arg: enum fill */
	OP_TRACE = 27,		/* ptrace: by the tracer, of the task with mm; see below */
	OP_GIVE = 28,		/* a descriptor is sent; the receiver is not known yet; arg: enum receipt */
	OP_ADVISE = 29,		/* process_madvise, by address, in another process; arg: MADV_* */
	OP_SHARE_MM = 30,	/* by a process that begins in its parent's mm and is no thread; see below */
	OP_VM_END = 31,		/* a virtual machine is gone, and its memslots */
	OP_RING = 32,		/* io_uring: a ring with length buffers of mm is used from another mm, or polled */
	OP_DEVICE = 33,		/* something is opened that reaches memory unseen; arg: enum device */
};

/* arg of OP_UFFD_FILL: which of userfaultfd's ioctls. UFFDIO_MOVE moves anonymous memory alone. */
enum fill {
	FILL_COPY = 1,
	FILL_ZERO = 2,
	FILL_CONTINUE = 3,
	FILL_POISON = 4,	/* its range is not known */
};

/* The low half of OP_RECEIVE's arg: how the descriptor came. */
enum receipt {
	RECEIPT_UNKNOWN = 0,
	RECEIPT_SCM_RIGHTS = 1,		/* a message on a unix socket */
	RECEIPT_PIDFD_GETFD = 2,	/* taken out of another process */
	RECEIPT_PROC_FD = 3,		/* /proc/PID/fd/N was opened */
	RECEIPT_MAP_FILES = 4,		/* /proc/PID/map_files/RANGE was opened */
	RECEIPT_MSG_RING = 5,		/* an io_uring put it into another one's table */
	RECEIPT_SECCOMP = 6,		/* a supervisor put it there (SECCOMP_IOCTL_NOTIF_ADDFD) */
};

/* arg of OP_DEVICE */
enum device {
	DEVICE_UDMABUF = 1,	/* length: of so many memfds a dma-buf is made */
};

/*
 * Who did something is (pid, start_ns, exec_id): a process, and the program
 * that it ran then. Address spaces and virtual machines have numbers that are
 * never used again in this boot: mm_struct.context.ctx_id, and our own.
 *
 * OP_MREMAP: offset: where the old address stands in the file; length: the new
 * length; answer: the new address. The mapping at the old address is the one
 * that is meant (vm_flags of it, its file), as it was at entry.
 *
 * Ops "by address": length bytes from address size_after in the address space
 * mm were asked for. The object is the first memory file in that range, and
 * offset where the range (or, if it begins elsewhere, this file's mapping in
 * it) stands in it; checks is 1 and ino 0 where the range has more mappings
 * than were looked at, so that mm and range are all there is.
 *
 * OP_MEMSLOT: arg: guest physical address; length: bytes, 0 deletes the slot;
 * size_after: userspace address; mm and vm: the VM's; check_answer: slot number |
 * address space << 16; checks: KVM_MEM_* flags; fd: the guest_memfd, -1 none. The object is the guest_memfd
 * and offset its part of it; without one, what is mapped at the userspace
 * address, ino 0 where that is no memory file.
 *
 * OP_UFFD_REGISTER, OP_UFFD_FILL: a registration's range is what the caller's
 * memory says at the return, where the kernel's mapping there agrees; checks
 * is 1 and mm all there is where it does not.
 *
 * OP_TRACE, OP_SHARE_MM: the task traced, or the parent: mm; arg: its pid;
 * offset: its start_ns; check_answer: its exec_id. Of a vfork child that is
 * told when it exits and has executed nothing: until then it stands for its parent.
 *
 * OP_GIVE by RECEIPT_MSG_RING: mm: who has the ring that gets it.
 *
 * OP_RECEIVE: who gave it, or from whom it was taken, 0 where that is not
 * known: mm: own_mm of that task; check_answer: its pid; offset: its start_ns;
 * arg: enum receipt | exec_id << 32.
 *
 * OP_PIN of a file without any address (memfd_pin_folios): size_after and mm 0.
 */

enum kind {
	KIND_UNKNOWN = 0,
	KIND_MEMFD = 1,
	KIND_HUGETLB = 2,
	KIND_TMPFS = 3,
	KIND_GUEST_MEMFD = 4,
	KIND_SECRETMEM = 5,
};

enum hook {
	HOOK_NONE = 0,
	HOOK_MMAP = 1,
	HOOK_MMAP_CHECK = 2,
	HOOK_FILE_MMAP = 3,
	HOOK_SETATTR = 4,
	HOOK_WRITE = 5,
	HOOK_WRITE_CHECK = 6,
	HOOK_ALLOCATE = 7,
	HOOK_READ = 8,
	HOOK_SEALS = 9,
	HOOK_CREATE = 10,
	HOOK_MAP = 11,
	HOOK_UNMAP = 12,
	HOOK_EVICT = 13,
	HOOK_FORK = 14,
	HOOK_MEMSLOT = 15,
	HOOK_FAULT = 16,
	HOOK_REMOTE = 17,
	HOOK_PIN = 18,
	HOOK_UFFD = 19,
	HOOK_MPROTECT = 20,
	HOOK_RECEIVE = 21,
	HOOK_MREMAP = 22,
	HOOK_TRACE = 23,
	HOOK_SHARE_MM = 24,
	HOOK_OPEN = 25,
	HOOK_ADVISE = 26,
	HOOK_RING = 27,
	HOOK_DEVICE = 28,
	HOOK_MAX = 32,
};

enum flag {
	FLAG_RACED_SEALS = 1,		/* seals changed between entry and return */
	FLAG_RACED_SIZE = 2,		/* size changed, though not by this call */
	FLAG_ENTRY_MISSING = 4,		/* the return came, its entry was not seen */
	FLAG_RETURN_MISSING = 8,	/* its return was not seen (BPF counts LOSS_NO_RETURN) */
	FLAG_CHECK_REACHED = 16,	/* check_answer holds */
	FLAG_FILE_MMAP_REACHED = 32,	/* file_answer holds */
	FLAG_OTHER_MM = 64,		/* map/unmap: not in the task's own mm (fork) */
	FLAG_KERNEL_TASK = 128,		/* kernel thread or io_uring worker: no fd */
	FLAG_COMPAT = 256,		/* 32-bit system call: no fd */
	FLAG_FINAL = 512,		/* BASELINE: as it was at the stop, not at the start */
	FLAG_APPEND_ONLY = 1024,	/* refused with EPERM or EACCES: the inode is S_APPEND */
	FLAG_IMMUTABLE = 2048,		/* the same: S_IMMUTABLE */
};

enum loss_cause {
	LOSS_RING_FULL = 1,		/* no room in the ring buffer */
	LOSS_INFLIGHT_FULL = 2,		/* no room for another task's calls in flight */
	LOSS_OBJECTS_FULL = 3,		/* object table full: announced without end */
	LOSS_NO_ENTRY = 4,		/* return without entry */
	LOSS_NO_RETURN = 5,		/* entry without return */
	LOSS_MISSED = 6,		/* BPF program not run (recursion, kretprobe) */
	LOSS_SEQ_HOLE = 7,		/* sequence numbers that never arrived */
	LOSS_NAME = 8,			/* name of an object could not be read */
	LOSS_PIDS_FULL = 9,		/* no room to follow another child process */
	LOSS_MAX = 16,
};

#endif
