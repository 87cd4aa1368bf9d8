/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Executes memory files, half of them sealed, among as many ordinary ones: execs TIMES FOLDER,
 * where FOLDER is on no file system in memory. From children of fork and of vfork, and from threads
 * that are not their process's first; then each way in which it is refused, and as runc and droppers
 * do it. Prints one line for each memory file that a call had to do with: what it was, and what the
 * call answered. A program that ran is known by its exit code.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#define MFD_EXEC 0x10u
#endif
#define CHECK_ONLY 0x10000	/* AT_EXECVE_CHECK, since 6.14 */
#define RAN 42
#define ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

enum form { PATH = 1, PROC_FD, EMPTY_PATH };
enum role { PROGRAM = 1, INTERPRETER, LOADER };
enum how { FORK, VFORK, THREAD, WAYS };

struct told {
	pid_t pid;
	pid_t tid;
	int error;
};

static struct told *told;
static const char *folder;
static size_t huge_size = 2 << 20;
static char *huge_arguments[] = { "x", NULL, NULL };

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* A program of one page that exits with RAN; with a loader, that one is run in its place. */
static size_t make_program(unsigned char *image, unsigned long base, const char *loader)
{
	static const unsigned char code[] = {
		0xbf, RAN, 0, 0, 0,		/* mov $RAN, %edi */
		0xb8, SYS_exit_group, 0, 0, 0,	/* mov $SYS_exit_group, %eax */
		0x0f, 0x05,			/* syscall */
	};
	Elf64_Ehdr *head = (Elf64_Ehdr *)image;
	Elf64_Phdr *part = (Elf64_Phdr *)(head + 1);
	size_t at = sizeof(*head) + 2 * sizeof(*part), end = at + sizeof(code);

	memset(image, 0, 4096);
	memcpy(head->e_ident, ELFMAG, SELFMAG);
	head->e_ident[EI_CLASS] = ELFCLASS64;
	head->e_ident[EI_DATA] = ELFDATA2LSB;
	head->e_ident[EI_VERSION] = EV_CURRENT;
	head->e_type = ET_EXEC;
	head->e_machine = EM_X86_64;
	head->e_version = EV_CURRENT;
	head->e_entry = base + at;
	head->e_phoff = sizeof(*head);
	head->e_ehsize = sizeof(*head);
	head->e_phentsize = sizeof(*part);
	head->e_phnum = loader ? 2 : 1;
	memcpy(image + at, code, sizeof(code));
	if (loader) {
		part->p_type = PT_INTERP;
		part->p_offset = end;
		part->p_filesz = strlen(loader) + 1;
		memcpy(image + end, loader, strlen(loader) + 1);
		end += strlen(loader) + 1;
		part++;
	}
	part->p_type = PT_LOAD;
	part->p_flags = PF_R | PF_W | PF_X;	/* until 6.9 a loader is padded with zeros */
	part->p_vaddr = part->p_paddr = base;
	part->p_filesz = part->p_memsz = end;
	part->p_align = 4096;
	return end;
}

static void fill(int fd, const void *from, size_t size)
{
	if (write(fd, from, size) != (ssize_t)size)
		die("write");
}

static int named_file(const char *name, unsigned int flags, const void *content, size_t size)
{
	int fd = syscall(SYS_memfd_create, name, flags);

	if (fd >= 0 && content)
		fill(fd, content, size);
	return fd;
}

static int memory_file(unsigned int flags, const void *content, size_t size)
{
	return named_file("execs", flags, content, size);
}

static void seal(int fd, int seals)
{
	if (fcntl(fd, F_ADD_SEALS, seals))
		die("F_ADD_SEALS");
}

struct call {
	enum form form;
	enum how how;
	int fd;
	int flags;
	const char *path;
	char **arguments;
};

static void *execute(void *of)
{
	const struct call *call = of;
	static char *plain[] = { "x", NULL };
	char **arguments = call->arguments ? call->arguments : plain;
	char *none[] = { NULL };

	told->tid = syscall(SYS_gettid);
	if (call->form == EMPTY_PATH)
		syscall(SYS_execveat, call->fd, "", arguments, none, AT_EMPTY_PATH | call->flags);
	else
		syscall(SYS_execve, call->path, arguments, none);
	told->error = errno;
	if (call->flags & CHECK_ONLY && !told->error)
		_exit(RAN);
	_exit(1);
}

/* What the call answered: 0, or an error. */
static int run(const struct call *call)
{
	int status;
	pid_t pid;

	told->error = 0;
	errno = 0;
	pid = call->how == VFORK ? vfork() : fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		pthread_t thread;

		if (call->how != THREAD)
			execute((void *)call);
		pthread_create(&thread, NULL, execute, (void *)call);
		pause();
	}
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	told->pid = pid;
	if (WIFEXITED(status) && WEXITSTATUS(status) == RAN)
		return 0;
	if (!told->error) {
		fprintf(stderr, "a program ended with %#x\n", status);
		exit(1);
	}
	return -told->error;
}

static void tell(const char *variant, const struct call *call, int fd, enum role role, int answer,
		 int seals)
{
	struct stat st;
	int mine = role == PROGRAM && call->form != PATH;

	if (fstat(fd, &st))
		die("fstat");
	printf("{\"variant\": \"%s\", \"how\": %d, \"pid\": %d, \"tid\": %d, \"ino\": %lu, "
	       "\"seals\": %d, \"size\": %ld, \"mode\": %d, \"fd\": %d, \"arg\": %d, "
	       "\"answer\": %d}\n",
	       variant, call->how, told->pid, told->tid, (unsigned long)st.st_ino, seals,
	       (long)st.st_size, st.st_mode, mine ? call->fd : -1,
	       (role == PROGRAM ? (int)call->form : 0) | (int)role << 8 | (call->flags & CHECK_ONLY),
	       answer);
}

static int seals_of(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals < 0 ? F_SEAL_SEAL : seals;
}

static int one(const char *variant, struct call call)
{
	int seals = seals_of(call.fd), answer = run(&call);

	tell(variant, &call, call.fd, PROGRAM, answer, seals);
	return answer;
}

/* A file of the folder, which is none in memory. */
static void ordinary(const char *name, const void *content, size_t size, char *path)
{
	int fd;

	sprintf(path, "%s/%s", folder, name);
	unlink(path);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
	if (fd < 0)
		die(path);
	fill(fd, content, size);
	if (fchmod(fd, 0755) || close(fd))
		die(path);
}

static void many(int times, const unsigned char *image, size_t size)
{
	char path[64], plain[4096];

	ordinary("plain", image, size, plain);
	for (int i = 0; i < times; i++) {
		struct call call = { .form = 1 + i % 3, .how = i / 2 % WAYS };
		int sealed = i % 2;

		/* Of those that are not sealed every other one never can be. */
		call.fd = memory_file(sealed || i % 4 ? MFD_ALLOW_SEALING : 0, image, size);
		if (call.fd < 0)
			die("memfd_create");
		if (sealed)
			seal(call.fd, i % 8 == 7 ? F_SEAL_FUTURE_WRITE : ALL_SEALS);
		sprintf(path, call.form == PROC_FD ? "/proc/self/fd/%d" : "/proc/%d/fd/%d",
			call.form == PROC_FD ? call.fd : getpid(), call.fd);
		call.path = path;
		if (one(sealed ? "sealed" : "open", call))
			die("a memory file was not executed");
		close(call.fd);
		call.form = PATH;
		call.path = plain;
		if (run(&call))
			die("an ordinary file was not executed");
	}
}

/* Scripts and loaders: which of the two files is one in memory. */
static void interpreters(const unsigned char *image, size_t size)
{
	unsigned char other[4096];
	char line[64], path[4096];
	int fd = memory_file(MFD_ALLOW_SEALING, image, size), script, program, answer, seals;
	struct call call = { .form = PATH, .path = path };
	size_t end;

	seal(fd, ALL_SEALS);
	sprintf(line, "#!/proc/self/fd/%d\n", fd);
	ordinary("script", line, strlen(line), path);
	answer = run(&call);
	tell("interpreter", &call, fd, INTERPRETER, answer, ALL_SEALS);

	script = memory_file(MFD_ALLOW_SEALING, line, strlen(line));
	call = (struct call){ .form = EMPTY_PATH, .fd = script };
	seals = seals_of(script);
	answer = run(&call);
	tell("script", &call, script, PROGRAM, answer, seals);
	tell("script", &call, fd, INTERPRETER, answer, ALL_SEALS);

	sprintf(line, "/proc/self/fd/%d", fd);
	end = make_program(other, 0x20000000, line);
	ordinary("loaded", other, end, path);
	call = (struct call){ .form = PATH, .path = path };
	answer = run(&call);
	tell("loader", &call, fd, LOADER, answer, ALL_SEALS);

	program = memory_file(MFD_ALLOW_SEALING, other, end);
	call = (struct call){ .form = EMPTY_PATH, .fd = program, .how = THREAD };
	answer = run(&call);
	tell("loaded", &call, program, PROGRAM, answer, 0);
	tell("loaded", &call, fd, LOADER, answer, ALL_SEALS);
	close(fd);
	close(script);
	close(program);
}

static void refusals(const unsigned char *image, size_t size)
{
	struct call call = { .form = EMPTY_PATH };
	char path[64];
	int writer;

	call.fd = memory_file(MFD_ALLOW_SEALING, image, size);
	sprintf(path, "/proc/self/fd/%d", call.fd);
	call.path = path;
	call.arguments = huge_arguments;
	one("arguments", call);
	call.arguments = NULL;
	writer = open(path, O_RDWR);
	one("written", call);
	call.form = PROC_FD;
	one("written", call);
	close(writer);
	call.form = EMPTY_PATH;
	call.flags = CHECK_ONLY;
	one("asked", call);
	call.flags = 0;
	fchmod(call.fd, 0600);
	one("no-bit", call);
	call.form = PROC_FD;
	one("no-bit", call);
	call.how = THREAD;
	one("no-bit", call);
	call.how = FORK;
	fchmod(call.fd, 0755);
	if (ftruncate(call.fd, 0))
		die("ftruncate");
	fill(call.fd, "no program", 10);
	one("no-program", call);
	call.form = EMPTY_PATH;
	one("no-program", call);
	close(call.fd);

	call.fd = memory_file(MFD_NOEXEC_SEAL, image, size);	/* since 6.3 */
	if (call.fd >= 0) {
		one("noexec-seal", call);
		close(call.fd);
	}
}

/* runc runs a sealed copy of itself (libcontainer/nsenter/cloned_binary.c); a dropper what it has. */
static void copies(const unsigned char *image, size_t size)
{
	char *again[] = { "execs", "again", NULL }, path[64];
	struct call call = { .form = EMPTY_PATH, .arguments = again };
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (self < 0 || fstat(self, &st))
		die("/proc/self/exe");
	call.fd = named_file("runc_cloned:/proc/self/exe", MFD_CLOEXEC | MFD_ALLOW_SEALING, NULL, 0);
	if (call.fd < 0 || sendfile(call.fd, self, NULL, st.st_size) != st.st_size)
		die("a copy");
	seal(call.fd, ALL_SEALS);
	if (one("copy", call))
		die("a copy was not executed");
	close(call.fd);
	close(self);

	call = (struct call){ .form = PROC_FD, .path = path };
	call.fd = named_file("dropper", MFD_CLOEXEC, image, size);
	sprintf(path, "/proc/self/fd/%d", call.fd);
	if (one("dropper", call))
		die("what was dropped was not executed");
	close(call.fd);
}

/* By a name of its own, and a script in huge pages, where there are any. */
static void elsewhere(const unsigned char *image, size_t size)
{
	char line[4200];
	struct call call = { .form = PATH, .path = "/dev/shm/execs" };
	char *at;

	call.fd = open(call.path, O_CREAT | O_RDWR | O_TRUNC, 0755);
	if (call.fd >= 0) {
		fill(call.fd, image, size);
		fchmod(call.fd, 0755);
		close(call.fd);
		call.fd = open(call.path, O_RDONLY | O_CLOEXEC);
		one("tmpfs", call);
		unlink(call.path);
		close(call.fd);
	}
	call.fd = syscall(SYS_memfd_create, "execs-huge", MFD_ALLOW_SEALING | MFD_HUGETLB);
	if (call.fd < 0 || ftruncate(call.fd, huge_size))
		return;
	at = mmap(NULL, huge_size, PROT_READ | PROT_WRITE, MAP_SHARED, call.fd, 0);
	if (at == MAP_FAILED)
		return;
	sprintf(line, "#!%s/plain\n", folder);
	memcpy(at, line, strlen(line));
	munmap(at, huge_size);
	call.form = EMPTY_PATH;
	one("hugetlb", call);
}

int main(int argc, char **argv)
{
	unsigned char image[4096];
	size_t size;

	if (argc == 2)
		return RAN;	/* the copy */
	if (argc != 3)
		return 2;
	folder = argv[2];
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	huge_arguments[1] = malloc(1 << 20);
	if (told == MAP_FAILED || !huge_arguments[1])
		die("memory");
	memset(huge_arguments[1], 'x', (1 << 20) - 1);
	huge_arguments[1][(1 << 20) - 1] = 0;
	setvbuf(stdout, NULL, _IOFBF, 1 << 20);
	size = make_program(image, 0x10000000, NULL);
	many(atoi(argv[1]), image, size);
	interpreters(image, size);
	refusals(image, size);
	copies(image, size);
	elsewhere(image, size);
	return 0;
}
