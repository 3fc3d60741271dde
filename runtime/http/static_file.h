/* A file as a response: looked for below a folder, then answered with ETag, conditions, a range,
 * and its bytes read on the thread pool as the client takes them.
 *
 * How a path is resolved inside a folder is the caller's: `struct file_opener`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct exchange;
struct loop;

/* As files_root(), files_open() and files_open_cached() of data/files.h; each gives an errno. */
struct file_opener {
    int (*root)(const char *path, bool create, int *fd);
    int (*open)(int root, const char *path, int flags, int *fd);
    int (*open_cached)(const char *dir, const char *path, int flags, int *fd);
};

struct static_file {
    int fd; /* -1 when `bytes` is all of it */
    struct buf bytes;
    uint64_t size;
    int64_t modified; /* seconds */
    char etag[64];
    const char *encoding; /* "br", "gzip" or NULL */
};

/* For the thread pool. False when there is no such regular file, or its path has a part that
 * begins with a dot. A small file is read at once, and up to `whole` bytes if that is more.
 */
bool static_file_find(const struct file_opener *opener,
                      const char *dir,
                      const char *path,
                      size_t whole,
                      struct static_file *file);

enum static_found { STATIC_NONE, STATIC_FOUND, STATIC_BLOCKS };

/* The same for the loop: STATIC_BLOCKS, if the disk may have to be waited for. */
enum static_found static_file_find_cached(const struct file_opener *opener,
                                          const char *dir,
                                          const char *path,
                                          size_t whole,
                                          struct static_file *file);
void static_file_fini(struct static_file *file);

/* Makes the file the answer of `x`, which has got a response of status 200 and what other headers
 * the caller wants; its type is that of `name` unless there is one. Takes the file over.
 */
void static_file_respond(struct loop *loop,
                         struct exchange *x,
                         struct static_file *file,
                         const char *name);
