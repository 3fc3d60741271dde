#include "plugin/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { LINK_MAX_LEN = 4096 };

bool tree_err(struct err *err, const char *what)
{
    const bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;

    return err_set(err, full ? "STORAGE_FULL" : "IO", "%s: %s", what, strerror(errno));
}

bool tree_make(const char *path, unsigned mode)
{
    char *text = mem_copy(path);
    bool ok = true;

    for (char *slash = strchr(text + 1, '/'); ok && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ok = mkdir(text, mode) == 0 || errno == EEXIST;
        *slash = '/';
    }
    ok = ok && (mkdir(text, mode) == 0 || errno == EEXIST);
    free(text);
    return ok;
}

bool tree_sync(const char *dir)
{
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool ok = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    return ok;
}

/* Names are compared by bytes so that the order is the same everywhere. */
static FTS *walk(const char *path)
{
    char *const paths[] = {(char *)(uintptr_t)path, NULL};

    return fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
}

/* --- copying --- */

static bool copy_file(const char *from, const char *to, mode_t mode)
{
    const int in = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    const int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = out >= 0;
    ssize_t n = 1;

    while (ok && n > 0)
        ok = (n = sendfile(out, in, NULL, 1 << 20)) >= 0 || errno == EINTR;
    ok = ok && fchmod(out, mode & 0777) == 0;
    if (out >= 0 && close(out) != 0)
        ok = false;
    if (in >= 0)
        close(in);
    return ok;
}

static bool copy_link(const char *from, const char *to)
{
    char target[LINK_MAX_LEN];
    const ssize_t len = readlink(from, target, sizeof(target) - 1);

    if (len < 0)
        return false;
    target[len] = '\0';
    return symlink(target, to) == 0;
}

/* Folders are writable while they are filled. */
static bool copy_entry(const FTSENT *entry, const char *to)
{
    switch (entry->fts_info) {
    case FTS_D:
        return mkdir(to, 0700) == 0;
    case FTS_DP:
        return chmod(to, entry->fts_statp->st_mode & 0777) == 0;
    case FTS_F:
        return copy_file(entry->fts_accpath, to, entry->fts_statp->st_mode);
    case FTS_SL:
    case FTS_SLNONE:
        return copy_link(entry->fts_accpath, to);
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        errno = entry->fts_errno;
        return false;
    default:
        return true;
    }
}

bool tree_copy(const char *from, const char *to, struct err *err)
{
    const size_t prefix = strlen(from);
    FTS *tree = walk(from);
    FTSENT *entry;
    bool ok = tree != NULL;

    while (ok && (entry = fts_read(tree))) {
        char *path = mem_printf("%s%s", to, entry->fts_path + prefix);
        ok = copy_entry(entry, path);
        free(path);
    }
    if (!ok)
        tree_err(err, "a folder cannot be copied");
    if (tree)
        fts_close(tree);
    return ok;
}

/* --- removing --- */

void tree_remove(const char *path)
{
    FTS *tree = walk(path);
    FTSENT *entry;

    while (tree && (entry = fts_read(tree))) {
        if (entry->fts_info == FTS_D)
            chmod(entry->fts_accpath, 0700);
        else if (entry->fts_info == FTS_DP)
            rmdir(entry->fts_accpath);
        else
            unlink(entry->fts_accpath);
    }
    if (tree)
        fts_close(tree);
}
