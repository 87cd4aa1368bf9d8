/*
 * What a live update does to a memfd that it is to hand over: no size, no hole and no seal against
 * writing until it is let go. One JSON line a call: op, answer (or -errno), and what it must be.
 *
 *   frozen calls    needs /dev/liveupdate (boot with kho=on liveupdate=on)
 *   frozen huge     F_SEAL_WRITE on a file of one huge page, where shmem gives such; no "must"
 *   frozen pinned   F_SEAL_WRITE while an io_uring's buffer pins the pages and nothing maps them
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096
#define SIZE (4 * PAGE)
#define HUGE_SIZE (2 << 20)

/* include/uapi/linux/liveupdate.h */
struct create_session {
	uint32_t size;
	int32_t fd;
	uint8_t name[64];
};
struct preserve_fd {
	uint32_t size;
	int32_t fd;
	uint64_t token;
};
#define CREATE_SESSION _IO(0xba, 0x00)
#define PRESERVE_FD _IO(0xba, 0x40)

static int failed;

static long call(const char *op, long answer, long must)
{
	long got = answer == -1 ? -errno : answer;

	printf("{\"op\": \"%s\", \"answer\": %ld, \"must\": %ld}\n", op, got, must);
	failed |= got != must;
	return got;
}

static int make(const char *name, long size)
{
	int fd = memfd_create(name, MFD_ALLOW_SEALING);

	call("create", fd < 0 ? -1 : 0, 0);
	if (fd < 0)
		exit(1);
	call("truncate", ftruncate(fd, size), 0);
	return fd;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int preserve(const int *files, int count)
{
	struct create_session session = { .size = sizeof(session), .name = "sealsnoop" };
	int device = open("/dev/liveupdate", O_RDWR | O_CLOEXEC);

	if (device < 0 || ioctl(device, CREATE_SESSION, &session))
		fail("/dev/liveupdate");
	for (int i = 0; i < count; i++) {
		struct preserve_fd file = { sizeof(file), files[i], i + 1 };

		if (ioctl(session.fd, PRESERVE_FD, &file))
			fail("preserving a memfd");
	}
	close(device);
	return session.fd;
}

/* Within the file as ever; its size and its pages are as they are. `must`: of what is refused. */
static void change(int fd, long must)
{
	char page[16] = "as ever";

	call("write", pwrite(fd, page, sizeof(page), PAGE), sizeof(page));
	call("read", pread(fd, page, sizeof(page), PAGE), sizeof(page));
	call("truncate", ftruncate(fd, SIZE), 0);
	call("truncate", ftruncate(fd, SIZE + PAGE), must);
	call("truncate", ftruncate(fd, SIZE), 0);
	call("truncate", ftruncate(fd, PAGE), must);
	call("truncate", ftruncate(fd, SIZE), 0);
	call("write", pwrite(fd, page, sizeof(page), SIZE), must ? must : (long)sizeof(page));
	call("truncate", ftruncate(fd, SIZE), 0);
	call("allocate", fallocate(fd, 0, 0, PAGE), must);
	call("allocate", fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, PAGE), must);
	call("allocate", fallocate(fd, 0, SIZE, PAGE), must);
	call("punch_hole", fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, PAGE), must);
	call("truncate", ftruncate(fd, SIZE), 0);
}

static int calls(void)
{
	int plain = make("plain", SIZE), sealed = make("sealed", SIZE), empty = make("empty", 0);
	int files[] = { plain, sealed, empty };
	int session;

	call("add_seals", fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	change(plain, 0);
	session = preserve(files, 3);
	change(plain, -EPERM);
	call("truncate", ftruncate(sealed, PAGE), -EPERM);
	call("truncate", ftruncate(sealed, SIZE + PAGE), -EPERM);
	call("allocate", fallocate(sealed, 0, 0, PAGE), -EPERM);
	call("truncate", ftruncate(empty, PAGE), -EPERM);
	/* Its pages are pinned, so that they stay where they are. */
	call("add_seals", fcntl(plain, F_ADD_SEALS, F_SEAL_WRITE), -EBUSY);
	call("add_seals", fcntl(plain, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	close(session);
	call("truncate", ftruncate(plain, PAGE), 0);
	call("truncate", ftruncate(empty, PAGE), 0);
	call("allocate", fallocate(sealed, 0, 0, PAGE), 0);
	call("add_seals", fcntl(plain, F_ADD_SEALS, F_SEAL_WRITE), 0);
	return failed;
}

static int huge(void)
{
	int fd = make("huge", HUGE_SIZE);
	struct stat st;
	long got;

	call("write", pwrite(fd, "x", 1, 0), 1);
	got = fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE);
	if (fstat(fd, &st))
		fail("fstat");
	printf("{\"op\": \"add_seals\", \"answer\": %ld, \"allocated\": %ld}\n",
	       got ? (long)-errno : 0, (long)st.st_blocks * 512);
	return 0;
}

static int pinned(void)
{
	uint8_t parameters[120] = { 0 };
	int fd = make("pinned", SIZE), ring = syscall(425, 4, parameters);
	void *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct iovec buffer = { map, SIZE };

	if (ring < 0 || map == MAP_FAILED || syscall(427, ring, 0, &buffer, 1))
		fail("io_uring");
	call("mmap", 0, 0);
	munmap(map, SIZE);
	call("add_seals", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -EBUSY);
	close(ring);
	return failed;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(what, "calls"))
		return calls();
	if (!strcmp(what, "huge"))
		return huge();
	if (!strcmp(what, "pinned"))
		return pinned();
	return 2;
}
