/* Preloaded into one process, to have faults that otherwise take root: its wall clock is moved
 * from outside, and its files can't grow, as on a full disk. Which of the two, and when, stands in
 * a file each, named by the environment.
 *
 * It asks the kernel itself and allocates nothing, so that it is safe under any allocator. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Seconds that the time of day is ahead; not 0 while the disk is full. */
static const volatile long long *step, *full;

static const volatile long long *number_in(const char *variable) {
    const char *path = getenv(variable);
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return NULL;
    void *page = mmap(NULL, sizeof *step, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    return page == MAP_FAILED ? NULL : page;
}

__attribute__((constructor)) static void look(void) {
    step = number_in("STAGE_CLOCK");
    full = number_in("STAGE_DISK");
}

/* The clock: the time of day alone. What counts durations goes on. */

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && step && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *step;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec precise;
    int failed = clock_gettime(CLOCK_REALTIME, &precise);
    if (!failed) *now = (struct timeval){ precise.tv_sec, precise.tv_nsec / 1000 };
    return failed;
}

time_t time(time_t *now) {
    struct timespec precise;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    if (now) *now = precise.tv_sec;
    return precise.tv_sec;
}

/* The disk: what is there can be written over; no file gets longer, but for the log. */

static int no_room(int file, off_t end) {
    struct stat now;
    if (!full || !*full || file <= STDERR_FILENO || fstat(file, &now) || !S_ISREG(now.st_mode)) return 0;
    if (end <= now.st_size) return 0;
    errno = ENOSPC;
    return 1;
}

/* Where a write would end that goes on from the file's place. */
static off_t end_of(int file, size_t bytes) {
    if (!full || !*full) return 0;
    int append = fcntl(file, F_GETFL) & O_APPEND;
    return lseek(file, 0, append ? SEEK_END : SEEK_CUR) + (off_t)bytes;
}

static size_t sum(const struct iovec *pieces, int count) {
    size_t bytes = 0;
    for (int i = 0; i < count; i++) bytes += pieces[i].iov_len;
    return bytes;
}

ssize_t write(int file, const void *data, size_t bytes) {
    return no_room(file, end_of(file, bytes)) ? -1 : syscall(SYS_write, file, data, bytes);
}

ssize_t pwrite(int file, const void *data, size_t bytes, off_t at) {
    return no_room(file, at + (off_t)bytes) ? -1 : syscall(SYS_pwrite64, file, data, bytes, at);
}

ssize_t pwrite64(int file, const void *data, size_t bytes, off_t at) {
    return pwrite(file, data, bytes, at);
}

ssize_t pwritev(int file, const struct iovec *pieces, int count, off_t at) {
    /* The kernel takes the place in two halves; on 64 bits the first one is all of it. */
    return no_room(file, at + (off_t)sum(pieces, count)) ? -1 : syscall(SYS_pwritev, file, pieces, count, at, 0L);
}

ssize_t pwritev64(int file, const struct iovec *pieces, int count, off_t at) {
    return pwritev(file, pieces, count, at);
}

int fallocate(int file, int mode, off_t at, off_t bytes) {
    return no_room(file, at + bytes) ? -1 : (int)syscall(SYS_fallocate, file, mode, at, bytes);
}

int fallocate64(int file, int mode, off_t at, off_t bytes) {
    return fallocate(file, mode, at, bytes);
}

int posix_fallocate(int file, off_t at, off_t bytes) {
    if (no_room(file, at + bytes)) return ENOSPC;
    return syscall(SYS_fallocate, file, 0, at, bytes) ? errno : 0;
}

int posix_fallocate64(int file, off_t at, off_t bytes) {
    return posix_fallocate(file, at, bytes);
}
