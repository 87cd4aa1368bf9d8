/*
 * One thread seals a fresh memfd while another works on it, ROUNDS times.
 * Prints how often each call was made and how it ended, as one JSON line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096
#define WORK 12

enum op { WRITE, MMAP, TRUNCATE, ALLOCATE, PUNCH_HOLE, ADD_SEALS, OPS };
static const char *const names[OPS] = {
	"write", "mmap", "truncate", "allocate", "punch_hole", "add_seals",
};
static const int seal_sets[] = {
	F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SHRINK,
	F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK,
};
static unsigned long counts[OPS][3]; /* succeeded, EPERM, EBUSY */
static pthread_barrier_t barrier;
static atomic_int go;
static int fd, rounds;

static void spin(unsigned int times)
{
	for (volatile unsigned int i = 0; i < times; i++)
		;
}

static void tell(enum op op, int failed)
{
	if (failed && errno != EPERM && errno != EBUSY) {
		perror(names[op]);
		exit(1);
	}
	counts[op][!failed ? 0 : errno == EPERM ? 1 : 2]++;
}

static void *sealer(void *unused)
{
	for (int round = 0; round < rounds; round++) {
		int seals = seal_sets[round % (int)(sizeof(seal_sets) / sizeof(*seal_sets))];

		pthread_barrier_wait(&barrier);
		while (!atomic_load(&go))
			;
		spin(rand() % 20000);
		tell(ADD_SEALS, fcntl(fd, F_ADD_SEALS, seals) < 0);
		pthread_barrier_wait(&barrier);
	}
	return unused;
}

static void work(int number)
{
	void *at;

	switch (number % 5) {
	case 0:
		tell(WRITE, pwrite(fd, "data", 4, 100) < 0);
		break;
	case 1:
		at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		tell(MMAP, at == MAP_FAILED);
		if (at != MAP_FAILED)
			munmap(at, PAGE);
		break;
	case 2:
		tell(TRUNCATE, ftruncate(fd, number & 1 ? 3 * PAGE : 2 * PAGE) < 0);
		break;
	case 3:
		tell(ALLOCATE, fallocate(fd, 0, 0, (2 + number % 3) * PAGE) < 0);
		break;
	case 4:
		tell(PUNCH_HOLE, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE) < 0);
		break;
	}
}

int main(int argc, char **argv)
{
	pthread_t thread;

	rounds = argc > 1 ? atoi(argv[1]) : 500;
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&thread, NULL, sealer, NULL);
	for (int round = 0; round < rounds; round++) {
		fd = memfd_create("race", MFD_ALLOW_SEALING | MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, 2 * PAGE) < 0) {
			perror("memfd");
			return 1;
		}
		counts[TRUNCATE][0]++;
		pthread_barrier_wait(&barrier);
		atomic_store(&go, 1);
		for (int i = 0; i < WORK; i++)
			work(round + i);
		pthread_barrier_wait(&barrier);
		atomic_store(&go, 0);
		close(fd);
	}
	pthread_join(thread, NULL);
	printf("{\"pid\": %d, \"rounds\": %d", getpid(), rounds);
	for (int op = 0; op < OPS; op++)
		printf(", \"%s\": [%lu, %lu, %lu]", names[op], counts[op][0], counts[op][1],
		       counts[op][2]);
	printf("}\n");
	return 0;
}
