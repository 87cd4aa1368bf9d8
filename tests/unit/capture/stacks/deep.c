/* Stops itself in a system call made at a known depth, through qsort's callback. */
#include <stdlib.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <string.h>

static volatile int sink;
char secret[64];

__attribute__((noinline)) static void last(int depth)
{
	volatile char room[300];

	memset((void *)room, depth, sizeof(room));
	syscall(SYS_pause);
	sink += room[3];
}
__attribute__((noinline)) static int compare(const void *a, const void *b)
{
	last(*(const int *)a);
	sink++;
	return *(const int *)a - *(const int *)b;
}
__attribute__((noinline)) static void sorted(int n)
{
	int some[2] = { n, 1 };

	qsort(some, 2, sizeof(int), compare);
	sink += some[0];
}
__attribute__((noinline)) static void middle(int n)
{
	sorted(n + 1);
	sink++;
}
int main(void)
{
	middle(3);
	return sink;
}
