/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef _LINUX_PTRACE_H
#define _LINUX_PTRACE_H
/* x86-64, arch/x86/include/asm/ptrace.h: what a kprobe's context is. */
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8;
	unsigned long ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
#endif
