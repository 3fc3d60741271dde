/* Files below a folder, and nothing outside of it: no "..", no absolute path, no symbolic link
 * that leaves. The kernel resolves paths (openat2); where it cannot, no link is followed at all.
 *
 * But for files_open_cached() these functions block and are for jobs of the thread pool. Each
 * returns 0 or an errno; EACCES stands for every path that would leave the folder.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

struct stat;

/* Opens the folder itself; with `create`, makes it and its parents (0700) when it is missing. */
int files_root(const char *path, bool create, int *fd);

/* As open(2), below `root`. "" and "." are the root. */
int files_open(int root, const char *path, int flags, int *fd);

/* Both at once, of a folder and a path below it, where the kernel has all on the way in memory.
 * Does not block: ENOENT is certain, all else that fails is EAGAIN.
 */
int files_open_cached(const char *dir, const char *path, int flags, int *fd);

/* Opens the folder that `path` is in; `*name` is its last part, borrowed from `path`, without the
 * slashes at its end. EBUSY for the root itself.
 */
int files_parent(int root, const char *path, int *fd, struct str *name);

/* A regular file whole; EFBIG above `max` bytes. */
int files_read(int root, const char *path, size_t max, struct buf *out);

/* Replaces the file in one step: who reads it sees the old bytes or the new ones, also after a
 * crash.
 */
int files_write(int root, const char *path, struct str data);

/* The names in a folder, sorted by their bytes, each ended by a NUL. */
int files_list(int root, const char *path, struct buf *names, size_t *count);

int files_stat(int root, const char *path, struct stat *info);

/* A file, a link or an empty folder; with `recursive` a folder with all that is in it. */
int files_remove(int root, const char *path, bool recursive);

/* Gives a file or a folder another name, in one step. A file that has that name is replaced. */
int files_rename(int root, const char *from, const char *to);

/* A folder with its parents; fine when it is there already. */
int files_mkdir(int root, const char *path);

/* "ENOENT"; "EIO" for what has no name of its own here. */
const char *files_error_name(int number);
/* In words that tell nothing of links and file systems. */
const char *files_error_text(int number);

/* For tests: go without openat2, as on a kernel that refuses it. */
void files_without_openat2(bool without);
