/* The immutable set of live instances that requests are routed by. Each reload makes the next.
 *
 * Counted: the plugins hold the current one, every request the one that received it. When the
 * last reference goes, instances that no other generation holds are drained: plugins_drained().
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct instance;
struct plugins;

struct generation {
    struct plugins *plugins;
    uint64_t number;
    unsigned refs;
    struct instance **instances; /* load order */
    size_t len;
    struct instance **request_hooks, **response_hooks; /* load order */
    size_t request_hook_count, response_hook_count;
    struct instance **server_routes, **server_fetches;
    size_t server_route_count, server_fetch_count;
    struct instance **bases; /* by base, sorted; "/" is `root` */
    size_t base_count;
    struct instance *root;
    struct generation *prev, *next; /* all that are alive */
};

/* Takes a reference of each instance. */
struct generation *generation_new(struct plugins *plugins,
                                  uint64_t number,
                                  struct instance *const *instances,
                                  size_t len);
struct generation *generation_ref(struct generation *generation);
void generation_unref(struct generation *generation);

/* The instance whose base is the first segment of `path`, without "/" ones; or NULL. */
struct instance *generation_by_base(const struct generation *generation, struct str path);
struct instance *generation_by_name(const struct generation *generation, const char *name);
