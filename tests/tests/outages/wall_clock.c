/* A clock on the wall that somebody sets: off by as many seconds as the file says. Other clocks are as they are. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
	long result = syscall(SYS_clock_gettime, clock, now);
	const char *path = getenv("WALL_CLOCK");
	FILE *file = clock == CLOCK_REALTIME && path ? fopen(path, "r") : NULL;
	long off = 0;
	if (file) {
		if (fscanf(file, "%ld", &off) == 1)
			now->tv_sec += off;
		fclose(file);
	}
	return (int)result;
}
