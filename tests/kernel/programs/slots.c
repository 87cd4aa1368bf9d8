/*
 * Processes whose thread ids share their last 14 bits, so that they compete for one slot of the
 * calls in flight (bpf/state.h): slots FIRST. FIRST, FIRST + 16384 and FIRST + 32768 write at the
 * same time, then another FIRST while the others live on, then FIRST + 16384 alone. Prints how
 * many writes each process id made and how many were refused, as one JSON line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define APART 16384
#define ROUNDS 127

static void check(int good, const char *what)
{
	if (!good) {
		perror(what);
		exit(1);
	}
}

static void write_once(int fd, long must)
{
	long answer = write(fd, "12345678", 8);

	check((answer < 0 ? -errno : answer) == must, "write");
}

/* One write to have a slot; the rest at the byte in go; then it ends at the byte in stay. */
static void work(int ready, int go, int stay)
{
	int open = memfd_create("slots-open", MFD_ALLOW_SEALING);
	int sealed = memfd_create("slots-sealed", MFD_ALLOW_SEALING);
	char byte;

	check(open >= 0 && sealed >= 0, "memfd_create");
	check(!fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), "F_ADD_SEALS");
	write_once(open, 8);
	check(write(ready, "x", 1) == 1, "ready");
	check(read(go, &byte, 1) == 1, "go");
	for (int i = 1; i < ROUNDS; i++) {
		write_once(open, 8);
		write_once(sealed, -EPERM);
	}
	check(write(ready, "x", 1) == 1, "done");
	check(read(stay, &byte, 1) == 1, "stay");
	exit(0);
}

struct worker {
	pid_t pid;
	int ready, go, stay;
};

static struct worker start(pid_t tid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uint64_t)(uintptr_t)&tid,
		.set_tid_size = 1,
	};
	struct worker one;
	int ready[2], go[2], stay[2];
	char byte;

	check(!pipe(ready) && !pipe(go) && !pipe(stay), "pipe");
	one.pid = syscall(SYS_clone3, &args, sizeof(args));
	check(one.pid >= 0, "clone3");
	if (!one.pid) {
		work(ready[1], go[0], stay[0]);
	}
	one.ready = ready[0];
	one.go = go[1];
	one.stay = stay[1];
	check(read(one.ready, &byte, 1) == 1, "ready");
	return one;
}

static void let_go(struct worker *one)
{
	check(write(one->go, "x", 1) == 1, "go");
}

static void wait_done(struct worker *one)
{
	char byte;

	check(read(one->ready, &byte, 1) == 1, "done");
}

static void end(struct worker *one)
{
	int status;

	check(write(one->stay, "x", 1) == 1, "stay");
	check(waitpid(one->pid, &status, 0) == one->pid && !status, "worker");
}

int main(int argc, char **argv)
{
	pid_t first = argc == 2 ? atoi(argv[1]) : 0;
	struct worker some[3], again;

	if (first <= 0)
		return 2;
	for (int i = 0; i < 3; i++)
		some[i] = start(first + i * APART);
	for (int i = 0; i < 3; i++)
		let_go(&some[i]);
	for (int i = 0; i < 3; i++)
		wait_done(&some[i]);
	end(&some[0]);
	again = start(first);
	let_go(&again);
	wait_done(&again);
	for (int i = 1; i < 3; i++)
		end(&some[i]);
	end(&again);
	again = start(first + APART);
	let_go(&again);
	wait_done(&again);
	end(&again);
	printf("{");
	for (int i = 0; i < 3; i++) {
		int times = i < 2 ? 2 : 1;

		printf("%s\"%d\": [%d, %d]", i ? ", " : "", first + i * APART, times * ROUNDS,
		       times * (ROUNDS - 1));
	}
	printf("}\n");
	return 0;
}
