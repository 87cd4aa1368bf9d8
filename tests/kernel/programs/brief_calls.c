/*
 * COUNT programs, one after the other, of some 5 ms: each makes a memory file,
 * seals it, is refused one write, and is gone. Prints how many were refused.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#endif

static volatile int sink;

__attribute__((noinline)) int brief_call(int fd)
{
	int got = pwrite(fd, "x", 1, 0) == -1 && errno == EPERM;

	sink++;
	return got;
}

__attribute__((noinline)) int brief_work(void)
{
	int fd = memfd_create("brief", MFD_ALLOW_SEALING), got;

	if (fd < 0 || ftruncate(fd, 4096) || fcntl(fd, F_ADD_SEALS, 0xf))
		return 0;
	got = brief_call(fd);
	sink++;
	return got;
}

int main(int argc, char **argv)
{
	static char *none[] = { NULL };
	char *again[] = { argv[0], NULL };
	struct timespec rest = { .tv_nsec = 4000000 };
	int refused = 0, status, got;
	pid_t child;

	if (argc < 2) {
		got = brief_work();
		nanosleep(&rest, NULL);
		return !got;
	}
	for (int i = atoi(argv[1]); i > 0; i--)
		if (!posix_spawn(&child, argv[0], NULL, NULL, again, none) &&
		    waitpid(child, &status, 0) == child && !status)
			refused++;
	printf("%d\n", refused);
	return 0;
}
