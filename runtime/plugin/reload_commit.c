#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/manifest.h"
#include "conf/settings.h"
#include "plugin/generation.h"
#include "plugin/instance.h"
#include "plugin/reload_impl.h"
#include "plugin/service.h"

enum { SETTLE_MS = 500 }; /* how long an answer waits for replaced instances to end */

static char *folder_name(const char *dir)
{
    const char *slash = strrchr(dir, '/');

    return mem_copy(slash ? slash + 1 : dir);
}

static void replace(char **text, char *with)
{
    free(*text);
    *text = with;
}

static struct plugin *record_for(struct candidate *c)
{
    if (!c->plugin) {
        c->plugin = mem_alloc(sizeof(*c->plugin));
        c->plugin->refs = 1;
        c->plugin->dir = mem_copy(c->dir);
        c->plugin->name = folder_name(c->dir);
    }
    return c->plugin;
}

static void keep_err(struct plugin *plugin, const struct candidate *c)
{
    free(plugin->err);
    plugin->err = NULL;
    if (!c->err)
        return;
    plugin->err = mem_alloc(sizeof(*plugin->err));
    *plugin->err = *c->err;
    if (!c->untouched)
        faults_add(&plugin->faults, c->err, "load", NULL);
}

static void update_record(struct candidate *c)
{
    struct plugin *plugin = record_for(c);

    plugin->builtin = c->builtin;
    plugin->status = c->status;
    plugin->enabled = c->status != PLUGIN_DISABLED;
    memcpy(plugin->digest, c->digest, sizeof(plugin->digest));
    keep_err(plugin, c);
    if (c->manifest) {
        struct manifest *manifest = manifest_ref(c->manifest);
        if (plugin->manifest)
            manifest_unref(plugin->manifest);
        plugin->manifest = manifest;
        replace(&plugin->name, mem_copy(manifest->name));
        replace(&plugin->version, mem_copy(manifest->version));
        replace(&plugin->base, mem_copy(manifest->base));
    }
}

/* The list of records becomes the order of discovery; the removed ones go at the end until the
 * answer was told.
 */
static void relink(struct reload *reload)
{
    struct plugin **at = &reload->plugins->first;
    const struct plan *plan = &reload->plan;

    if (reload->options.only)
        return;
    for (size_t i = 0; i < plan->len; i++) {
        *at = plan->items[i].plugin;
        at = &plan->items[i].plugin->next;
    }
    for (size_t i = 0; i < plan->removed_len; i++) {
        plan->removed[i]->status = PLUGIN_REMOVED;
        plan->removed[i]->live = NULL;
        *at = plan->removed[i];
        at = &plan->removed[i]->next;
    }
    *at = NULL;
}

void reload_forget_removed(struct reload *reload)
{
    struct plan *plan = &reload->plan;

    for (size_t i = 0; i < plan->removed_len; i++) {
        struct plugin **at = &reload->plugins->first;
        while (*at && *at != plan->removed[i])
            at = &(*at)->next;
        if (*at)
            *at = plan->removed[i]->next;
        plugin_unref(plan->removed[i]);
    }
}

static bool is_new_set(const struct reload *reload, struct instance *const *instances, size_t len)
{
    const struct generation *g = reload->plugins->generation;

    if (!g || g->len != len)
        return true;
    for (size_t i = 0; i < len; i++) {
        if (g->instances[i] != instances[i])
            return true;
    }
    return false;
}

static void swap(struct reload *reload)
{
    struct plan *plan = &reload->plan;
    struct instance **instances = mem_alloc((plan->len + 1) * sizeof(*instances));
    size_t len = 0;

    for (size_t i = 0; i < plan->order_len; i++) {
        struct instance *instance = plan_instance(&plan->items[plan->order[i]]);
        if (instance)
            instances[len++] = instance;
    }
    if (is_new_set(reload, instances, len))
        plugins_swap(reload->plugins, instances, len);
    free(instances);
}

static void settled(struct timer *timer)
{
    reload_finish((struct reload *)((char *)timer - offsetof(struct reload, settle)));
}

static void settle(struct reload *reload)
{
    reload->settling = true;
    reload->settle.fire = settled;
    timer_start(reload->plugins->options.loop, &reload->settle,
                plugins_closing(reload->plugins) ? SETTLE_MS : 0);
}

void reload_settle(struct plugins *plugins)
{
    struct reload *reload = plugins->reloads;

    if (reload && reload->settling && plugins_closing(plugins) == 0)
        timer_start(plugins->options.loop, &reload->settle, 0);
}

static void clear_pending(struct reload *reload)
{
    for (size_t i = 0; i < reload->plan.len; i++) {
        struct instance *fresh = reload->plan.items[i].fresh;
        if (fresh && fresh->service)
            fresh->service->pending = NULL;
    }
}

/* An instance that was built and is not going to be used: its onShutdown is due. */
static void discarded(struct instance *instance, const struct err *err, void *arg)
{
    (void)arg;
    if (err)
        plugins_fault(instance, err, "onShutdown", NULL);
    instance_unref(instance);
}

void reload_discard(struct reload *reload, struct candidate *c)
{
    struct instance *fresh = c->fresh;

    if (!fresh)
        return;
    c->fresh = NULL;
    if (fresh->service && fresh->service->pending == fresh)
        fresh->service->pending = NULL;
    instance_shutdown(fresh, reload->plugins->options.settings->init_timeout, discarded, NULL);
}

void reload_reject(struct reload *reload)
{
    reload->rejected = true;
    for (size_t i = 0; i < reload->plan.len; i++)
        reload_discard(reload, &reload->plan.items[i]);
    settle(reload);
}

/* The server is shutting down: what is live is ending already and must not end twice. */
void reload_give_up(struct reload *reload)
{
    reload->rejected = true;
    clear_pending(reload);
    reload_finish(reload);
}

void reload_commit(struct reload *reload)
{
    struct plan *plan = &reload->plan;

    for (size_t i = 0; i < plan->len; i++) {
        struct candidate *c = &plan->items[i];
        if (c->action != ACTION_BUILD)
            reload_discard(reload, c);
        update_record(c);
        c->plugin->live = plan_instance(c);
        if (c->plugin->live)
            instance_set_plugin(c->plugin->live, c->plugin);
    }
    relink(reload);
    clear_pending(reload);
    swap(reload);
    if (reload->apps)
        reload_apps_of(reload)->commit(reload->plugins->options.app, reload->apps);
    settle(reload);
}
