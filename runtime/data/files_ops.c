#include "data/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"

/* How deep a folder may be that is removed at once: each level holds a descriptor. */
enum { DEPTH_MAX = 200 };

/* Names of files that are being written start so; a crash may leave one. */
#define TEMP_PREFIX ".buntime-"

/* --- reading --- */

static int open_regular(int root, const char *path, int *fd, struct stat *info)
{
    int rc =
        files_open(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, fd); /* a FIFO may not block */

    if (rc != 0)
        return rc;
    if (fstat(*fd, info) != 0)
        rc = errno;
    else if (S_ISDIR(info->st_mode))
        rc = EISDIR;
    else if (!S_ISREG(info->st_mode))
        rc = EINVAL;
    if (rc != 0)
        close(*fd);
    return rc;
}

static int read_all(int fd, size_t expected, size_t max, struct buf *out)
{
    size_t step = expected + 1; /* one more: so the end is seen */

    for (;;) {
        const ssize_t got = read(fd, buf_reserve(out, step), step);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? errno : 0;
        out->len += (size_t)got;
        if (out->len > max)
            return EFBIG;
        step = expected + 1 > out->len ? expected + 1 - out->len : (size_t)64 << 10;
    }
}

int files_read(int root, const char *path, size_t max, struct buf *out)
{
    struct stat info;
    int fd, rc = open_regular(root, path, &fd, &info);

    if (rc != 0)
        return rc;
    if (info.st_size > 0 && (uint64_t)info.st_size > max)
        rc = EFBIG;
    else
        rc = read_all(fd, (size_t)info.st_size, max, out);
    close(fd);
    return rc;
}

int files_stat(int root, const char *path, struct stat *info)
{
    int fd, rc = files_open(root, path, O_PATH, &fd);

    if (rc != 0)
        return rc;
    if (fstat(fd, info) != 0)
        rc = errno;
    close(fd);
    return rc;
}

/* --- listing --- */

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_listed(const char *name)
{
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strncmp(name, TEMP_PREFIX, strlen(TEMP_PREFIX)) != 0;
}

static void sort_names(struct buf *names, size_t count)
{
    char **sorted = mem_alloc((count + 1) * sizeof(*sorted));
    struct buf out = {0};
    char *at = names->data;

    for (size_t i = 0; i < count; i++, at += strlen(at) + 1)
        sorted[i] = at;
    qsort(sorted, count, sizeof(*sorted), compare);
    for (size_t i = 0; i < count; i++)
        buf_add(&out, sorted[i], strlen(sorted[i]) + 1);
    free(sorted);
    buf_fini(names);
    *names = out;
}

static int read_names(DIR *dir, struct buf *names, size_t *count)
{
    const struct dirent *entry;

    *count = 0;
    for (errno = 0; (entry = readdir(dir)); errno = 0) {
        if (!is_listed(entry->d_name))
            continue;
        buf_add(names, entry->d_name, strlen(entry->d_name) + 1);
        ++*count;
    }
    return errno;
}

int files_list(int root, const char *path, struct buf *names, size_t *count)
{
    int fd, rc = files_open(root, path, O_RDONLY | O_DIRECTORY, &fd);
    DIR *dir = rc == 0 ? fdopendir(fd) : NULL;

    if (rc != 0)
        return rc;
    if (!dir) {
        rc = errno;
        close(fd);
        return rc;
    }
    rc = read_names(dir, names, count);
    closedir(dir);
    if (rc == 0 && *count > 0)
        sort_names(names, *count);
    return rc;
}

/* --- writing --- */

static int write_all(int fd, struct str data)
{
    while (data.len > 0) {
        const ssize_t written = write(fd, data.at, data.len);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno;
        data.at += written;
        data.len -= (size_t)written;
    }
    return fsync(fd) == 0 ? 0 : errno;
}

/* The new file keeps the mode of the one it replaces. */
static int keep_mode(int dir, const char *name, int fd)
{
    struct stat info;

    if (fstatat(dir, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : errno;
    if (S_ISDIR(info.st_mode))
        return EISDIR;
    if (S_ISREG(info.st_mode) && fchmod(fd, info.st_mode & 0777) != 0)
        return errno;
    return 0;
}

static int write_temp(int dir, const char *name, const char *temp, struct str data)
{
    const int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    int rc;

    if (fd < 0)
        return errno;
    rc = keep_mode(dir, name, fd);
    if (rc == 0)
        rc = write_all(fd, data);
    if (close(fd) != 0 && rc == 0)
        rc = errno;
    if (rc == 0 && renameat(dir, temp, dir, name) != 0)
        rc = errno;
    if (rc != 0)
        unlinkat(dir, temp, 0);
    else if (fsync(dir) != 0)
        rc = errno;
    return rc;
}

int files_write(int root, const char *path, struct str data)
{
    char name[NAME_MAX + 1], temp[64];
    struct str part;
    uint64_t random;
    int dir, rc;

    rc = files_parent(root, path, &dir, &part);
    if (rc != 0)
        return rc == EBUSY ? EISDIR : rc;
    memcpy(name, part.at, part.len);
    name[part.len] = '\0';
    random_bytes(&random, sizeof(random));
    snprintf(temp, sizeof(temp), TEMP_PREFIX "%016llx", (unsigned long long)random);
    rc = path[strlen(path) - 1] == '/' ? EISDIR : write_temp(dir, name, temp, data);
    close(dir);
    return rc;
}

/* --- removing --- */

static int remove_tree(int dir, const char *name, unsigned depth);

/* What somebody else removes meanwhile is gone as well. */
static int empty_folder(DIR *dir, unsigned depth)
{
    const struct dirent *entry;
    int rc = 0;

    for (errno = 0; rc == 0 && (entry = readdir(dir)); errno = 0) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = remove_tree(dirfd(dir), entry->d_name, depth + 1);
        if (rc == ENOENT)
            rc = 0;
    }
    return rc ? rc : errno;
}

static int remove_tree(int parent, const char *name, unsigned depth)
{
    int fd, rc;
    DIR *dir;

    if (unlinkat(parent, name, 0) == 0)
        return 0;
    if (errno != EISDIR)
        return errno;
    if (depth > DEPTH_MAX)
        return ENAMETOOLONG;
    fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        rc = errno;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    rc = empty_folder(dir, depth);
    closedir(dir);
    if (rc == 0 && unlinkat(parent, name, AT_REMOVEDIR) != 0)
        rc = errno;
    return rc;
}

static int remove_one(int dir, const char *name)
{
    if (unlinkat(dir, name, 0) == 0)
        return 0;
    if (errno == EISDIR && unlinkat(dir, name, AT_REMOVEDIR) == 0)
        return 0;
    return errno;
}

int files_remove(int root, const char *path, bool recursive)
{
    char name[NAME_MAX + 1];
    struct str part;
    int dir, rc;

    rc = files_parent(root, path, &dir, &part);
    if (rc != 0)
        return rc;
    memcpy(name, part.at, part.len);
    name[part.len] = '\0';
    rc = recursive ? remove_tree(dir, name, 0) : remove_one(dir, name);
    close(dir);
    return rc;
}

/* --- renaming --- */

static void copy_name(struct str part, char name[static NAME_MAX + 1])
{
    memcpy(name, part.at, part.len);
    name[part.len] = '\0';
}

int files_rename(int root, const char *from, const char *to)
{
    char old[NAME_MAX + 1], new[NAME_MAX + 1];
    int from_dir, to_dir, rc;
    struct str part;

    rc = files_parent(root, from, &from_dir, &part);
    if (rc != 0)
        return rc;
    copy_name(part, old);
    rc = files_parent(root, to, &to_dir, &part);
    if (rc == 0) {
        copy_name(part, new);
        if (renameat(from_dir, old, to_dir, new) != 0)
            rc = errno;
        else if (fsync(to_dir) != 0)
            rc = errno;
        close(to_dir);
    }
    close(from_dir);
    return rc;
}
