/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * sealsnoop's BPF programs: one source for every kernel and both methods.
 *
 * bcc rewrites map operations only in its main file, so tracer/capture/bpf_source.py
 * puts the text of these includes in place before it hands the source over.
 */
#include <uapi/linux/ptrace.h>
#include "record.h"
#include "kernel.h"
#include "task.h"
#include "state.h"
#include "emit.h"
#include "objects.h"
#include "cgroups.h"
#include "stacks.h"
#include "tasks.h"
#include "calls.h"
#include "vma.h"
#include "hooks.h"
#include "exec.h"
#include "programs.h"
#if AUDIT
#include "access.h"
#include "guest.h"
#include "ways.h"
#include "passing.h"
#include "audit_programs.h"
#endif
