/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Objects: each memory file is announced once, with its name, before its first event. */

#define NAME_MAX 255
#define NAME_PART 172
#define NAME_PARTS 2
#define MEMFD_PREFIX 6		/* "memfd:", as a dentry's name has it, and so many bytes of a u64 */

struct name {
	u64 text;		/* kernel address */
	u32 length;
	u8 is_memfd;
};

/*
 * The name by the inode's first dentry. A memfd's dentry has no parent but
 * itself and its name begins with "memfd:" (mm/memfd.c); a file in a tmpfs
 * that is called the same has a parent.
 */
INLINE struct name object_name(u64 inode)
{
	struct name name = {};
	u64 start = 0;
	u64 alias = read_u64(inode + OFF_INODE_DENTRY);
	u64 dentry = alias - OFF_DENTRY_ALIAS;

	if (!alias)
		return name;
	name.text = read_u64(dentry + OFF_DENTRY_NAME);
	name.length = read_u32(dentry + OFF_DENTRY_NAME_LEN);
	if (name.length > NAME_MAX)
		name.length = NAME_MAX;
	if (read_u64(dentry + OFF_DENTRY_PARENT) != dentry)
		return name;
	bpf_probe_read_kernel(&start, MEMFD_PREFIX, (void *)name.text);
	name.is_memfd = start == 0x3a64666d656dULL;
	return name;
}

#if FILTER_NAME
/* Half a stack: callers have no room for it. */
struct name_text {
	char text[256];
};

BPF_PERCPU_ARRAY(name_texts, struct name_text, 1);

/* The prefix stands in the settings as bytes; a memfd's "memfd:" is not part of its name. */
INLINE int name_wanted(struct name *name)
{
	struct config *c = my_config();
	int zero = 0;
	struct name_text *have = name_texts.lookup(&zero);
	u64 text = name->is_memfd ? name->text + 6 : name->text;
	u32 length = name->is_memfd ? name->length - 6 : name->length;
	u64 want, differs = 0;

	if (!c || !have)
		return 0;
	want = c->name_len;
	if (want > 255 || length < want)
		return 0;
	asm volatile("" : "+r"(want));
	want &= 255;
	bpf_probe_read_kernel(have->text, want, (void *)text);
	/* To the end always: the verifier would go on from each place where it may stop. */
#pragma clang loop unroll(disable)
	for (u64 i = 0; i < 255; i++) {
		u64 within = (i - want) >> 63;

		within = -within;
		asm volatile("" : "+r"(within));
		differs |= (u8)(have->text[i] ^ c->name[i]) & within;
		asm volatile("" : "+r"(differs), "+r"(i));
	}
	return !differs;
}
#endif

INLINE void send_name(struct counts *n, struct object *o, struct name *name, u64 now, u8 hook)
{
#pragma clang loop unroll(disable)
	for (u32 part = 0; part < NAME_PARTS; part++) {
		u64 start = part * NAME_PART, length;
		struct record *r;

		if (start >= name->length)
			return;
		length = name->length - start;
		if (length > NAME_PART)
			length = NAME_PART;
		r = new_record(n, TYPE_NAME, hook);
		if (!r)
			return;
		r->head.time_ns = now;
		r->head.op = 0;
		r->head.nr = 0xffff;
		r->head.flags = 0;
		r->head.seals = 0;
		set_key(r, o);
		r->name.part = part;
		r->name.length = length;
		/* Said again where the verifier sees it: clang drops what it can prove. */
		asm volatile("" : "+r"(length));
		length &= 255;
		if (length > NAME_PART)
			length = NAME_PART;
		if (bpf_probe_read_kernel(r->name.text, length, (void *)(name->text + start))) {
			r->name.length = 0;
			count_loss(n, LOSS_NAME, hook);
		}
		submit(r);
	}
}

INLINE int send_object(struct counts *n, struct object *o, struct name *name, u64 inode, u8 op, u8 hook,
		       u32 seals, u32 *create_flags)
{
	u64 now = bpf_ktime_get_boot_ns();
	struct record *r = new_record(n, TYPE_OBJECT, hook);

	if (!r)
		return 0;
	r->head.time_ns = now;
	r->head.op = op;
	r->head.nr = 0xffff;
	r->head.flags = 0;
	r->head.seals = seals;
	set_key(r, o);
	/* The same fields at the same places as an event's: bpf/record.h. */
	set_task(r, current_task(), bpf_get_current_pid_tgid());
	r->object.owner_uid = read_u32(inode + OFF_INODE_UID);
	r->object.owner_gid = read_u32(inode + OFF_INODE_GID);
	r->object.size = inode_size(inode, 0);
	r->object.mapping_flags = read_u64(inode + OFF_INODE_DATA + OFF_MAPPING_FLAGS);
	r->object.mode = read_u16(inode + OFF_INODE_MODE);
	r->object.name_len = name->length;
	r->object.create_flags_known = create_flags != NULL;
	r->object.create_flags = create_flags ? *create_flags : 0;
	submit(r);
	send_name(n, o, name, now, hook);
	return 1;
}

/*
 * The name that a memfd_create asked for which failed: no inode has it, so it
 * is announced under an object of no number, and a generation that tells such
 * calls apart. It is read from user memory, after the kernel did so: what
 * stands there is the caller's word and is evidence for nothing.
 */

INLINE void send_requested_name(struct counts *n, struct object *o, u64 text, u32 *create_flags,
				u8 hook)
{
	u64 now = bpf_ktime_get_boot_ns();
	struct record *object, *r;
	u32 length = 0, room, start;
	u8 first;
	long got;

	if (bpf_probe_read_user(&first, 1, (void *)text))
		return;
	o->gen = n->seq * CPUS + n->cpu + 1;
	object = new_record(n, TYPE_OBJECT, hook);
	if (!object)
		return;
	object->head.time_ns = now;
	object->head.op = OP_CREATE;
	object->head.nr = 0xffff;
	object->head.flags = 0;
	object->head.seals = 0;
	set_key(object, o);
	set_task(object, current_task(), bpf_get_current_pid_tgid());
	object->object.owner_uid = object->object.owner_gid = ~0U;
	object->object.size = 0;
	object->object.mapping_flags = ~0ULL;
	object->object.mode = 0;
	object->object.create_flags_known = 1;
	object->object.create_flags = *create_flags;
#pragma clang loop unroll(full)
	for (u32 part = 0; part < NAME_PARTS; part++) {
		r = new_record(n, TYPE_NAME, hook);
		if (!r)
			break;
		r->head.time_ns = now;
		r->head.op = 0;
		r->head.nr = 0xffff;
		r->head.flags = 0;
		r->head.seals = 0;
		set_key(r, o);
		start = part ? 0 : MEMFD_PREFIX;
		if (!part)
			__builtin_memcpy(r->name.text, "memfd:", MEMFD_PREFIX);
		room = NAME_PART - start;
		got = bpf_probe_read_user_str(r->name.text + start, room, (void *)text);
		r->name.part = part;
		r->name.length = start + (got > 0 ? got - 1 : 0);
		length += r->name.length;
		text += room - 1;
		submit(r);
		if (got != room)
			break;
	}
	object->object.name_len = length;
	submit(object);
}

/* The object behind an inode of which nothing is known yet. */
INLINE void fill_object(struct object *o, u64 inode, u64 ino, u8 kind, int is_memfd)
{
	o->ino = ino;
	o->dev = read_u32(read_u64(inode + OFF_INODE_SB) + OFF_SB_DEV);
	o->gen = read_u32(inode + OFF_INODE_GEN);
	o->kind = kind == KIND_TMPFS && is_memfd ? KIND_MEMFD : kind;
	o->announced = 0;
	o->unwanted = 0;
	o->followed = 0;
}

/* Of --file only files that the recorder has named. */
INLINE int is_of_others(struct object *o, u64 ino)
{
#if FILTER_FILE
	struct config *c = my_config();

	return !(o && o->ino == ino && o->followed) &&
	       !(c && c->test_tgid == bpf_get_current_pid_tgid() >> 32);
#else
	return 0;
#endif
}

/*
 * From now on the file is followed, if it is not: a followed task had to do
 * with it, though nothing of that was recorded (or else get_object did it).
 */
INLINE void follow_file(struct counts *n, u64 inode, u64 ino, u8 kind, u8 hook)
{
#if FOLLOW_FILES
	struct object *known = objects.lookup(&inode), o = {};

	if (known && known->ino == ino && known->gen == read_u32(inode + OFF_INODE_GEN))
		return;
	fill_object(&o, inode, ino, kind, object_name(inode).is_memfd);
	o.followed = 1;
	if (objects.update(&inode, &o))
		count_loss(n, LOSS_FILES_FULL, hook);
#endif
}

/*
 * The object behind an inode, copied to *out and announced if it was not.
 * False: the name filter turned it away. The inode number guards against an
 * entry whose eviction was missed. A full table costs announcements over and
 * over, and is counted, but loses no event.
 */
INLINE int get_object(struct counts *n, u64 inode, u64 ino, u8 kind, u8 op, u8 hook, u32 seals,
		      u32 *create_flags, struct object *out)
{
	struct object *o = objects.lookup(&inode);

	if (o && o->ino == ino && (o->announced || o->unwanted)) {
		*out = *o;
		return !o->unwanted;
	}
	if (is_of_others(o, ino))
		return 0;

	struct name name = object_name(inode);
	u8 followed = FOLLOW_FILES || (FILTER_FILE && o && o->ino == ino && o->followed);

	fill_object(out, inode, ino, kind, name.is_memfd);
	out->followed = followed;
#if FILTER_NAME
	out->unwanted = !name_wanted(&name);
#endif
	out->announced = out->unwanted ? 0 :
		send_object(n, out, &name, inode, op, hook, seals, create_flags);
	if (objects.update(&inode, out))
		count_loss(n, FOLLOW_FILES ? LOSS_FILES_FULL : LOSS_OBJECTS_FULL, hook);
	return !out->unwanted;
}

/*
 * As get_object, where there is no room to announce anything (the verifier
 * walks a loop anew each time): the next hook that sees the file does.
 */
INLINE int look_at_object(u64 inode, u64 ino, u8 kind, struct object *out)
{
	struct object *o = objects.lookup(&inode);

	if (o && o->ino == ino && (o->announced || o->unwanted)) {
		*out = *o;
		return !o->unwanted;
	}
#if FILTER_NAME
	return 0;
#else
	if (is_of_others(o, ino))
		return 0;
	fill_object(out, inode, ino, kind, object_name(inode).is_memfd);
	return 1;
#endif
}
