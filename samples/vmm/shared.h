/* SPDX-License-Identifier: Apache-2.0 */
/* What both programs need of the kernel, and how a descriptor goes to another process. */
#ifndef SHARED_H
#define SHARED_H

#include <linux/kvm.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
enum { GMEM_MMAP = 1, GMEM_INIT_SHARED = 2 };

/* Not in the headers of Linux 6.1. */
struct region2 {
	uint32_t slot, flags;
	uint64_t guest_address, size, address, gmem_offset;
	uint32_t gmem_fd, pad1;
	uint64_t pad2[14];
};
struct create_gmem {
	uint64_t size, flags, reserved[6];
};
#define SET_REGION2 _IOW(KVMIO, 0x49, struct region2)
#define CREATE_GMEM _IOWR(KVMIO, 0xd4, struct create_gmem)
#define REGION_GMEM 4U

/* Sends `size` bytes, and a descriptor with them (-1: none); what sendmsg answers. */
static inline ssize_t send_with(int socket, void *bytes, size_t size, int fd)
{
	union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = { { 0 } };
	struct iovec io = { bytes, size };
	struct msghdr message = { .msg_iov = &io, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL);
}

#endif
