#include "data/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "base/mem.h"
#include "base/path.h"

enum { FOLDER_MODE = 0755, RETRIES = 20, BENEATH = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };

/* Learned once: a kernel, or a filter of system calls, that does not know openat2. */
static atomic_bool no_openat2;

void files_without_openat2(bool without)
{
    no_openat2 = without;
}

/* --- resolving --- */

static int open_how(int root, const char *path, int flags, uint64_t resolve)
{
    struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC, .resolve = resolve};

    return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

static int open_beneath(int root, const char *path, int flags)
{
    int fd = -1;

    for (int i = 0; i < RETRIES; i++) {
        fd = open_how(root, path, flags, BENEATH);
        if (fd >= 0 || errno != EAGAIN) /* something was renamed meanwhile */
            break;
    }
    return fd;
}

/* The length of the first part of `path`, and where the next one starts. */
static size_t first_part(const char *path, const char **next)
{
    const size_t len = strcspn(path, "/");

    *next = path + len + strspn(path + len, "/");
    return len;
}

static bool is_link(int dir, const char *name)
{
    struct stat info;

    return fstatat(dir, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode);
}

/* ELOOP for a link, whatever open(2) makes of it: O_PATH opens it, O_DIRECTORY says ENOTDIR. */
static int open_part(int dir, const char *name, int flags)
{
    int fd = is_link(dir, name) ? -1 : openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC);
    struct stat info;

    if (fd >= 0 && fstat(fd, &info) == 0 && !S_ISLNK(info.st_mode))
        return fd;
    if (fd >= 0)
        close(fd);
    if (fd >= 0 || is_link(dir, name))
        errno = ELOOP;
    return -1;
}

/* Part by part, following no link. */
static int open_by_steps(int root, const char *path, int flags)
{
    char part[NAME_MAX + 1];
    int at = openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    while (at >= 0) {
        const char *next;
        const size_t len = first_part(path, &next);
        int next_at;

        if (len > NAME_MAX) {
            close(at);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(part, path, len);
        part[len] = '\0';
        next_at = open_part(at, part, *next ? O_PATH | O_DIRECTORY : flags);
        close(at);
        if (next_at < 0 || !*next)
            return next_at;
        at = next_at;
        path = next;
    }
    return -1;
}

/* Which errors mean that the path would leave. */
static int leaving(int number)
{
    return number == EXDEV || number == ELOOP ? EACCES : number;
}

static bool lacks_openat2(int number)
{
    return number == ENOSYS || number == EPERM;
}

int files_open(int root, const char *path, int flags, int *fd)
{
    if (!path_stays_below(path))
        return EACCES;
    if (!*path)
        path = ".";
    if (!no_openat2) {
        *fd = open_beneath(root, path, flags);
        if (*fd >= 0)
            return 0;
        if (!lacks_openat2(errno))
            return leaving(errno);
    }
    *fd = open_by_steps(root, path, flags);
    if (*fd < 0)
        return leaving(errno);
    no_openat2 = true;
    return 0;
}

/* --- folders --- */

static int make_root(const char *path)
{
    char *copy = mem_copy(path);
    int rc = 0;

    for (char *at = copy + 1; rc == 0; at++) {
        const char end = *at;

        if (end != '/' && end != '\0')
            continue;
        *at = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST)
            rc = errno;
        *at = end;
        if (!end)
            break;
    }
    free(copy);
    return rc;
}

int files_root(const char *path, bool create, int *fd)
{
    int rc;

    *fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*fd >= 0)
        return 0;
    if (errno != ENOENT || !create)
        return errno;
    rc = make_root(path);
    if (rc != 0)
        return rc;
    *fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return *fd >= 0 ? 0 : errno;
}

int files_open_cached(const char *dir, const char *path, int flags, int *fd)
{
    int root, rc;

    if (no_openat2 || !path_stays_below(path))
        return EAGAIN;
    root = open_how(AT_FDCWD, dir, O_PATH | O_DIRECTORY, RESOLVE_CACHED);
    if (root < 0)
        return EAGAIN;
    *fd = open_how(root, *path ? path : ".", flags, BENEATH | RESOLVE_CACHED);
    rc = *fd >= 0 ? 0 : errno == ENOENT ? ENOENT : EAGAIN;
    close(root);
    return rc;
}

static size_t trimmed_len(const char *path)
{
    size_t len = strlen(path);

    while (len > 0 && path[len - 1] == '/')
        len--;
    return len;
}

int files_parent(int root, const char *path, int *fd, struct str *name)
{
    size_t len = trimmed_len(path), start = len;
    char *dir;
    int rc;

    while (start > 0 && path[start - 1] != '/')
        start--;
    *name = (struct str){path + start, len - start};
    if (!path_stays_below(path))
        return EACCES;
    if (name->len == 0 || str_equal(*name, STR(".")))
        return EBUSY;
    if (name->len > NAME_MAX)
        return ENAMETOOLONG;
    dir = mem_copy_n(path, start);
    rc = files_open(root, dir, O_RDONLY | O_DIRECTORY, fd);
    free(dir);
    return rc;
}

/* Makes one folder, whose parent is there; fine when it is there already. */
static int make_folder(int root, const char *path)
{
    char part[NAME_MAX + 1];
    struct str name;
    int dir, fd, rc;

    rc = files_open(root, path, O_PATH | O_DIRECTORY, &fd);
    if (rc == 0)
        close(fd);
    if (rc != ENOENT)
        return rc == ENOTDIR ? EEXIST : rc;
    rc = files_parent(root, path, &dir, &name);
    if (rc != 0)
        return rc;
    memcpy(part, name.at, name.len);
    part[name.len] = '\0';
    if (mkdirat(dir, part, FOLDER_MODE) != 0)
        rc = errno;
    close(dir);
    if (rc != EEXIST)
        return rc;
    /* Somebody else made it meanwhile, or a link leads nowhere. */
    rc = files_open(root, path, O_PATH | O_DIRECTORY, &fd);
    if (rc == 0)
        close(fd);
    return rc == 0 ? 0 : EEXIST;
}

int files_mkdir(int root, const char *path)
{
    char *copy = mem_copy_n(path, trimmed_len(path));
    int rc = path_stays_below(path) ? 0 : EACCES;

    for (char *at = copy; rc == 0 && *copy; at++) {
        const char end = *at;

        if (end != '/' && end != '\0')
            continue;
        *at = '\0';
        rc = make_folder(root, copy);
        *at = end;
        if (!end)
            break;
    }
    free(copy);
    return rc;
}
