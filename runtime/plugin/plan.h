/* What a reload is going to do: one candidate for each folder found, with what was read, what is
 * to happen with it, and in which order.
 *
 * Reads manifests and folders; runs no plugin code and changes nothing that is live.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "plugin/plugins.h"
#include "plugin/reload.h"

enum action {
    ACTION_NONE,  /* not live afterwards: failed, skipped, disabled */
    ACTION_KEEP,  /* the live instance goes on, unchanged or kept_old */
    ACTION_BUILD, /* a new instance is to be built */
};

struct candidate {
    char *dir;
    bool builtin;
    struct plugin *plugin;     /* its record; NULL: a folder not seen before */
    struct manifest *manifest; /* as read now, or the live one's when that is kept; may be NULL */
    char digest[DIGEST_TEXT], env_digest[DIGEST_TEXT];
    enum action action;
    enum plugin_status status;
    struct err *err;        /* owned; NULL unless kept_old, failed, skipped */
    struct instance *fresh; /* built by this reload; owned */
    bool untouched;         /* outside of what this reload is about */
};

struct plan {
    struct plugins *plugins;
    struct reload_options options;
    struct candidate *items; /* in discovery order */
    size_t len;
    size_t *order; /* indexes of what is to be live, dependencies first */
    size_t order_len;
    struct plugin **removed; /* records whose folder is gone */
    size_t removed_len;
};

void plan_make(struct plan *plan, struct plugins *plugins, const struct reload_options *options);
void plan_fini(struct plan *plan);

/* Marks that `c` did not come through: its old instance stays if it has one, or it is out. */
void plan_fail(struct candidate *c, enum plugin_status without_old, const struct err *err);

/* The instance that `c` is going to be served by, or NULL. */
struct instance *plan_instance(const struct candidate *c);

/* False (with `err`) when a required dependency of `c` will not be live. */
bool plan_dependencies_ok(const struct plan *plan, const struct candidate *c, struct err *err);

/* Fails candidates until no two that are to be live have one base. True if any was failed. */
bool plan_settle_bases(struct plan *plan);

/* Puts what is to be live in order, dependencies first; what cannot be is failed or skipped. */
void plan_order(struct plan *plan);
