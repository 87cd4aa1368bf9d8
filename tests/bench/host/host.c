/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host does all day, none of it with a memory file: host LOAD COUNT FILE
 * does it COUNT times and prints nanoseconds for each.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096L
#define PAGES 64

static int ends[2], file;
static const char *ordinary;

static void need(int holds, const char *what)
{
	if (holds)
		return;
	perror(what);
	exit(1);
}

static void fork_exec(void)
{
	int status;
	pid_t child = fork();

	need(child >= 0, "fork");
	if (!child) {
		execl("/proc/self/exe", "host", NULL);
		_exit(1);
	}
	need(waitpid(child, &status, 0) == child && !status, "exec");
}

static void open_close(void)
{
	int fd = open(ordinary, O_RDONLY | O_CLOEXEC);

	need(fd >= 0 && !close(fd), "open");
}

static void map_file(void)
{
	void *at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);

	need(at != MAP_FAILED && !munmap(at, PAGE), "mmap");
}

static void fault(void)
{
	static char *at;
	static int page = PAGES;

	if (page == PAGES) {
		if (at)
			munmap(at, PAGES * PAGE);
		at = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		need(at != MAP_FAILED, "mmap");
		madvise(at, PAGES * PAGE, MADV_NOHUGEPAGE);
		page = 0;
	}
	at[page++ * PAGE] = 1;
}

static void exchange(void)
{
	char text[8] = "";

	need(write(ends[1], text, 8) == 8 && read(ends[0], text, 8) == 8, "write and read");
}

static const struct {
	const char *name;
	void (*once)(void);
} loads[] = {
	{ "fork+exec+exit", fork_exec },
	{ "open+close", open_close },
	{ "mmap+munmap", map_file },
	{ "page fault", fault },
	{ "pipe", exchange },
	{ "socket", exchange },
};

int main(int argc, char **argv)
{
	struct timespec a, b;
	void (*once)(void) = NULL;
	long count;

	if (argc < 2) /* what fork_exec executes */
		return 0;
	need(argc == 4, "host LOAD COUNT FILE");
	count = atol(argv[2]);
	ordinary = argv[3];
	for (unsigned i = 0; i < sizeof(loads) / sizeof(*loads); i++)
		if (!strcmp(loads[i].name, argv[1]))
			once = loads[i].once;
	need(once != NULL, argv[1]);
	file = open(ordinary, O_RDONLY);
	need(file >= 0, ordinary);
	if (!strcmp(argv[1], "socket"))
		need(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
	else
		need(!pipe(ends), "pipe");
	for (long i = 0; i < count / 10; i++) /* warm up */
		once();
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (long i = 0; i < count; i++)
		once();
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%.1f\n", ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / count);
	return 0;
}
