/* The name under which a plugin provides something to others. Services are never freed while the
 * plugins live, so that a consumer can keep one across every reload of the provider.
 */
#pragma once

#include <stdbool.h>

struct instance;
struct plugins;

struct service {
    char *name;
    struct instance *live;    /* what requests reach; NULL: not loaded */
    struct instance *pending; /* built by a reload that has not swapped yet, or NULL */
    struct service *next;
};

/* Finds or makes the service of plugin `name`. */
struct service *service_get(struct plugins *plugins, const char *name);

/* The provider that `consumer` is to use: one that is still being loaded sees its fellows of the
 * same reload, everybody else sees what is live. NULL when there is none.
 */
struct instance *service_provider(const struct service *service, const struct instance *consumer);
