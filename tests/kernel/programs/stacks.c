/*
 * Calls that seals refuse, each made at a known depth, through qsort's
 * callback; with a secret of this run on the stack all the time. By the
 * process itself, by its child, and by what that executes ("again").
 * Prints the secret, and how many calls were refused.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#endif
#define SEALS (0x1 | 0x2 | 0x4 | 0x8)

enum { WRITE, MAP, TRUNCATE, SEAL, KINDS };
static volatile int sink, refused;
static int fd, kind;

__attribute__((noinline)) void stacks_call(void)
{
	long got = 0;

	if (kind == WRITE)
		got = pwrite(fd, "x", 1, 0);
	else if (kind == MAP)
		got = (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	else if (kind == TRUNCATE)
		got = ftruncate(fd, 0);
	else
		got = fcntl(fd, F_ADD_SEALS, 0x10);
	if (got == -1)
		refused++;
	sink++;
}

__attribute__((noinline)) int stacks_compare(const void *a, const void *b)
{
	if (!sink++)
		sink++;
	stacks_call();
	sink++;
	return *(const int *)a - *(const int *)b;
}

__attribute__((noinline)) void stacks_sort(void)
{
	int two[2] = { 2, 1 };

	qsort(two, 2, sizeof(int), stacks_compare);
	sink += two[0];
}

__attribute__((noinline)) void stacks_secret(const unsigned char *secret)
{
	volatile unsigned char kept[32];

	memcpy((void *)kept, secret, sizeof(kept));
	stacks_sort();
	sink += kept[sink & 31];
}

int main(int argc, char **argv)
{
	unsigned char secret[32];
	int status;
	pid_t child;

	if (getrandom(secret, sizeof(secret), 0) != sizeof(secret))
		return 1;
	fd = memfd_create("stacks", MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, 4096) || fcntl(fd, F_ADD_SEALS, SEALS))
		return 1;
	child = argc > 1 ? -1 : fork();
	for (kind = 0; kind < KINDS; kind++)
		stacks_secret(secret);
	if (!child && argc < 2)
		execl("/proc/self/exe", argv[0], "again", NULL);
	if (child > 0 && (waitpid(child, &status, 0) != child || status))
		return 1;
	for (int i = 0; i < 32; i++)
		printf("%02x", secret[i]);
	printf(" %d\n", refused);
	return refused != KINDS;
}
