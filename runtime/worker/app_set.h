/* The worker apps that there are: what every folder came to, and who answers at which path. The
 * counterpart of a generation: immutable and counted; a reload makes the next one, and a request
 * keeps the one that it began with.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct app;
struct app_route;

enum app_status {
    APP_LOADED,
    APP_UNCHANGED,
    APP_KEPT_OLD, /* what is there now is wrong; what was there before goes on */
    APP_FAILED,
    APP_DISABLED,
    APP_REMOVED, /* only in the answer of the reload that found it gone */
};

const char *app_status_name(enum app_status status);

/* One folder. */
struct app_entry {
    char *name;    /* "hello", "@acme/hello" */
    char *version; /* the folder's; NULL: latest */
    char *dir;
    bool builtin;
    enum app_status status;
    struct app *app; /* what answers; NULL unless loaded, unchanged or kept_old */
    struct err *err; /* of kept_old and failed; else NULL */
    bool told;       /* the set before had the same error */
};

/* "latest" where there is no version. Borrowed. */
const char *app_entry_version(const struct app_entry *entry);

struct app_set {
    unsigned refs;
    struct app_entry *entries; /* in the order in which they were found */
    size_t len;
    struct app_route *routes; /* those with an app, by name, then the best first */
    size_t route_count;
};

/* Takes the entries, an allocated array, over. The caller holds the one reference. */
struct app_set *app_set_new(struct app_entry *entries, size_t len);
struct app_set *app_set_ref(struct app_set *set);
void app_set_unref(struct app_set *set); /* NULL is fine */
void app_entry_fini(struct app_entry *entry);

/* The app that answers at `path`, an escaped one, and how many of its bytes are the app's base:
 * "/hello/…" is the latest, else the highest release; "/hello@RANGE/…" the highest in the range;
 * scoped ones have two segments. NULL: none. Borrowed.
 */
struct app *app_set_find(const struct app_set *set, struct str path, size_t *base_len);
