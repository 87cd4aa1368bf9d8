/*
 * What F_SEAL_INACCESSIBLE of tests/vm/inaccessible must refuse, by the calls' own errno.
 *
 *   inaccessible calls        every call once, one JSON line each: op, answer (or -errno), what it
 *                             must be, and whether a seal is behind it
 *   inaccessible guest [map]  a file as a VMM would make it; "map" tries to map it; then waits for
 *                             the end of its standard input
 *   inaccessible race N       N files, each sealed by one thread while another reads and maps it;
 *                             prints how often each call was made and how it ended
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096
#define SEAL_INACCESSIBLE 0x20
#define MFD_INACCESSIBLE 0x8

static int failed;

static void call(const char *op, long answer, long must)
{
	long got = answer == -1 ? -errno : answer;

	printf("{\"op\": \"%s\", \"answer\": %ld, \"must\": %ld}\n", op, got, must);
	failed |= got != must;
}

static int make(unsigned int flags)
{
	int fd = memfd_create("inaccessible", flags);

	printf("{\"op\": \"create\", \"answer\": %d, \"must\": %d}\n", fd < 0 ? -errno : 0, 0);
	if (fd < 0)
		exit(1);
	return fd;
}

static void refused(int fd)
{
	char page[16] = "";

	/* The size is set once, in whole pages. */
	call("truncate", ftruncate(fd, 100), -EINVAL);
	call("truncate", ftruncate(fd, 4 * PAGE), 0);
	call("truncate", ftruncate(fd, 4 * PAGE), -EPERM);
	call("truncate", ftruncate(fd, 8 * PAGE), -EPERM);
	call("truncate", ftruncate(fd, 0), -EPERM);
	call("truncate", ftruncate(fd, 100), -EPERM);
	call("mmap", (long)mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), -EPERM);
	call("mmap", (long)mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, 0), -EPERM);
	call("mmap", (long)mmap(0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), -EPERM);
	call("write", pwrite(fd, page, sizeof(page), 0), -EPERM);
	call("write", pwrite(fd, page, sizeof(page), 2 * PAGE + 5), -EPERM);
	call("read", pread(fd, page, sizeof(page), 0), -EPERM);
	call("read", pread(fd, page, sizeof(page), 4 * PAGE - 1), -EPERM);
	call("read", pread(fd, page, sizeof(page), 4 * PAGE), 0);
	call("allocate", fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, PAGE), 0);
	call("punch_hole", fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, PAGE, PAGE), 0);
	call("punch_hole", fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 1, PAGE),
	     -EINVAL);
	call("punch_hole", fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, PAGE, 7),
	     -EINVAL);
}

static int calls(void)
{
	int born = make(MFD_INACCESSIBLE), fd, used;

	call("add_seals", fcntl(born, F_ADD_SEALS, F_SEAL_GROW), -EPERM);
	refused(born);

	fd = make(MFD_ALLOW_SEALING);
	call("add_seals", fcntl(fd, F_ADD_SEALS, SEAL_INACCESSIBLE), 0);
	call("add_seals", fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	refused(fd);

	used = make(MFD_ALLOW_SEALING);
	call("truncate", ftruncate(used, PAGE), 0);
	call("add_seals", fcntl(used, F_ADD_SEALS, SEAL_INACCESSIBLE), -EINVAL);
	call("write", pwrite(used, "x", 1, 0), 1);

	call("create", memfd_create("both", MFD_INACCESSIBLE | MFD_ALLOW_SEALING), -EINVAL);
	return failed;
}

static int guest(int map)
{
	int fd = memfd_create("inaccessible", MFD_INACCESSIBLE);

	if (fd < 0 || ftruncate(fd, 16 * PAGE))
		return 1;
	if (map) {
		void *at = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		if (at == MAP_FAILED)
			perror("mmap");
		else
			strcpy(at, "seen by the host");
	}
	while (getchar() != EOF)
		;
	return 0;
}

enum op { MMAP, READ, TRUNCATE, ADD_SEALS, OPS };
static const char *const names[OPS] = { "mmap", "read", "truncate", "add_seals" };
static unsigned long counts[OPS][2]; /* succeeded, EPERM */
static pthread_barrier_t barrier;
static atomic_int go;
static int file, rounds;

static void tell(enum op op, int failed_call)
{
	if (failed_call && errno != EPERM) {
		perror(names[op]);
		exit(1);
	}
	counts[op][!!failed_call]++;
}

static void *sealer(void *unused)
{
	for (int round = 0; round < rounds; round++) {
		pthread_barrier_wait(&barrier);
		while (!atomic_load(&go))
			;
		for (volatile int spin = rand() % 5000; spin > 0; spin--)
			;
		tell(ADD_SEALS, fcntl(file, F_ADD_SEALS, SEAL_INACCESSIBLE) < 0);
		tell(TRUNCATE, ftruncate(file, PAGE) < 0);
		pthread_barrier_wait(&barrier);
	}
	return unused;
}

static int race(int times)
{
	pthread_t thread;

	rounds = times;
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&thread, NULL, sealer, NULL);
	for (int round = 0; round < rounds; round++) {
		void *at;
		char byte;

		file = memfd_create("race", MFD_ALLOW_SEALING);
		if (file < 0)
			return 1;
		atomic_store(&go, 0);
		pthread_barrier_wait(&barrier);
		atomic_store(&go, 1);
		tell(READ, pread(file, &byte, 1, 0) < 0);
		at = mmap(0, PAGE, PROT_READ, MAP_SHARED, file, 0);
		tell(MMAP, at == MAP_FAILED);
		tell(READ, pread(file, &byte, 1, 0) < 0);
		if (at != MAP_FAILED)
			munmap(at, PAGE);
		pthread_barrier_wait(&barrier);
		tell(READ, pread(file, &byte, 1, 0) < 0); /* sealed for certain by now */
		close(file);
	}
	pthread_join(thread, NULL);
	printf("{\"rounds\": %d", rounds);
	for (int op = 0; op < OPS; op++)
		printf(", \"%s\": [%lu, %lu]", names[op], counts[op][0], counts[op][1]);
	printf("}\n");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "calls"))
		return calls();
	if (argc >= 2 && !strcmp(argv[1], "guest"))
		return guest(argc == 3 && !strcmp(argv[2], "map"));
	if (argc == 3 && !strcmp(argv[1], "race"))
		return race(atoi(argv[2]));
	fprintf(stderr, "usage: inaccessible calls | guest [map] | race N\n");
	return 2;
}
