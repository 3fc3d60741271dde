/* A worker app as it was found on disk: the manifest, and where it answers. Immutable and counted;
 * a reload that finds other content makes another one.
 */
#pragma once

#include <stdbool.h>

#include "conf/digest.h"

struct manifest;

struct app {
    unsigned refs;
    char *name;    /* "hello", "@acme/hello"; of a plugin's serverless side the plugin's name */
    char *version; /* "1.0.0"; NULL: the folder says none, which is `latest` */
    char *dir;     /* as found from the working directory */
    char *base;    /* a plugin's base; NULL for an app of RUNTIME_WORKER_DIRS */
    bool builtin;
    bool retired;              /* by pool_retire() */
    struct manifest *manifest; /* counted by the app */
    char digest[DIGEST_TEXT];
};

/* Takes a reference of the manifest; copies the rest. The caller holds the one reference. */
struct app *app_new(const struct app *like);
struct app *app_ref(struct app *app);
void app_unref(struct app *app); /* NULL is fine */
