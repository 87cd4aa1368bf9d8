/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways to get at the memory of somebody's guest, and what well-behaved programs do that looks like
 * it. Each run plays one of them, with a VMM of its own whose memory is a memfd of the name given,
 * and writes JSON lines: who did what, and what it got. An audit must not pass what thieves do.
 */
#include "victim.h"

#include <getopt.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const struct attack *const ALL[] = { WHO, WAYS, RINGS, TWINS };

static void list(void)
{
	for (size_t i = 0; i < sizeof(ALL) / sizeof(*ALL); i++)
		for (const struct attack *one = ALL[i]; one->name; one++)
			printf("%-20s %s\n", one->name, one->text);
}

static const struct attack *find(const char *name)
{
	for (size_t i = 0; i < sizeof(ALL) / sizeof(*ALL); i++)
		for (const struct attack *one = ALL[i]; one->name; one++)
			if (!strcmp(one->name, name))
				return one;
	return NULL;
}

/* This very program again, in this process: standard output stays. */
void exec_self(const char *what, int fd)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", fd);
	execl("/proc/self/exe", "attacks", "--after-exec", what, number, NULL);
	die("exec");
}

static const struct option OPTIONS[] = {
	{ "name", 1, 0, 'n' }, { "out", 1, 0, 'o' }, { "list", 0, 0, 'l' },
	{ "after-exec", 0, 0, 'x' }, { 0, 0, 0, 0 },
};

int main(int argc, char **argv)
{
	const struct attack *attack;
	int option, out;

	while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) >= 0) {
		switch (option) {
		case 'n':
			ram.name = optarg;
			break;
		case 'o':
			out = open(optarg, O_CREAT | O_WRONLY | O_APPEND | O_TRUNC, 0644);
			if (out < 0 || dup2(out, STDOUT_FILENO) < 0)
				die(optarg);
			close(out);
			break;
		case 'l':
			list();
			return 0;
		case 'x':
			if (optind + 2 != argc)
				return 2;
			after_exec(argv[optind], atoi(argv[optind + 1]));
			return 0;
		default:
			return 2;
		}
	}
	attack = optind + 1 == argc ? find(argv[optind]) : NULL;
	if (!attack) {
		fprintf(stderr, "usage: attacks [--name NAME] [--out FILE] ATTACK (--list)\n");
		return 2;
	}
	signal(SIGALRM, SIG_DFL);
	alarm(100);		/* a thief that waits for ever */
	attack->play();
	return 0;
}
