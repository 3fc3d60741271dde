/* The temporary folders of worker processes: one for each, all in one of the server process.
 *
 * That one is locked as long as the server lives. What servers that were killed have left is
 * removed by the next one, which looks twice: what has only just been left could also be new.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "data/files.h"
#include "worker/pool_impl.h"

#define PREFIX "buntime-workers-"

enum { YOUNG_S = 10 }; /* one that is being made may not be locked yet */

static const char *system_folder(void)
{
    const char *tmp = getenv("TMPDIR");

    return tmp && *tmp ? tmp : "/tmp";
}

static void remove_path(const char *path)
{
    const char *name = strrchr(path, '/');
    char *parent = mem_copy_n(path, (size_t)(name - path));
    int fd;

    if (files_root(parent, false, &fd) == 0) {
        files_remove(fd, name + 1, true);
        close(fd);
    }
    free(parent);
}

/* --- what others have left --- */

static bool is_left(int dir)
{
    struct stat info;

    return fstat(dir, &info) == 0 && info.st_uid == geteuid() &&
           info.st_mtime + YOUNG_S < time(NULL) && flock(dir, LOCK_EX | LOCK_NB) == 0;
}

static void look_at(const char *folder, const char *name)
{
    char *path = mem_printf("%s/%s", folder, name);
    const int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (dir >= 0 && is_left(dir))
        remove_path(path);
    if (dir >= 0)
        close(dir);
    free(path);
}

static void sweep(struct job *job)
{
    const char *folder = system_folder();
    DIR *dir = opendir(folder);
    const struct dirent *entry;

    (void)job;
    while (dir && (entry = readdir(dir))) {
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0)
            look_at(folder, entry->d_name);
    }
    if (dir)
        closedir(dir);
}

static void swept(struct job *job)
{
    free(job);
}

static void sweep_soon(struct pool *pool)
{
    struct job *job = mem_alloc(sizeof(*job));

    *job = (struct job){.work = sweep, .done = swept};
    loop_submit(pool->options.loop, job);
}

static void sweep_again(struct timer *timer)
{
    sweep_soon((struct pool *)((char *)timer - offsetof(struct pool, sweep)));
}

/* --- making --- */

static bool make_base(struct pool *pool, struct err *err)
{
    char path[512];

    if (pool->tmp)
        return true;
    snprintf(path, sizeof(path), "%s/" PREFIX "XXXXXX", system_folder());
    if (!mkdtemp(path))
        return err_set(err, "NO_TMP", "cannot make a temporary folder in %s: %s", system_folder(),
                       strerror(errno));
    pool->tmp = realpath(path, NULL);
    pool->tmp_lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (pool->tmp_lock >= 0)
        flock(pool->tmp_lock, LOCK_EX | LOCK_NB);
    sweep_soon(pool);
    pool->sweep.fire = sweep_again;
    timer_start(pool->options.loop, &pool->sweep, (YOUNG_S + 2) * 1000);
    return true;
}

bool scratch_make(struct process *process, struct err *err)
{
    if (!make_base(process->pool, err))
        return false;
    process->tmp = mem_printf("%s/%s", process->pool->tmp, process->id);
    if (mkdir(process->tmp, 0700) == 0)
        return true;
    err_set(err, "NO_TMP", "cannot make %s: %s", process->tmp, strerror(errno));
    free(process->tmp);
    process->tmp = NULL;
    return false;
}

/* --- removing --- */

struct removal {
    struct job job;
    char *path;
};

static void remove_in_background(struct job *job)
{
    remove_path(((struct removal *)job)->path);
}

static void removed(struct job *job)
{
    free(((struct removal *)job)->path);
    free(job);
}

void scratch_remove(struct pool *pool, char *path)
{
    struct removal *removal;

    if (!path)
        return;
    if (rmdir(path) == 0) {
        free(path);
        return;
    }
    removal = mem_alloc(sizeof(*removal));
    removal->job = (struct job){.work = remove_in_background, .done = removed};
    removal->path = path;
    if (!pool->freeing) {
        loop_submit(pool->options.loop, &removal->job);
        return;
    }
    remove_in_background(&removal->job);
    removed(&removal->job);
}

void scratch_end(struct pool *pool)
{
    timer_stop(&pool->sweep);
    scratch_remove(pool, pool->tmp);
    if (pool->tmp_lock >= 0)
        close(pool->tmp_lock);
    pool->tmp = NULL;
}
