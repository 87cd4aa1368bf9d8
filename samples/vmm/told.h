/* SPDX-License-Identifier: Apache-2.0 */
/* What vmm and private are told: their options, where their lines go, and whom they wait for. */
#ifndef TOLD_H
#define TOLD_H

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static FILE *out;
static struct {
	const char *ready, *go, *stay, *out;
} told;

/* An option, and the one of these that it sets. */
struct word {
	const char *name;
	bool *on;
	long *number;
	const char **text;
};
enum { MOST_WORDS = 40 };
/* The end of each program's list. */
#define COMMON_WORDS \
	{ "ready", .text = &told.ready }, { "go", .text = &told.go }, \
	{ "stay", .text = &told.stay }, { "out", .text = &told.out }, { 0 }

static void die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

/* -errno of a call that returned -1. */
static long answer(long result)
{
	return result < 0 ? -errno : result;
}

static void read_options(int argc, char **argv, const struct word *words)
{
	struct option options[MOST_WORDS + 1] = { 0 };
	int place, got;

	for (int i = 0; words[i].name; i++)
		options[i] = (struct option){ words[i].name, !words[i].on, NULL, 1 };
	while ((got = getopt_long(argc, argv, "", options, &place)) >= 0) {
		if (got != 1)
			exit(2);
		if (words[place].on)
			*words[place].on = true;
		else if (words[place].number)
			*words[place].number = atol(optarg);
		else
			*words[place].text = optarg;
	}
	out = told.out ? fopen(told.out, "we") : stdout;
	if (!out)
		die("--out");
}

/* Tells who waits for us that we are there, and waits in turn; NULL: nobody does, for nobody. */
static void rendezvous(const char *ready, const char *go)
{
	fflush(out);
	if (ready)
		close(open(ready, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	while (go && access(go, F_OK))
		usleep(20000);
}

#endif
