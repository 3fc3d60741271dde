/* What a worker process may read, write and reach: its app's manifest, made definite for
 * sandbox_enter(). Made by the server for each process that it starts.
 *
 * Folders of the manifest are absolute or relative to the app; links are resolved here, and what is
 * the server's own (state, other apps, plugins, key files) cannot be asked for. What every process
 * may read: its app, certificates, time zones, shared libraries, Lua modules of the machine. What
 * it may write: its temporary folder.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"

struct app;
struct settings;

struct policy {
    char **read, **write; /* absolute, NULL-terminated */
    /* Where files go that the app names without saying where: the first folder of
     * permissions.write, else the temporary one. Borrowed from `write`.
     */
    const char *data;
};

/* NULL: a folder of the manifest is not there, or is not to be had. Those of permissions.write are
 * made.
 */
struct policy *policy_new(const struct app *app,
                          const struct settings *settings,
                          const char *temp_dir,
                          struct err *err);
void policy_free(struct policy *policy); /* NULL is fine */
