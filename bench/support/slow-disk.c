/* A disk whose flush takes longer: preloaded into PostgreSQL, it sleeps after each flush. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int slowly(const char *name, int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  int result = real(fd);
  const char *delay = getenv("SLOW_DISK_US");
  usleep(delay ? atoi(delay) : 2000);
  return result;
}

int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }
