#include "ev/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "ev/loop.h"

enum { FIRST_FD = 3, FDS_MAX = 8 };

struct children {
    struct signal_watch watch;
    struct child *first;
};

static void unlink_child(struct children *children, struct child *child)
{
    if (child->prev)
        child->prev->next = child->next;
    else
        children->first = child->next;
    if (child->next)
        child->next->prev = child->prev;
    child->prev = child->next = NULL;
}

/* One whose process has ended, or NULL. Signals of several ends may come as one. */
static struct child *find_ended(struct children *children, int *status)
{
    for (struct child *child = children->first; child; child = child->next) {
        if (waitpid(child->pid, status, WNOHANG) == child->pid)
            return child;
    }
    return NULL;
}

static void on_signal(struct signal_watch *watch)
{
    struct children *children = (struct children *)watch;
    struct child *child;
    int status = 0;

    while ((child = find_ended(children, &status))) {
        unlink_child(children, child);
        child->pid = 0;
        child->exited(child, status);
    }
}

struct children *children_new(struct loop *loop, struct err *err)
{
    struct children *children = mem_alloc(sizeof(*children));

    children->watch = (struct signal_watch){.on = on_signal, .number = SIGCHLD};
    if (signal_start(loop, &children->watch, err))
        return children;
    free(children);
    return NULL;
}

void children_free(struct children *children)
{
    if (!children)
        return;
    signal_stop(&children->watch);
    for (struct child *child = children->first; child; child = child->next)
        kill(child->pid, SIGKILL);
    for (struct child *child = children->first; child; child = child->next) {
        while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        child->pid = 0;
    }
    free(children);
}

/* Copies far above those that the child will have, so that none is in another's way. */
static bool lift(const struct child_options *options, int *lifted)
{
    for (int i = 0; i < options->fd_count; i++) {
        lifted[i] = fcntl(options->fds[i], F_DUPFD_CLOEXEC, FIRST_FD + FDS_MAX);
        if (lifted[i] < 0)
            return false;
    }
    return true;
}

static int spawn(struct child *child, const struct child_options *options, const int *fds)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int rc;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    for (int i = 0; i < options->fd_count; i++)
        posix_spawn_file_actions_adddup2(&actions, fds[i], FIRST_FD + i);
    posix_spawn_file_actions_addclosefrom_np(&actions, FIRST_FD + options->fd_count);
    rc = posix_spawn(&child->pid, options->path, &actions, &attr, options->argv, options->env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return rc;
}

bool child_start(struct children *children,
                 struct child *child,
                 const struct child_options *options,
                 struct err *err)
{
    int fds[FDS_MAX] = {-1, -1, -1, -1, -1, -1, -1, -1};
    const int rc = lift(options, fds) ? spawn(child, options, fds) : errno;

    for (int i = 0; i < options->fd_count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    if (rc != 0) {
        child->pid = 0;
        return err_set(err, "NO_PROCESS", "cannot start a process: %s", strerror(rc));
    }
    child->prev = NULL;
    child->next = children->first;
    if (child->next)
        child->next->prev = child;
    children->first = child;
    return true;
}

void child_kill(struct child *child, int number)
{
    if (child->pid > 0)
        kill(child->pid, number);
}
