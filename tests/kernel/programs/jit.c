/*
 * A refused write by code that lies in no file, as a JIT compiler makes it,
 * and a perf map that says what that code is called. Then it waits, SECONDS,
 * since who looks at the map does so a little later.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#endif

static const unsigned char code[] = {
	0xb8, 18, 0, 0, 0, /* mov eax, __NR_pwrite64 */
	0x49, 0x89, 0xca, /* mov r10, rcx */
	0x0f, 0x05, /* syscall */
	0xc3,
};

int main(int argc, char **argv)
{
	int fd = memfd_create("jit", MFD_ALLOW_SEALING), refused;
	char *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long (*call)(int, const void *, size_t, off_t) = (void *)at;
	char path[64];
	FILE *map;

	if (argc != 2 || fd < 0 || at == MAP_FAILED || ftruncate(fd, 4096) ||
	    fcntl(fd, F_ADD_SEALS, 0xf))
		return 1;
	memcpy(at, code, sizeof(code));
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", getpid());
	map = fopen(path, "w");
	if (!map)
		return 1;
	fprintf(map, "%lx %zx older_name\n%lx %zx jitted <b>write\n", (long)at, sizeof(code),
		(long)at, sizeof(code));
	fclose(map);
	refused = call(fd, "x", 1, 0) == -EPERM; /* no library makes errno of it */
	sleep(atoi(argv[1]));
	unlink(path);
	return !refused;
}
