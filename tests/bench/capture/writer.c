/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The benchmark's load: COUNT writes of 8 bytes to one file, timed from
 * inside. writer memfd|FILE COUNT; prints nanoseconds per write.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct timespec a, b;
	long count;
	int fd;

	if (argc != 3)
		return 2;
	count = atol(argv[2]);
	if (!strcmp(argv[1], "memfd"))
		fd = memfd_create("bench", MFD_ALLOW_SEALING);
	else
		fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, 4096))
		return 1;
	for (long i = 0; i < 2000; i++) /* warm up: page, caches, branch predictors */
		if (pwrite(fd, "00000000", 8, 8) != 8)
			return 1;
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (long i = 0; i < count; i++)
		if (pwrite(fd, "12345678", 8, 16) != 8)
			return 1;
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%.1f\n", ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / count);
	return 0;
}
