/* What a worker process may still do once its app's code runs, as the kernel enforces it:
 * no_new_privs, rlimits, Landlock for files, seccomp for system calls.
 *
 * Entered once, in the child, after exec and before any code of the app; there is no way back.
 * Everything is optional for the kernel: what it lacks is told, so that the caller can log it or
 * refuse to serve (RUNTIME_SANDBOX=require). Pure policy in, system calls out: knows no apps.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum sandbox_part {
    SANDBOX_NO_NEW_PRIVS = 1,
    SANDBOX_LIMITS = 2,
    SANDBOX_FILES = 4,    /* Landlock, file system */
    SANDBOX_CALLS = 8,    /* seccomp */
    SANDBOX_NETWORK = 16, /* what `net` opens is held to host and port */
    SANDBOX_SIGNALS = 32, /* no signal leaves the process (Landlock scope, or seccomp) */
    SANDBOX_ALL = 63,
};

struct sandbox {
    const char *const *read;  /* folders and files, absolute; NULL-terminated; NULL: none */
    const char *const *write; /* likewise; may also be read */
    const char *const *net;   /* "host:port"; NULL or empty: no sockets at all */
    size_t memory;            /* bytes of address space that data may take; 0: no limit */
    size_t files;             /* descriptors; 0: the default of 256 */
    size_t file_size;         /* bytes of one written file; 0: the default of 1 GiB */
};

/* What this kernel can do, as enum sandbox_part bits. Changes nothing. */
unsigned sandbox_supported(void);
/* "files (Landlock)", for the log and for readiness. */
const char *sandbox_part_name(enum sandbox_part part);
/* What of `parts` is not set in `have`, by name with ", " between; "" when nothing is missing. */
void sandbox_missing(unsigned parts, unsigned have, char *out, size_t size);

/* Enters it. `*applied` is what holds from now on. False when a part that the kernel supports could
 * not be set up: the process must not go on then. The process has one thread, and has loaded what
 * it links to; `memory` counts from what it has by now.
 */
bool sandbox_enter(const struct sandbox *sandbox, unsigned *applied, struct err *err);

/* No further threads, for all threads that there are. Once, after sandbox_enter(), and only where
 * `net` opens nothing: libcurl looks each name up in a thread of its own.
 */
bool sandbox_seal(struct err *err);
