/* The folder that an operation works in: beside the place where the package is going to be. */
#include "plugin/package_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "conf/settings.h"
#include "plugin/tree.h"

static const char prefix[] = ".buntime-";

/* Network file systems lock no folders; there nothing is swept either. */
static bool lock_stage(int fd)
{
    return flock(fd, LOCK_EX) == 0 || errno == EBADF || errno == ENOLCK || errno == ENOSYS ||
           errno == EOPNOTSUPP;
}

bool stage_open(struct package *package, const char *home, struct err *err)
{
    char *path;

    if (!tree_make(home, 0755))
        return tree_err(err, home);
    path = mem_printf("%s/%sXXXXXX", home, prefix);
    if (!mkdtemp(path)) {
        free(path);
        return tree_err(err, home);
    }
    package->stage = path;
    package->lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (package->lock < 0 || !lock_stage(package->lock))
        return tree_err(err, "the package's folder cannot be used");
    return true;
}

void stage_close(struct package *package)
{
    if (package->upload >= 0)
        close(package->upload);
    package->upload = -1;
    if (package->stage)
        tree_remove(package->stage);
    free(package->stage);
    package->stage = NULL;
    if (package->lock >= 0)
        close(package->lock);
    package->lock = -1;
}

/* --- what a crash has left --- */

/* A stage whose process lives is locked. */
static void remove_abandoned(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        tree_remove(path);
    close(fd);
}

static void sweep_dir(const char *dir)
{
    DIR *entries = opendir(dir);
    const struct dirent *entry;

    while (entries && (entry = readdir(entries))) {
        char *path;
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        path = path_join(dir, entry->d_name);
        remove_abandoned(path);
        free(path);
    }
    if (entries)
        closedir(entries);
}

static void sweep_dirs(char *const *dirs)
{
    for (; *dirs; dirs++) {
        if (!plugin_dir_is_builtin(*dirs))
            sweep_dir(*dirs);
    }
}

void packages_sweep(const struct settings *settings)
{
    sweep_dirs(settings->plugin_dirs.items);
    sweep_dirs(settings->worker_dirs.items);
}
