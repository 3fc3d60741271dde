/* What plugins.c, reload.c and plan.c share. Not for other folders. */
#pragma once

#include "ev/loop.h"
#include "plugin/plugins.h"
#include "plugin/reload.h"

struct reload;

struct plugins {
    struct plugins_options options;
    struct plugin *first;
    struct generation *generation;
    uint64_t generation_number;
    struct service *services;
    struct reload *reloads;    /* the running one, then those that wait */
    struct drain *drains;      /* replaced instances that are not closed yet */
    struct reload_leak *leaks; /* told by the answer of the running reload */
    size_t leak_count;
    struct reload_counts counts;

    /* shutting down */
    struct timer shutdown_timer;
    uint64_t shutdown_deadline;
    size_t shutdown_next;
    bool shutdown_walked; /* every live instance is closed */
    void (*shutdown_done)(void *arg);
    void *shutdown_arg;
};

/* Makes `instances` the current generation and drains those it does not hold. */
void plugins_swap(struct plugins *plugins, struct instance *const *instances, size_t len);

/* How many replaced instances are on their way out without a request in them. */
size_t plugins_closing(const struct plugins *plugins);
void plugins_forget_leaks(struct plugins *plugins);

/* Called when a replaced instance is closed; the running reload may wait for it. */
void reload_settle(struct plugins *plugins);
void reloads_free(struct plugins *plugins);
