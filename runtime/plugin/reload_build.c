#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/fields.h"
#include "conf/manifest.h"
#include "conf/problems.h"
#include "conf/settings.h"
#include "plugin/instance.h"
#include "plugin/reload_impl.h"
#include "plugin/service.h"
#include "plugin/sources.h"
#include "vm/vm.h"

static bool any_failed(const struct plan *plan)
{
    for (size_t i = 0; i < plan->len; i++) {
        const struct candidate *c = &plan->items[i];
        if (!c->untouched && c->err)
            return true;
    }
    return false;
}

/* Failures while building may have taken a base back or a dependency away. */
static void all_built(struct reload *reload)
{
    struct plan *plan = &reload->plan;

    while (plan_settle_bases(plan))
        plan_order(plan);
    plan_order(plan);
    if (reload->options.dry_run)
        reload_finish(reload);
    else if (reload->plugins->shutdown_deadline)
        reload_give_up(reload);
    else if (reload->options.strict && (any_failed(plan) || !reload_apps_ok(reload)))
        reload_reject(reload);
    else
        reload_commit(reload);
}

static void go_on(struct reload *reload)
{
    reload->at++;
    reload->post.run = reload_build_next;
    loop_post(reload->plugins->options.loop, &reload->post);
}

static void built(struct instance *instance, const struct err *err, void *arg)
{
    struct reload *reload = arg;
    struct candidate *c = reload_current(reload);

    if (err) {
        reload_discard(reload, c);
        plan_fail(c, PLUGIN_FAILED, err);
    } else {
        instance->service->pending = instance;
    }
    go_on(reload);
}

static struct config *resolve(struct reload *reload, struct candidate *c)
{
    struct problems problems = {0};
    struct config *config = config_resolve(c->manifest, reload->plugins->options.env, &problems);
    struct err err;

    if (!config) {
        problems_err(&problems, &err);
        plan_fail(c, PLUGIN_FAILED, &err);
    }
    problems_fini(&problems);
    return config;
}

/* What `dry_run` can know of the code: whether it compiles. */
static void try_compile(struct candidate *c, struct instance *instance)
{
    struct err err;

    if (!c->manifest->entry)
        return;
    if (!instance_open_vm(instance, &err) || !sources_compile(instance->vm, c->dir, &err))
        plan_fail(c, PLUGIN_FAILED, &err);
}

static void build(struct reload *reload, struct candidate *c)
{
    struct config *config;
    struct err err;

    if (!plan_dependencies_ok(&reload->plan, c, &err)) {
        plan_fail(c, PLUGIN_SKIPPED, &err);
        go_on(reload);
        return;
    }
    config = resolve(reload, c);
    if (!config) {
        go_on(reload);
        return;
    }
    c->fresh = instance_new(reload->plugins, c->manifest, config, NULL);
    instance_set_plugin(c->fresh, c->plugin);
    memcpy(c->fresh->digest, c->digest, sizeof(c->digest));
    memcpy(c->fresh->env_digest, c->env_digest, sizeof(c->env_digest));
    if (reload->options.dry_run) {
        try_compile(c, c->fresh);
        go_on(reload);
        return;
    }
    instance_build(c->fresh, built, reload);
}

void reload_build_next(struct post *post)
{
    struct reload *reload = (struct reload *)((char *)post - offsetof(struct reload, post));

    if (reload->at == reload->plan.order_len)
        all_built(reload);
    else if (reload_current(reload)->action == ACTION_BUILD)
        build(reload, reload_current(reload));
    else
        go_on(reload);
}
