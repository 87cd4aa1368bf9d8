/* SPDX-License-Identifier: Apache-2.0 */
/* A VMM that is robbed, somebody beside it, and the lines that tell what they did and got. */
#ifndef VICTIM_H
#define VICTIM_H

#define _GNU_SOURCE
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

#define PAGE 4096UL
#define SIZE (16 * PAGE)
#define SECRET_AT 0UL		/* what the VMM put there */
#define WRITTEN_AT PAGE		/* where others write */
#define HOLE_AT (8 * PAGE)	/* a page that the file has not yet */

extern struct ram {
	const char *name;
	int fd, vm;
	uint8_t *map;
} ram;

/* ---- lines ----------------------------------------------------------------------------- */

extern const char *role;	/* "vmm", or who this process is */

void die(const char *what);
long answer(long result);	/* -errno of a call that returned -1 */
/* What was done to the file of `fd` (-1: to the VMM's), what was answered, and which text was got. */
void tell(const char *act, int fd, long answer, const char *got);
/* This kernel has not got the means; ends the program well. */
void absent(const char *what);

/* ---- processes, and what they say to each other ------------------------------------------ */

/* Forks before there is anything to inherit; returns our end of a socket to it. */
int start(const char *role, void (*act)(int socket));
void say(int socket, uint64_t word, int fd);
uint64_t hear(int socket, int *fd);
void finish(void);		/* waits for all that were started */
int open_of(pid_t pid, int fd);	/* /proc/PID/fd/FD */
int get_of(pid_t pid, int fd);	/* pidfd_getfd */

/* ---- the VMM --------------------------------------------------------------------------- */

void make_file(unsigned int more_flags);	/* MFD_CLOEXEC is on, unless it is in here */
void seal_file(void);
void map_file(void);
int make_vm(void);
long set_slot(int vm, unsigned int slot, uint64_t at, void *map, size_t size);
void start_vm(void);		/* all of the above */
void end_vm(void);		/* tells what others left in the memory */

/* What a thief is told of it. */
struct target {
	pid_t pid;
	int fd;
	uint8_t *map;
};
void point_to_ram(int socket);
struct target hear_target(int socket);
/* A VMM, and a thief that is told where its memory is, and says so when it has done. */
void robbed_by(void (*thief)(int socket));

/* ---- what thieves do --------------------------------------------------------------------- */

void read_from(int fd);
void write_to(int fd);
uint8_t *map_of(int fd);	/* maps, reads and writes */
/* A copy of `what` that no page table of this process has yet. */
void *cold(const void *what, size_t size);

/* The attacks by their names; one array in each file. */
struct attack {
	const char *name;
	void (*play)(void);
	const char *text;
};
extern const struct attack WHO[], WAYS[], RINGS[], TWINS[];
void after_exec(const char *what, int fd);
void exec_self(const char *what, int fd);

#endif
