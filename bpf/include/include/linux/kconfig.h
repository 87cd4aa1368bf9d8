/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* bcc's prelude refuses to compile without it. */
#define CONFIG_BPF_SYSCALL 1
