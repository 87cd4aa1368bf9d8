/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * One thread makes memfds, each with a name of its own, while another puts
 * another file at the number that the next one gets, again and again: what
 * stands at a memfd_create's answer is not what it made. creators RACES, which
 * ends when the number held another file that often. Prints how many were made.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST 20000

static atomic_int number, done;
static int other;

static void *replace(void *unused)
{
	while (!atomic_load(&done)) {
		/* EBUSY from when memfd_create has the number until its file is there. */
		if (dup2(other, number) >= 0)
			close(number);
	}
	return unused;
}

static ino_t inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_ino;
}

int main(int argc, char **argv)
{
	int races = argc > 1 ? atoi(argv[1]) : 10, raced = 0, times = 0;
	pthread_t thread;
	char name[32];

	other = memfd_create("creators-other", MFD_ALLOW_SEALING);
	number = dup(other);
	close(number);
	pthread_create(&thread, NULL, replace, NULL);
	for (; raced < races && times < MOST; times++) {
		int fd;

		snprintf(name, sizeof(name), "creators-%d", times);
		fd = memfd_create(name, MFD_ALLOW_SEALING);
		if (fd < 0) {
			perror("memfd_create");
			return 1;
		}
		raced += inode(fd) == inode(other);
		close(fd);
	}
	atomic_store(&done, 1);
	pthread_join(thread, NULL);
	printf("{\"pid\": %d, \"tid\": %ld, \"times\": %d, \"raced\": %d}\n", getpid(),
	       syscall(SYS_gettid), times, raced);
	return 0;
}
