/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which memory file lies at an address of any process: a walk of the tree of
 * its mappings without its lock. A tree that changes meanwhile can at worst
 * show what was mapped a moment ago, or nothing. It is a maple tree since 6.1
 * (lib/maple_tree.c:mtree_range_walk), before it was a red-black tree
 * (mm/mmap.c:find_vma).
 */
#define RB_DEPTH 48		/* twice the levels of 65,530 mappings, with room */
#define RB_RIGHT 8		/* struct rb_node: include/linux/rbtree.h */
#define RB_LEFT 16
#define MAPLE_DEPTH 6		/* of 10 branches or more each: beyond any number of mappings */
#define MAPLE_NODE_MASK 255ULL
#define MAPLE_TYPE_SHIFT 3
#define MAPLE_TYPE_MASK 15
#define RANGE_PIVOTS 15		/* MAPLE_RANGE64_SLOTS - 1, include/linux/maple_tree.h */
#define ARANGE_PIVOTS 9
#define MAX_VMAS 8		/* mappings of one range that are looked at */

/* The vma at an address, 0: none. */
INLINE u64 vma_at(u64 mm, u64 address)
{
#if HAVE_MAPLE_TREE
	u64 entry = read_u64(mm + OFF_MM_TREE_ROOT);

	/* xa_is_node: with no mapping, or only one at address 0, there is no node. */
	if ((entry & 3) != 2 || entry <= 4096)
		return 0;
#pragma clang loop unroll(disable)
	for (int depth = 0; depth < MAPLE_DEPTH; depth++) {
		u64 node = entry & ~MAPLE_NODE_MASK, type = entry >> MAPLE_TYPE_SHIFT & MAPLE_TYPE_MASK;
		u64 pivots = node + OFF_RANGE_PIVOT, slots = node + OFF_RANGE_SLOT;
		u64 count = RANGE_PIVOTS, place = 0;

		if (type == MAPLE_ARANGE) {
			pivots = node + OFF_ARANGE_PIVOT;
			slots = node + OFF_ARANGE_SLOT;
			count = ARANGE_PIVOTS;
		}
#pragma clang loop unroll(disable)
		for (int i = 0; i < RANGE_PIVOTS; i++) {
			u64 pivot;

			if (i >= count)
				break;
			pivot = read_u64(pivots + i * 8);
			/* A pivot of 0 behind the first one: the slot before the end. */
			if (pivot >= address || (i && !pivot))
				break;
			place += 8;
		}
		entry = read_u64(slots + place);
		if (!entry)
			return 0;
		if (type == MAPLE_LEAF)
			return read_u64(entry + OFF_VMA_START) <= address &&
			       read_u64(entry + OFF_VMA_END) > address ? entry : 0;
	}
#else
	u64 node = read_u64(mm + OFF_MM_RB);

#pragma clang loop unroll(disable)
	for (int depth = 0; depth < RB_DEPTH && node; depth++) {
		u64 vma = node - OFF_VMA_RB;

		if (read_u64(vma + OFF_VMA_END) <= address)
			node = read_u64(node + RB_RIGHT);
		else if (read_u64(vma + OFF_VMA_START) > address)
			node = read_u64(node + RB_LEFT);
		else
			return vma;
	}
#endif
	return 0;
}

#if AUDIT
struct found {
	u64 inode;		/* 0: no memory file there */
	s64 offset;		/* where the range, or the file's own part of it, stands in the file */
	u8 kind;
	u8 too_many;		/* more mappings than were looked at */
};

/*
 * The first memory file in a range. Behind a gap nothing is looked at: the
 * kernel's own walks end there too.
 */
INLINE struct found memory_in(u64 mm, u64 address, u64 length, int also_unsealable)
{
	struct found found = {};
	u64 at = address, end = address + length;

#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_VMAS; i++) {
		u64 vma = vma_at(mm, at), file, inode;
		u8 kind;

		if (!vma)
			return found;
		file = read_u64(vma + OFF_VMA_FILE);
		inode = file ? file_inode(file, 0) : 0;
		kind = inode ? inode_kind(inode, 0) : KIND_UNKNOWN;
		if (kind && (also_unsealable || is_sealable(inode_seals(inode, kind)))) {
			found.inode = inode;
			found.kind = kind;
			found.offset = (read_u64(vma + OFF_VMA_PGOFF) << 12) + at -
				       read_u64(vma + OFF_VMA_START);
			return found;
		}
		at = read_u64(vma + OFF_VMA_END);
		if (at >= end)
			return found;
	}
	found.too_many = 1;
	return found;
}
#endif
