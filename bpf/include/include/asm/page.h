/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* bcc's ring buffer macro counts in pages; x86-64 has but one base size. */
#define PAGE_SIZE 4096
