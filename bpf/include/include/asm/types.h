/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* bcc's prelude asks for this header; nothing of it is used. */
