/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Guest memory: KVM's memslots, guest_memfd, secretmem, and who maps what at one moment. */
#define KVM_MEM_GUEST_MEMFD 0x4

/* struct kvm_userspace_memory_region(2): include/uapi/linux/kvm.h, fixed for ever. */
#define REGION_SLOT 0
#define REGION_FLAGS 4
#define REGION_GUEST_ADDRESS 8
#define REGION_SIZE 16
#define REGION_ADDRESS 24
#define REGION_GMEM_OFFSET 32	/* with KVM_MEM_GUEST_MEMFD; the older struct ends before */
#define REGION_GMEM_FD 40
#define CREATE_GMEM_FLAGS 8	/* struct kvm_create_guest_memfd */

INLINE int kvm_has_gmem(void)
{
	int zero = 0;
	struct kvm_facts *kvm = kvm_facts.lookup(&zero);

	return kvm && kvm->has_gmem;
}

/* A virtual machine: another one may come to lie at its address. */
struct vm {
	u64 mm;
	u32 number;
	u32 converted;		/* conversions that KVM took, under its kvm->slots_lock */
	u32 type;		/* as KVM_CREATE_VM was given it, + 1; 0: it is older than the trace */
	u32 unused;
};

BPF_HASH(vms, u64, struct vm, 4096);
BPF_PERCPU_ARRAY(vms_seen, u32, 1);
BPF_TABLE("lru_hash", u32, u8, vm_numbers, 4096);	/* of living ones, at least */
#define VM_TRIES 4

/*
 * The next number of this CPU. Where one program preempts another on it both may
 * have read the same: an insertion decides whose it is. 0: no room.
 */
INLINE u32 new_vm_number(struct counts *n)
{
	int zero = 0;
	u32 *seen = vms_seen.lookup(&zero), number;
	u8 one = 1;

	if (!seen)
		return 0;
#pragma clang loop unroll(full)
	for (int i = 0; i < VM_TRIES; i++) {
		number = (*seen)++ * CPUS + n->cpu + 1;
		if (!vm_numbers.insert(&number, &one))
			return number;
	}
	return 0;
}

/* 0: no room for another one, which is counted. */
INLINE u32 vm_number(u64 kvm, u64 mm)
{
	struct vm *known = vms.lookup(&kvm), fresh = { .mm = mm };
	struct counts *n = my_counts();

	if (!n)
		return 0;
	if (known && known->mm == mm)
		return known->number;
	fresh.number = new_vm_number(n);
	if (fresh.number && !vms.update(&kvm, &fresh))
		return fresh.number;
	count_loss(n, LOSS_OBJECTS_FULL, HOOK_MEMSLOT);
	return 0;
}

/*
 * kvm_arch_init_vm(kvm, type): where all its guest memory is still shared, and
 * none is memory yet. Nobody else has it before KVM_CREATE_VM returns.
 */
INLINE void note_vm_begin(u64 kvm, u32 type)
{
	struct vm *known = vms.lookup(&kvm), fresh = { .type = type + 1 };
	struct counts *n = my_counts();
	u32 number;

	if (!n)
		return;
	if (known) {	/* its end was missed, or it could not be made */
		number = known->number;
		vm_numbers.delete(&number);
		vms.delete(&kvm);
	}
	fresh.mm = mm_number(my_mm(), 0);
	fresh.number = new_vm_number(n);
	if (!fresh.number || vms.update(&kvm, &fresh))
		count_loss(n, LOSS_OBJECTS_FULL, HOOK_MEMSLOT);
}

/* Which VM it is, for a row about it. */
INLINE void set_vm(struct access *a, u64 kvm)
{
	struct vm *known;

	a->vm = vm_number(kvm, a->mm);
	known = vms.lookup(&kvm);
	if (known)
		a->vm_type = known->type;
}

/* ---- those that exist already: BPF_PROG_TEST_RUN alone starts what follows ------------------- */

struct page {
	char bytes[4096];
};

/* What user space has asked for; it has it mapped. */
BPF_F_TABLE("array", u32, struct page, memory, 1, BPF_F_MMAPABLE);

/* A piece of the kernel's memory; what cannot be read is zero. */
INLINE void tell_memory(u64 address, u64 size)
{
	int zero = 0;
	struct page *to = memory.lookup(&zero);

	if (to && size && size <= sizeof(*to))
		bpf_probe_read_kernel(to->bytes, size, (void *)address);
}

/*
 * The numbers of a machine and of its memory, as records have them, and how
 * often it was converted since it has one: it gets one if it has none.
 */
INLINE void tell_vm(u64 kvm, u64 mm)
{
	int zero = 0;
	struct page *to = memory.lookup(&zero);
	struct vm *known;
	u64 *numbers;

	if (!to)
		return;
	numbers = (u64 *)to->bytes;
	numbers[1] = mm_number(mm, 0);
	numbers[0] = vm_number(kvm, numbers[1]);
	known = vms.lookup(&kvm);
	numbers[2] = known ? known->converted : 0;
}

/* ---- memslots -------------------------------------------------------------------------------- */

/* The caller's mm is the VM's: every KVM ioctl of another process fails with EIO. */
INLINE struct asked asked_memslot(struct access *a, u64 kvm, u64 region)
{
	struct asked asked = { my_mm(), 0, 0, 0, OP_MEMSLOT, HOOK_MEMSLOT };

	a->mm = mm_number(asked.mm, 0);
	set_vm(a, kvm);
	a->slot = read_u32(region + REGION_SLOT);
	a->checks = read_u32(region + REGION_FLAGS);
	a->arg = read_u64(region + REGION_GUEST_ADDRESS);
	a->length = read_u64(region + REGION_SIZE);
	a->address = read_u64(region + REGION_ADDRESS);
	asked.address = a->address;
	if ((a->checks & KVM_MEM_GUEST_MEMFD) && kvm_has_gmem()) {
		/* The file itself: note_slot_file. */
		a->offset = read_u64(region + REGION_GMEM_OFFSET);
		a->fd = read_u32(region + REGION_GMEM_FD);
	} else if (a->length) {
		asked.length = 1;
	}
	return asked;
}

/* ---- private and shared ------------------------------------------------------------------ */

#define KVM_SET_MEMORY_ATTRIBUTES 0x4020aed2U
#define CONVERT_TAKEN 1
#define CONVERT_UNREAD 2	/* until the return: the argument lay in a page that is not there */

/* struct kvm_memory_attributes: include/uapi/linux/kvm.h, since 6.8, fixed for ever. */
struct attributes {
	u64 address;
	u64 size;
	u64 attributes;
	u64 flags;
};

INLINE int read_attributes(struct access *a, u64 from)
{
	struct attributes wanted = {};

	if (bpf_probe_read_user(&wanted, sizeof(wanted), (void *)from))
		return 0;
	a->offset = wanted.address;
	a->length = wanted.size;
	a->arg = wanted.attributes;
	return 1;
}

/* The VM of a descriptor, which may be another process's. */
INLINE void set_vm_of(struct access *a, u64 file)
{
	u64 kvm = read_u64(file + OFF_FILE_PRIVATE), mm = my_mm();
	struct kvm_facts *facts;
	int zero = 0;

	facts = kvm_facts.lookup(&zero);
	if (facts && facts->vm_mm)
		mm = read_u64(kvm + facts->vm_mm);
	a->mm = mm_number(mm, 0);
	set_vm(a, kvm);
}

/*
 * kvm_vm_ioctl(file, ioctl, argument), of which all others go by the number:
 * by now its range is what the caller's memory says, which he can change. The
 * VM may be another process's (the ioctl is refused then, with EIO).
 */
INLINE void begin_convert(struct access *a, u64 file, u64 from)
{
	set_vm_of(a, file);
	if (!read_attributes(a, from)) {
		a->checks = CONVERT_UNREAD;
		a->address = from;
	}
	begin_access(a, OP_CONVERT, HOOK_CONVERT);
}

/*
 * kvm_range_has_memory_attributes(kvm, start, end, mask, attributes), the first
 * one inside of that ioctl (virt/kvm/kvm_main.c:kvm_vm_set_mem_attributes, which
 * is inlined): the range as KVM has it in hand. kvm->slots_lock is held, so one
 * VM's are told in the order in which they take effect. Others have a smaller
 * mask, or come behind (arch/x86/kvm/mmu/mmu.c).
 */
INLINE void note_converted(u64 kvm, u64 start, u64 end, u64 mask, u64 attributes)
{
	struct access_key key = { .pid_tgid = bpf_get_current_pid_tgid(), .hook = HOOK_CONVERT };
	struct access *a;
	struct vm *vm;

	if (mask != ~0ULL)
		return;
	a = accesses.lookup(&key);
	if (!a || a->checks == CONVERT_TAKEN)
		return;
	a->checks = CONVERT_TAKEN;
	a->offset = start << PAGE_SHIFT;
	a->length = (end - start) << PAGE_SHIFT;
	a->arg = attributes;
	a->address = bpf_ktime_get_boot_ns();
	vm = vms.lookup(&kvm);
	if (vm)
		a->slot = ++vm->converted;
}

/*
 * kvm_gmem_set_attributes(file, argument), on the list and in no release: the
 * file itself is converted. What is told of it is the caller's word.
 */
INLINE void begin_convert_file(struct access *a, u64 file, u64 from)
{
	read_attributes(a, from);
	begin_by_file(a, file, a->offset, a->length, OP_CONVERT, HOOK_CONVERT);
}

INLINE void finish_convert(struct access *a)
{
	u64 from = a->address;

	if (a->checks == CONVERT_TAKEN)
		return;
	a->address = 0;
	if (a->checks == CONVERT_UNREAD)
		read_attributes(a, from);
	a->checks = 0;
}

/* ---- SEV's debug commands ---------------------------------------------------------------- */

#define KVM_MEMORY_ENCRYPT_OP 0xc008aebaU
#define SEV_DBG_DECRYPT 18
#define SEV_DBG_ENCRYPT 19

/*
 * kvm_vm_ioctl(file, KVM_MEMORY_ENCRYPT_OP, struct kvm_sev_cmd *), whichever
 * command: what the caller's memory says now may be another one when KVM reads it.
 */
INLINE void begin_encrypt_op(struct access *a, u64 file, u64 from)
{
	u32 command = 0;

	set_vm_of(a, file);
	bpf_probe_read_user(&command, sizeof(command), (void *)from);
	a->arg = command;
	begin_access(a, OP_SEV_DEBUG, HOOK_CONVERT);
}

INLINE struct access *my_sev_debug(void)
{
	struct access_key key = { .pid_tgid = bpf_get_current_pid_tgid(), .hook = HOOK_CONVERT };
	struct access *a = accesses.lookup(&key);

	return a && a->op == OP_SEV_DEBUG ? a : NULL;
}

/* sev_dbg_crypt(kvm, command, …): begun, with KVM's own copy of the command. */
INLINE void begin_sev_debug(u64 command)
{
	struct access *a = my_sev_debug();

	if (!a)
		return;
	a->arg = read_u32(command);
	a->taken = SEV_TAKEN;
}

/*
 * sev_pin_page in 7.3, sev_pin_memory in 6.12: KVM asks for the source and for the
 * destination of the next piece, in turn, which lies within one page of each.
 * The guest's is the one that a decryption reads, and an encryption writes.
 * Whatever was asked for before is done: a piece that fails is the last one.
 */
INLINE void note_sev_piece(u64 address, u32 flags)
{
	struct access *a = my_sev_debug();
	u64 length;

	if (!a || !(a->taken & SEV_TAKEN) ||
	    !(flags & FOLL_WRITE) != (a->arg == SEV_DBG_DECRYPT))
		return;
	if (!a->slot)
		a->address = address;
	length = address + (1 << PAGE_SHIFT) - a->address;
	a->taken = length > a->length ? SEV_TAKEN | SEV_NEW_PAGE : SEV_TAKEN;
	a->length = length;
	a->slot++;
	if (!a->inode) {
		struct found found = memory_in(my_mm(), address, 1 << PAGE_SHIFT, 0);

		a->inode = found.inode;
		a->kind = found.kind;
		a->offset = found.offset;
	}
}

/* The answer of sev_dbg_crypt itself: behind it the ioctl can still fail. */
INLINE void finish_sev_debug(s64 answer)
{
	struct access *a = my_sev_debug();

	if (!a || !is_error(answer) || a->slot <= 0)
		return;
	a->slot--;
	if (a->slot && (a->taken & SEV_NEW_PAGE))
		a->length -= 1 << PAGE_SHIFT;
}

/* Of a command that KVM did not take there is the caller's word alone, and no range. */
INLINE void finish_encrypt_op(struct access *a, s64 answer)
{
	if (a->taken & SEV_TAKEN)
		return;
	if (a->arg != SEV_DBG_DECRYPT && a->arg != SEV_DBG_ENCRYPT)
		a->op = 0;
	if (!is_error(answer))
		a->checks = 1;
}

/* A page is asked for through a mapping; the answer is VM_FAULT_* bits. */
INLINE void begin_fault(struct access *a, u64 vmf)
{
	u64 vma = read_u64(vmf + OFF_VMF_VMA);

	a->inode = file_inode(read_u64(vma + OFF_VMA_FILE), 0);
	a->kind = inode_kind(a->inode, 0);
	if (!a->kind)
		return;
	a->mm = mm_number(read_u64(vma + OFF_VMA_MM), 0);
	a->address = read_u64(vmf + OFF_VMF_ADDRESS);
	a->offset = read_u64(vmf + OFF_VMF_PGOFF) << PAGE_SHIFT;
	a->length = 1 << PAGE_SHIFT;
	a->arg = read_u32(vmf + OFF_VMF_FLAGS);
	begin_access(a, OP_FAULT, HOOK_FAULT);
}

/* What a way's entry found out, put in flight where a memory file is, or may be, in the range. */
INLINE void begin_by_address(struct access *a, struct asked *asked)
{
	int is_slot = asked->op == OP_MEMSLOT;
	struct found found = {};

	if (!asked->op)
		return;
	if (asked->length)
		found = memory_in(asked->mm, asked->address, asked->length, is_slot);
	if (found.inode) {
		a->inode = found.inode;
		a->kind = found.kind;
		a->offset = found.offset;
	}
	if (!is_slot) {
		if (!found.inode && !found.too_many)
			return;
		a->checks = found.too_many;
		a->mm = mm_number(asked->mm, 0);
		a->address = asked->address;
		a->length = asked->length;
		a->arg = asked->arg;
	}
	begin_access(a, asked->op, asked->hook);
}

/* memfd_secret(flags), and the ioctl KVM_CREATE_GUEST_MEMFD. */
INLINE void finish_guest_create(u64 way, s64 answer, u64 sp)
{
	u64 task = current_task(), me;
	struct slot *s = my_slot(&me);
	struct made made = take_made(me, s, sp);
	struct user_regs regs = {};
	int compat = is_compat(task), secret = way == WAY_SECRET_CREATE;
	u64 flags = made.arg;

	user_regs(task, &regs);
	if (secret) /* an unsigned int */
		flags = (u32)(compat ? regs.bx : regs.di);
	tell_create(&made, answer, flags, compat ? 0xffff : regs.orig_ax, compat ? FLAG_COMPAT : 0,
		    0, secret ? KIND_SECRETMEM : KIND_GUEST_MEMFD);
}

/*
 * Whether anybody maps a file now, read from the inode itself. Not hooked
 * anywhere: the recorder runs it (BPF_PROG_TEST_RUN) with a descriptor of its
 * own, or with the inode of an object that it knows and that still lives.
 */
INLINE void tell_mapped(u64 fd, u64 inode, u32 flags)
{
	struct counts *n = my_counts();
	struct object o = {};
	struct record *r;
	u32 seals;
	u8 kind;

	if (inode) {
		struct object *known = objects.lookup(&inode);

		if (!known || known->ino != read_u64(inode + OFF_INODE_INO))
			return;
	} else {
		inode = file_inode(task_file(fd), 0);
	}
	kind = inode ? inode_kind(inode, 0) : KIND_UNKNOWN;
	seals = inode_seals(inode, kind);
	if (!n || !kind || !is_sealable(seals) || !seals_wanted(seals))
		return;
	if (!get_object(n, inode, read_u64(inode + OFF_INODE_INO), kind, OP_MAPPED, HOOK_NONE, seals,
			NULL, &o))
		return;
	r = plain_event(n, bpf_get_current_pid_tgid(), &o, OP_MAPPED, HOOK_NONE);
	if (!r)
		return;
	r->head.type = TYPE_BASELINE;
	r->head.flags = flags;
	r->head.seals = seals;
	r->event.seals_after = seals;
	r->event.size = inode_size(inode, 0);
	r->event.size_after = r->event.size;
	r->event.answer = read_u64(inode + OFF_INODE_DATA + OFF_MAPPING_TREE) != 0;
	r->event.writable = read_u32(inode + OFF_INODE_DATA + OFF_MAPPING_WRITABLE);
	r->event.mode = read_u16(inode + OFF_INODE_MODE);
	submit(r);
}
