/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * bcc's prelude wants a number. Kernels since 5.0 do not look at the one that
 * a program carries (commit 6c4fc209fcf9), and no code of ours asks for it.
 */
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 10, 0)
