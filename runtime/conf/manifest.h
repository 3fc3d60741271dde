/* manifest.yaml → struct manifest: read, completely validated, with every problem told.
 *
 * Reads files of the plugin's folder and nothing else; runs no plugin code. A manifest is one
 * allocation unit, reference counted: instances and the registry share it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/problems.h"
#include "conf/value.h"

struct settings;

struct manifest_menu {
    const char *title, *icon, *path; /* icon may be NULL */
    struct manifest_menu *items;
    size_t item_count;
};

struct public_route {
    const char *method; /* "GET", …; "" = every method */
    const char *pattern;
};

/* Who may reach an app (SPEC 9). */
enum visibility {
    VISIBILITY_PUBLIC,
    VISIBILITY_PROTECTED, /* callers that the control plane would let read workers */
    VISIBILITY_INTERNAL,  /* loopback peers: other plugins and apps of this server */
};

/* What an app asks the sandbox to open; NULL-terminated lists, never NULL. */
struct permissions {
    const char *const *read, *const *write, *const *net, *const *env;
};

struct manifest {
    const char *dir;  /* the plugin's folder as found from the working directory */
    const char *file; /* dir/manifest.yaml */
    const char *name;
    const char *version; /* NULL when absent */
    const char *base;    /* NULL when absent */
    bool enabled;
    const char *entry;      /* path of the persistent code below dir ("plugin.lua"), or NULL */
    const char *entrypoint; /* worker or static entry below dir ("index.lua"), or NULL */
    bool entrypoint_is_html;
    const char *const *dependencies; /* NULL-terminated, never NULL */
    const char *const *optional_dependencies;
    const struct public_route *public_routes;
    size_t public_route_count;
    const struct manifest_menu *menus;
    size_t menu_count;
    bool critical;
    size_t memory;        /* bytes; 0 = the default */
    size_t max_body_size; /* bytes; 0 = the server's limit */
    bool jit;
    uint64_t timeout, ttl, idle_timeout; /* of apps, ms; timeout is never 0 */
    uint64_t max_requests;               /* of apps */
    enum visibility visibility;
    const struct value *env; /* a map of scalars, or NULL */
    struct permissions permissions;
    const struct value *config; /* the `config:` block, a map, or NULL */
    const struct value *root;   /* the whole document, a map */
};

/* Reads DIR/manifest.yaml or DIR/manifest.yml. Adds what it finds to `problems`; returns NULL
 * only when there is nothing to show (no name could be read). A manifest with errors is returned
 * so that name, base and version can be shown, but must not be loaded.
 */
struct manifest *
manifest_read(const char *dir, const struct settings *settings, struct problems *problems);

/* What the place of an app's folder says of it (worker/folders.h). */
struct app_place {
    const char *dir, *name;
    const char *version; /* NULL: none */
    bool named;          /* the manifest must agree with the name and the version; else they only
                            stand in for what it does not say */
};

/* The same for an app of RUNTIME_WORKER_DIRS. Its manifest may leave out the name, the version and
 * an `entrypoint` that is index.lua or index.html, and may be missing when one of these is there.
 * Never NULL: an app has at least the name of its folder.
 */
struct manifest *manifest_read_app(const struct app_place *place,
                                   const struct settings *settings,
                                   struct problems *problems);
/* One that was not read: for a worker process, which is told what it says. */
struct manifest *
manifest_told(const char *name, const char *version, const char *base, const char *dir);
struct manifest *manifest_ref(struct manifest *manifest);
void manifest_unref(struct manifest *manifest);

/* Whether `dir` holds a manifest file. */
bool manifest_exists(const char *dir);
/* Whether a name may be one of a plugin or an app. */
bool manifest_name_is_valid(const char *name);

/* (@scope/)?name: safe as a folder below another. */
bool manifest_name_is_valid(const char *name);

/* Metadata keys (name, version, base, …) are not passed to the plugin as its configuration. */
bool manifest_is_metadata(const char *key);
