/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The record: one C layout for everything that goes through the ring buffer
 * and everything that a recording stores.
 *
 * All records have one size, so that whatever lies in the ring is one array
 * (tracer/record.py reads this file and derives the numpy dtypes from
 * it; tests/unit/cli/test_record.py compiles it and compares). Keep each field
 * naturally aligned and each struct free of padding.
 *
 * The numbers OP_*, HOOK_*, KIND_*, FLAG_* and so on are those of
 * tracer/words.py, which tracer/capture/bpf_source.py writes out before this.
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
	u8 type;	/* TYPE_* */
	u8 op;		/* OP_* */
	u8 hook;	/* HOOK_*: the family that reported it */
	u8 kind;	/* KIND_* */
	u16 nr;		/* system call number, 0xffff: none or unknown */
	u32 flags;	/* FLAG_* */
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
	u64 arg;		/* by op: see OPS in tracer/words.py */
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
	u32 user_stack;		/* numbers of samples, 0: none was taken */
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

/*
 * type CGROUP: a folder of the cgroup v2 tree, told once: as it is made, and
 * those that are there at the start by user space. A longer name has a second
 * record. Numbers of cgroups are never used again in a boot.
 */
struct cgroup_body {
	u64 cgroup;		/* its number: the inode number of its folder */
	u64 parent;		/* of the folder above; 0: it is the root, or that is not known */
	u32 named_by;		/* user who made it, and so chose its name; ~0: not known */
	u16 part;		/* piece number of its name, from 0 */
	u16 length;		/* bytes used in text */
	u16 more;		/* 1: another piece follows */
	u16 unused_u16;
	u32 unused_u32;
	char text[144];
};

/*
 * type CALLER: what became of one sample of a user stack. Written by user
 * space, as FRAME and MODULE are; the stack's bytes are stored nowhere.
 */
struct caller_body {
	u32 sample;		/* as user_stack of the event, from 1 */
	u32 stack;		/* number of the stack, in FRAME records; 0: none */
	u16 state;		/* STACK_* */
	u16 maps_from;		/* MAPS_FROM_* */
	u32 kernel_stack;	/* number of the stack that has the kernel's own functions; 0: none */
	u64 unused[20];
};

/* type FRAME: one frame of a stack, told once for all samples that have it. */
struct frame_body {
	u32 stack;		/* its number, from 1 */
	u32 module;		/* in MODULE records, 0: none */
	u64 offset;		/* address in the file's own terms */
	u16 depth;		/* 0: the one that made the system call */
	u16 what;		/* FRAME_* */
	u16 interrupted;	/* 1: offset is the next instruction, 0: a return address */
	u16 length;		/* bytes used in name */
	char name[152];		/* of the function, where it is known as the frame is taken */
};

/* type MODULE: a file with code; the head has its dev, ino and gen. */
struct module_body {
	u32 module;		/* its number, from 1 */
	u16 part;		/* piece number of its path, from 0 */
	u16 length;		/* bytes used in text */
	u64 size;		/* i_size */
	u16 more;		/* 1: another piece follows */
	u16 id_length;		/* bytes used in build_id */
	u32 unused_u32;
	char build_id[32];
	char text[120];
};

/*
 * type TASK: a piece of what is known of an actor: a process, and the program that
 * it ran then. Told with the first event of it, a record for each piece of its
 * executable's path and of its command line; the facts stand in each. The
 * object key in the head is the executable's, 0: none, or not known.
 */
struct task_body {
	u64 start_ns;
	u32 pid;
	u32 exec_id;
	u64 parent_start_ns;
	u32 parent;		/* pid of its parent then */
	u32 ns_pid;		/* its own pid, as its own pid namespace counts; 0: not known */
	u16 part;		/* piece number, from 0 */
	u16 length;		/* bytes used in text */
	u8 what;		/* TASK_EXE, TASK_CMDLINE; TASK_BUILD_ID: by user space alone */
	u8 more;		/* 1: it goes on, in the next piece if there is one */
	u8 cut;			/* 1: what is above the path was not reached */
	u8 unlinked;		/* 1: the executable has no name any more */
	u64 unused;
	char text[128];
};

/* type LOSS: written by user space once a second while counts move. */
struct loss_body {
	u32 cause;		/* LOSS_* */
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
 * OP_MEMSLOT, OP_CONVERT: file_answer: type of the VM as KVM_CREATE_VM was given it, + 1;
 * 0: it was not seen to begin.
 *
 * OP_CONVERT: offset: guest physical address; length: bytes; arg:
 * KVM_MEMORY_ATTRIBUTE_*; mm and vm: the VM's; checks: 1: KVM took it, and
 * these are as it has them in hand; 0: as the caller's memory had them
 * (INFERRED); size_after: when it took it, boot clock; check_answer: how many
 * it took of this VM so far, with this one: a hole is a loss. There is no object.
 *
 * OP_SEV_DEBUG: by address, of the guest's side: whole pages, as KVM asked for
 * them; arg: the command; check_answer: how many pieces it did; mm and vm: the
 * VM's; answer: of the whole ioctl, 0 or an error. Of a command that KVM did
 * not take there is only what the caller's memory said (INFERRED), and no range.
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
 * arg: RECEIPT_* | exec_id << 32.
 *
 * OP_PIN of a file without any address (memfd_pin_folios): size_after and mm 0.
 */

#endif
