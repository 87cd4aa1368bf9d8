"""The numbers of the format: magic, kinds of types, how many words each takes, and bounds.

Sources: ``include/uapi/linux/btf.h`` and ``kernel/bpf/btf.c`` of the kernel tree.
"""

import struct

MAGIC = 0xEB9F
MAGIC_SWAPPED = 0x9FEB
POINTER_BYTES = 8

HEADER = struct.Struct("<HBBIIIII")
# vmlinux BTF is 5 to 8 MB; the bound only keeps a wrong path (a disk, /dev/zero) from eating memory
MAX_FILE_BYTES = 512 << 20
# The kernel itself gives up at 32 (MAX_RESOLVE_DEPTH in kernel/bpf/btf.c)
MAX_CHAIN = 64
# KSYM_NAME_LEN of include/linux/kallsyms.h: the kernel refuses BTF with longer names
MAX_NAME_BYTES = 512
# Only broken files reach these two. They keep the work of one lookup bounded.
MAX_PARAMS = 64
MAX_NAMESAKES = 64


# BTF_KIND_* of include/uapi/linux/btf.h. Plain ints, as the walk over all types is the hot loop
# and an enum member costs several times a constant there. Kinds 14, 15 and 17 (VAR, DATASEC,
# DECL_TAG) are only stepped over.
INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = 1, 2, 3, 4, 5, 6, 7, 8
VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO = 9, 10, 11, 12, 13
FLOAT, TYPE_TAG, ENUM64 = 16, 18, 19

KIND_COUNT = 20
# Words a type takes: fixed part (the three common words included) and words per vlen item.
# 0 marks a kind that may not occur.
FIXED_WORDS = (0, 4, 3, 6, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3, 4, 3, 3)
ITEM_WORDS = (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3)

MODIFIERS = frozenset((VOLATILE, CONST, RESTRICT, TYPE_TAG))
TRANSPARENT = MODIFIERS | {TYPEDEF}
QUALIFIER_TEXT = {CONST: "const", VOLATILE: "volatile", RESTRICT: "restrict"}
TAGGED_TEXT = {STRUCT: "struct", UNION: "union", ENUM: "enum", ENUM64: "enum"}
# name lookups keep these apart, as C does ("struct x" and "enum x" share a space in C, but a
# caller says which one it wants)
SPACE_OF_KIND = {
    FUNC: "func",
    STRUCT: "struct",
    UNION: "union",
    ENUM: "enum",
    ENUM64: "enum",
    TYPEDEF: "typedef",
    INT: "base",
    FLOAT: "base",
}
SPACES = ("func", "struct", "union", "enum", "typedef", "base")
