/* Child processes of this one: started from a program, watched, reaped without blocking.
 *
 * One `struct children` a loop. A `struct child` is its owner's and must outlive its `exited`,
 * which is called once the process was reaped, on the loop.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct children;
struct loop;

struct child {
    void (*exited)(struct child *child, int status); /* as waitpid() gives it */
    pid_t pid;                                       /* 0: not running */
    struct child *prev, *next;
};

struct child_options {
    const char *path;
    char *const *argv, *const *env;
    const int *fds; /* become 3, 4, …; standard input is empty, output and error are ours */
    int fd_count;
};

struct children *children_new(struct loop *loop, struct err *err);
void children_free(struct children *children); /* kills and reaps those that are left */

/* It gets a process group of its own, default signals, and no descriptor but those given. */
bool child_start(struct children *children,
                 struct child *child,
                 const struct child_options *options,
                 struct err *err);
void child_kill(struct child *child, int number); /* no-op if not running */
