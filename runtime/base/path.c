#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

char *path_join(const char *dir, const char *rest)
{
    const size_t len = strlen(dir);

    if (len == 0)
        return mem_copy(rest);
    return mem_printf("%s%s%s", dir, dir[len - 1] == '/' ? "" : "/", rest);
}

const char *path_tidy(const char *path)
{
    while (path[0] == '.' && path[1] == '/') {
        const char *rest = path + 1 + strspn(path + 1, "/");
        if (!*rest)
            return ".";
        path = rest;
    }
    return path;
}

const char *path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

bool path_has_extension(const char *path, const char *extension)
{
    const char *name = path_name(path);
    const size_t len = strlen(name), ext_len = strlen(extension);

    return len > ext_len && strcmp(name + len - ext_len, extension) == 0;
}

bool path_stays_below(const char *path)
{
    if (path[0] == '/')
        return false;
    while (*path) {
        const size_t len = strcspn(path, "/");
        if (len == 2 && path[0] == '.' && path[1] == '.')
            return false;
        path += len;
        path += strspn(path, "/");
    }
    return true;
}

enum path_place path_place(const char *root, const char *path)
{
    char real_root[PATH_MAX], real_path[PATH_MAX];
    size_t len;

    if (!realpath(root, real_root) || !realpath(path, real_path))
        return PATH_MISSING;
    len = strlen(real_root);
    if (len == 1)
        return PATH_INSIDE;
    if (strncmp(real_root, real_path, len) != 0)
        return PATH_OUTSIDE;
    return real_path[len] == '/' || real_path[len] == '\0' ? PATH_INSIDE : PATH_OUTSIDE;
}

bool path_is_file(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool path_is_dir(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Reads to the end, whatever the size was when the file was opened. */
static bool read_all(int fd, size_t max, struct buf *out, const char *path, struct err *err)
{
    for (;;) {
        char *at = buf_reserve(out, 16384);
        const ssize_t n = read(fd, at, 16384);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, "IO", "%s: %s", path, strerror(errno));
        out->len += (size_t)n;
        out->data[out->len] = '\0';
        if (out->len > max)
            return err_set(err, "TOO_LARGE", "%s: larger than %zu bytes", path, max);
        if (n == 0)
            return true;
    }
}

bool file_read(const char *path, size_t max, struct buf *out, struct err *err)
{
    /* O_NONBLOCK: opening a FIFO must not wait for somebody to write to it. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    bool ok;

    if (fd < 0)
        return err_set(err, "IO", "%s: %s", path, strerror(errno));
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        ok = err_set(err, "IO", "%s: not a file", path);
    else
        ok = read_all(fd, max, out, path, err);
    close(fd);
    return ok;
}
