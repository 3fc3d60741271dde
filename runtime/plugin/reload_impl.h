/* What the files of a reload share: reload.c has the queue and the answer, reload_build.c makes the
 * new instances beside the live ones, reload_commit.c swaps them in. Not for other folders.
 */
#pragma once

#include "plugin/plan.h"
#include "plugin/plugins_impl.h"

struct waiter {
    reload_done *done;
    void *arg;
    struct waiter *next;
};

/* Stands in the queue as a reload of its own. It is its holder's; `queued` is NULL once the plugins
 * are gone.
 */
struct reload_hold {
    struct reload *queued;
    void (*granted)(void *arg); /* NULL: it was called */
    void *arg;
};

struct reload {
    struct plugins *plugins;
    struct reload_options options;
    char *only, *staged, *staged_at;
    struct reload_hold *held; /* no reload, but the place of this in the queue */
    struct waiter *waiters;
    struct plan plan;
    struct registry_scan *apps; /* or NULL */
    size_t at;                  /* the next of plan.order to build */
    uint64_t started_ms;
    bool rejected, settling;
    struct post post;
    struct timer settle;
    struct reload *next;
};

/* The candidate whose turn it is. */
static inline struct candidate *reload_current(struct reload *reload)
{
    return &reload->plan.items[reload->plan.order[reload->at]];
}

const struct reload_apps *reload_apps_of(const struct reload *reload);
bool reload_apps_ok(const struct reload *reload);

/* Tells everyone, then makes way for the next reload. */
void reload_finish(struct reload *reload);

void reload_build_next(struct post *post);

/* What follows when all are built; each ends in reload_finish(), maybe later. */
void reload_commit(struct reload *reload);
void reload_reject(struct reload *reload); /* nothing changes */
void reload_give_up(struct reload *reload);

/* An instance that was built and is not going to be used: its onShutdown is due. */
void reload_discard(struct reload *reload, struct candidate *c);
void reload_forget_removed(struct reload *reload);
