/* The commands of the program, one file each; main.c has their table. */
#pragma once

#include "conf/settings.h"

/* What a command is given: the settings with the flags taken, and the words left over. */
struct invocation {
    struct settings *settings;
    char **words; /* NULL-terminated */
    int count;
    const char *mode; /* `new --mode`, or NULL */
};

/* Each returns the exit code. */
int command_serve(struct invocation *in);
int command_dev(struct invocation *in);
int command_health(struct invocation *in);
int command_new(struct invocation *in);
int command_check(struct invocation *in);
int command_test(struct invocation *in);
int command_run(struct invocation *in);

/* Not a command for people: the server starts it to run an app in (app/worker.h). */
int command_worker(void);
