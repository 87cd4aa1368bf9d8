/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* bcc carries the kernel's own header inside its library. */
#include <bcc/bpf.h>
