/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Reading kernel memory without kernel headers.
 *
 * Kernel pointers are u64 throughout: bcc's rewriter turns dereferences of
 * pointers into reads of its own making, and mangles container_of. Offsets
 * (OFF_*) come from the running kernel's BTF, tracer/kernel/offsets.py.
 */
#define INLINE static __attribute__((always_inline)) inline
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

#define TMPFS_MAGIC 0x01021994
#define HUGETLBFS_MAGIC 0x958458f6
#define SECRETMEM_MAGIC 0x5345434d
#define GUEST_MEMFD_MAGIC 0x474d454d
#define ANON_INODE_FS_MAGIC 0x09041934
#define PROC_SUPER_MAGIC 0x9fa0

#define F_SEAL_SEAL 0x1
#define F_ADD_SEALS 1033
#define ATTR_MODE (1 << 0)
#define ATTR_SIZE (1 << 3)
#define FALLOC_FL_PUNCH_HOLE 0x02
#define PF_KTHREAD 0x00200000
#define PF_EXITING 0x00000004
#define PF_IO_WORKER 0x00000010	/* since 5.12 (commit 3bfe6106693b) */
#define TS_COMPAT 0x0002
#define MAX_ERRNO 4095
#define EPERM 1
#define ENOENT 2
#define EBADF 9
#define EACCES 13
#define EFAULT 14
#define ENOTDIR 20
#define S_APPEND 4
#define S_IMMUTABLE 8
#define SHMEM_F_MAPPING_FROZEN 4	/* include/linux/shmem_fs.h */

/* The helper fills what it cannot read with zeros (kernel/trace/bpf_trace.c). */
INLINE u64 read_u64(u64 addr)
{
	u64 value;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)addr);
	return value;
}

INLINE u32 read_u32(u64 addr)
{
	u32 value;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)addr);
	return value;
}

INLINE u16 read_u16(u64 addr)
{
	u16 value;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)addr);
	return value;
}

/*
 * Direct loads: where the verifier knows the type of a pointer (arguments of a
 * trampoline, the current task), a plain load is checked against BTF and
 * survives a fault, and costs a tenth of the helper. "direct" is a constant
 * wherever these are used, so that one branch is all that is compiled.
 */
INLINE u64 load_u64(u64 addr, int direct)
{
	return direct ? *(u64 *)addr : read_u64(addr);
}

INLINE u32 load_u32(u64 addr, int direct)
{
	return direct ? *(u32 *)addr : read_u32(addr);
}

INLINE u64 file_inode(u64 file, int direct)
{
	return load_u64(file + OFF_FILE_INODE, direct);
}

INLINE u64 inode_size(u64 inode, int direct)
{
	return load_u64(inode + OFF_INODE_SIZE, direct);
}

#if AUDIT
/* What user space found out about KVM, a module that may come while we record. */
struct kvm_facts {
	u64 gmem_iops;		/* address of kvm_gmem_iops, 0: none */
	u64 has_gmem;		/* memory regions have a guest_memfd */
	u64 slot_file;		/* where a memslot has its file, */
	u64 slot_page;		/*   and its place in it */
	u64 vm_mm;		/* where a VM has its address space, 0: not known */
};

BPF_ARRAY(kvm_facts, struct kvm_facts, 1);

/* Until 6.18 a guest_memfd is an anonymous inode, which KVM's own table of operations tells. */
INLINE int is_anon_gmem(u64 inode)
{
	int zero = 0;
	struct kvm_facts *kvm = kvm_facts.lookup(&zero);

	return kvm && kvm->gmem_iops && read_u64(inode + OFF_INODE_IOPS) == kvm->gmem_iops;
}
#endif

/* KIND_TMPFS stands for everything in shmem until the object is announced. */
INLINE u8 kind_in(u64 sb, u64 inode, int direct)
{
	u64 magic = load_u64(sb + OFF_SB_MAGIC, direct);

	if (magic == TMPFS_MAGIC)
		return KIND_TMPFS;
	if (magic == HUGETLBFS_MAGIC)
		return KIND_HUGETLB;
#if AUDIT
	if (magic == SECRETMEM_MAGIC)
		return KIND_SECRETMEM;
	if (magic == GUEST_MEMFD_MAGIC || (magic == ANON_INODE_FS_MAGIC && is_anon_gmem(inode)))
		return KIND_GUEST_MEMFD;
#endif
	return KIND_UNKNOWN;
}

INLINE u8 inode_kind(u64 inode, int direct)
{
	return kind_in(load_u64(inode + OFF_INODE_SB, direct), inode, direct);
}

/*
 * Both offsets are relative to the embedded struct inode, and shmem's is
 * negative: no direct load reaches in front of a pointer.
 */
INLINE u32 inode_seals(u64 inode, u8 kind)
{
#if AUDIT
	/* Others have none, and something else in its place. */
	if (kind != KIND_TMPFS && kind != KIND_MEMFD && kind != KIND_HUGETLB)
		return 0;
#endif
	if (kind == KIND_HUGETLB)
		return read_u32(inode + OFF_HUGETLB_SEALS);
	return read_u32(inode + OFF_SHMEM_SEALS);
}

/* Memory files that can never be sealed carry F_SEAL_SEAL alone from birth. */
INLINE int is_sealable(u32 seals)
{
#if FILTER_UNSEALABLE
	return seals != F_SEAL_SEAL;
#else
	return 1;
#endif
}

/* A file that a call is about: what it is now. */
struct target {
	u64 inode;
	u64 ino;
	u64 size;
	u32 seals;
	u8 kind;
	u8 fmode;		/* as struct call has it, 0: no file was at hand */
};

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define INODE_FROM MIN(OFF_INODE_SB, MIN(OFF_INODE_INO, OFF_INODE_SIZE))
#define INODE_SPAN (MAX(OFF_INODE_SB, MAX(OFF_INODE_INO, OFF_INODE_SIZE)) + 8 - INODE_FROM)

/*
 * A file of a kind that the hook alone tells (KIND_UNKNOWN: it does not). Of
 * one that cannot be sealed then no more is read than that.
 *
 * A call of the helper costs more than the bytes it copies, so where they are
 * near each other it copies all three fields and what is between them.
 */
INLINE struct target target_of(u64 inode, int direct, u8 kind)
{
	struct target t = { .inode = inode, .kind = kind };
	u64 raw[INODE_SPAN / 8 + 1], sb;

	if (kind) {
		t.seals = inode_seals(inode, kind);
		if (!is_sealable(t.seals))
			return t;
	}
	if (direct || INODE_SPAN > 128) {
		sb = load_u64(inode + OFF_INODE_SB, direct);
		t.ino = load_u64(inode + OFF_INODE_INO, direct);
		t.size = inode_size(inode, direct);
	} else {
		bpf_probe_read_kernel(raw, INODE_SPAN, (void *)(inode + INODE_FROM));
		__builtin_memcpy(&sb, (char *)raw + (OFF_INODE_SB - INODE_FROM), 8);
		__builtin_memcpy(&t.ino, (char *)raw + (OFF_INODE_INO - INODE_FROM), 8);
		__builtin_memcpy(&t.size, (char *)raw + (OFF_INODE_SIZE - INODE_FROM), 8);
	}
	if (!kind) {
		t.kind = kind_in(sb, inode, direct);
		t.seals = inode_seals(inode, t.kind);
	}
	return t;
}

#define FILE_FROM MIN(OFF_FILE_INODE, OFF_FILE_MODE)
#define FILE_SPAN (MAX(OFF_FILE_INODE + 8, OFF_FILE_MODE + 4) - FILE_FROM)

INLINE u8 file_mode(u64 file, int direct)
{
	return load_u32(file + OFF_FILE_MODE, direct) & 3;
}

/* By the open file, likewise with one call of the helper for both of its fields. */
INLINE struct target target_of_file(u64 file, int direct, u8 kind)
{
	struct target t;
	u64 raw[FILE_SPAN / 8 + 1], inode;
	u32 mode;

	if (direct || FILE_SPAN > 128) {
		t = target_of(file_inode(file, direct), direct, kind);
		t.fmode = file_mode(file, direct);
		return t;
	}
	bpf_probe_read_kernel(raw, FILE_SPAN, (void *)(file + FILE_FROM));
	__builtin_memcpy(&inode, (char *)raw + (OFF_FILE_INODE - FILE_FROM), 8);
	__builtin_memcpy(&mode, (char *)raw + (OFF_FILE_MODE - FILE_FROM), 4);
	t = target_of(inode, direct, kind);
	t.fmode = mode & 3;
	return t;
}

/*
 * What of an inode's flags refuses calls whatever its seals: include/linux/fs.h.
 * What shmem's own flags had in this bit's place before kernels could freeze a
 * file, VM_EXEC, they never had.
 */
INLINE u32 inode_flags(u64 inode, u8 kind, int direct)
{
	u32 flags = load_u32(inode + OFF_INODE_FLAGS, direct);
	u32 found = (flags & S_APPEND ? FLAG_APPEND_ONLY : 0) |
		    (flags & S_IMMUTABLE ? FLAG_IMMUTABLE : 0);

	if (kind != KIND_MEMFD && kind != KIND_TMPFS)
		return found;
	/* In front of the inode, as inode_seals says. */
	if (read_u32(inode + OFF_SHMEM_FLAGS) & SHMEM_F_MAPPING_FROZEN)
		found |= FLAG_FROZEN;
	return found;
}

INLINE int is_error(s64 answer)
{
	return answer < 0 && answer >= -MAX_ERRNO;
}
