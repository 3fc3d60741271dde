/* The environment of an app's process (SPEC 9): what the runtime says, the literals of the
 * manifest's `env`, and what `permissions.env` names of the server's own environment.
 *
 * Pure: nothing else of the server's environment gets through, no secret of it even when named
 * (conf/env_names.h), and no name of the runtime's can be taken. The manifest's reader warns of
 * what is left out here.
 */
#pragma once

struct app;
struct env_source;

struct environ_facts {
    const char *worker_id;           /* "w12" */
    const char *api_url;             /* RUNTIME_API_URL */
    const char *temp_dir;            /* TMPDIR: the process's own folder */
    const struct env_source *server; /* for permissions.env; NULL: there is none */
    const char *const *own; /* names that the program itself reads of its environment; or NULL */
};

/* "NAME=value" texts, NULL-terminated, as execve() takes them. APP_DIR is absolute, so the folder
 * must still be there. Facts that are NULL are left out. Freed by environ_free().
 */
char **environ_make(const struct app *app, const struct environ_facts *facts);
void environ_free(char **environ_list); /* NULL is fine */

/* The values of what `permissions.env` names, as one text: when it changes, so does the app.
 * Freed by the caller.
 */
char *environ_passed(const struct app *app, const struct env_source *server);
