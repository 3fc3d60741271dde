#include "plugin/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "conf/fields.h"
#include "conf/manifest.h"
#include "conf/problems.h"
#include "conf/settings.h"
#include "plugin/discover.h"
#include "plugin/instance.h"
#include "plugin/order.h"
#include "plugin/plugins_impl.h"

/* --- reading --- */

static struct plugin *record_of(struct plugins *plugins, const char *dir)
{
    struct plugin *plugin = plugins->first;

    while (plugin && strcmp(plugin->dir, dir) != 0)
        plugin = plugin->next;
    return plugin;
}

/* Masked here, while the configuration whose secrets it may repeat is still known: that of an
 * instance which failed is gone when the answer is made.
 */
static void set_err(struct candidate *c, const struct err *err)
{
    if (!c->err)
        c->err = mem_alloc(sizeof(*c->err));
    *c->err = *err;
    log_mask(c->err->message);
    log_mask(c->err->traceback);
}

static struct instance *live_of(const struct candidate *c)
{
    return c->plugin ? c->plugin->live : NULL;
}

/* Keeping the old instance means being the plugin that it was loaded from. */
static void keep_old(struct candidate *c)
{
    struct manifest *manifest = manifest_ref(live_of(c)->manifest);

    if (c->manifest)
        manifest_unref(c->manifest);
    c->manifest = manifest;
    c->action = ACTION_KEEP;
    c->status = PLUGIN_KEPT_OLD;
}

void plan_fail(struct candidate *c, enum plugin_status without_old, const struct err *err)
{
    set_err(c, err);
    if (live_of(c) && c->action != ACTION_KEEP) {
        keep_old(c);
        return;
    }
    c->action = ACTION_NONE;
    c->status = without_old;
}

static void
tell_warnings(struct plugins *plugins, const struct candidate *c, const struct problems *problems)
{
    for (size_t i = 0; i < problems->len; i++) {
        if (!problems->items[i].warning)
            continue;
        char *text = problem_text(&problems->items[i]);
        plugins_notice(plugins, LOG_WARN, c->manifest ? c->manifest->name : NULL, "%s", text);
        free(text);
    }
}

static bool is_quarantined(const struct plugins *plugins, const struct candidate *c)
{
    const struct plugins_options *options = &plugins->options;

    return options->quarantined && options->quarantined(options->app, c->manifest->name, c->digest);
}

static void read_candidate(struct plan *plan, struct candidate *c)
{
    struct plugins *plugins = plan->plugins;
    struct problems problems = {0};
    struct err err;

    c->action = ACTION_BUILD;
    c->status = PLUGIN_LOADED;
    digest_folder(c->dir, c->digest);
    c->manifest = manifest_read(c->dir, plugins->options.settings, &problems);
    if (c->manifest)
        config_env_digest(c->manifest, plugins->options.env, c->env_digest);
    tell_warnings(plugins, c, &problems);
    if (problems.errors > 0) {
        problems_err(&problems, &err);
        plan_fail(c, PLUGIN_FAILED, &err);
    } else if (!c->manifest->enabled) {
        c->action = ACTION_NONE;
        c->status = PLUGIN_DISABLED;
    } else if (is_quarantined(plugins, c)) {
        err_set(&err, "QUARANTINED",
                "it took the server down three times in a minute and is left out until its files "
                "change");
        plan_fail(c, PLUGIN_QUARANTINED, &err);
    }
    problems_fini(&problems);
}

/* What this reload is not about stays as it is. */
static void leave_alone(struct candidate *c)
{
    struct plugin *plugin = c->plugin;

    c->untouched = true;
    c->status =
        plugin->live && plugin->status != PLUGIN_KEPT_OLD ? PLUGIN_UNCHANGED : plugin->status;
    c->action = plugin->live ? ACTION_KEEP : ACTION_NONE;
    if (plugin->live)
        c->manifest = manifest_ref(plugin->live->manifest);
    else if (plugin->manifest)
        c->manifest = manifest_ref(plugin->manifest);
    memcpy(c->digest, plugin->digest, sizeof(c->digest));
    if (plugin->err)
        set_err(c, plugin->err);
}

static bool is_staged(const struct plan *plan, const char *dir)
{
    return plan->options.staged && strcmp(dir, plan->options.staged_at) == 0;
}

static void add_candidate(struct plan *plan, const struct found *found)
{
    struct plugin *plugin = record_of(plan->plugins, found->dir);
    const char *only = plan->options.only;
    struct candidate *c;

    if (only && !plugin) /* found by the next reload of all */
        return;
    c = &plan->items[plan->len++];
    c->dir = mem_copy(is_staged(plan, found->dir) ? plan->options.staged : found->dir);
    c->builtin = found->builtin;
    c->plugin = plugin;
    if (only && strcmp(plugin->name, only) != 0 && plugin->status != PLUGIN_KEPT_OLD)
        leave_alone(c);
    else
        read_candidate(plan, c);
}

static void find_removed(struct plan *plan)
{
    size_t count = 0;

    for (struct plugin *p = plan->plugins->first; p; p = p->next)
        count++;
    plan->removed = mem_alloc((count + 1) * sizeof(*plan->removed));
    for (struct plugin *p = plan->plugins->first; p; p = p->next) {
        size_t i = 0;
        while (i < plan->len && plan->items[i].plugin != p)
            i++;
        if (i == plan->len)
            plan->removed[plan->removed_len++] = p;
    }
}

/* --- names --- */

static const char *name_of(const struct candidate *c)
{
    return c->manifest ? c->manifest->name : NULL;
}

/* Of two folders with one name the one that is live under it wins, else the first found. */
static bool yields(const struct candidate *c, const struct candidate *other, bool other_first)
{
    const struct instance *mine = live_of(c), *theirs = live_of(other);
    const char *name = name_of(c);
    const bool i_have_it = mine && strcmp(mine->name, name) == 0;
    const bool they_have_it = theirs && strcmp(theirs->name, name) == 0;

    if (i_have_it != they_have_it)
        return they_have_it;
    return other_first;
}

static bool is_rival(const struct candidate *c, const struct candidate *other)
{
    const char *a = name_of(c), *b = name_of(other);

    return c != other && a && b && strcmp(a, b) == 0 &&
           !(other->err && strcmp(other->err->code, "DUPLICATE_PLUGIN") == 0);
}

static void settle_names(struct plan *plan)
{
    for (size_t i = 0; i < plan->len; i++) {
        struct candidate *c = &plan->items[i];
        for (size_t k = 0; k < plan->len; k++) {
            const struct candidate *other = &plan->items[k];
            struct err err;
            if (!is_rival(c, other) || !yields(c, other, k < i))
                continue;
            err_set(&err, "DUPLICATE_PLUGIN", "two plugins are named \"%s\": %s is used, %s is not",
                    name_of(c), other->dir, c->dir);
            plan_fail(c, PLUGIN_FAILED, &err);
            break;
        }
    }
}

/* --- changes --- */

static bool is_same(const struct candidate *c)
{
    const struct instance *live = live_of(c);

    return live && c->plugin->status != PLUGIN_KEPT_OLD && strcmp(live->digest, c->digest) == 0 &&
           strcmp(live->env_digest, c->env_digest) == 0;
}

static void keep_unchanged(struct plan *plan)
{
    for (size_t i = 0; plan->options.changed && i < plan->len; i++) {
        struct candidate *c = &plan->items[i];
        if (c->action == ACTION_BUILD && is_same(c)) {
            c->action = ACTION_KEEP;
            c->status = PLUGIN_UNCHANGED;
        }
    }
}

/* --- bases --- */

static const char *base_of(const struct candidate *c)
{
    return c->action != ACTION_NONE && c->manifest ? c->manifest->base : NULL;
}

/* Who has to give way for a base: what is kept stays, then who has it live, then the first. */
static int claim(const struct candidate *c)
{
    const struct instance *live = live_of(c);

    if (c->action == ACTION_KEEP)
        return 2;
    return live && live->manifest->base && strcmp(live->manifest->base, base_of(c)) == 0;
}

static struct candidate *weaker(struct candidate *first, struct candidate *second)
{
    return claim(second) > claim(first) ? first : second;
}

static struct candidate *find_conflict(struct plan *plan, const struct candidate **winner)
{
    for (size_t i = 0; i < plan->len; i++) {
        for (size_t k = i + 1; k < plan->len; k++) {
            struct candidate *a = &plan->items[i], *b = &plan->items[k];
            if (!base_of(a) || !base_of(b) || strcmp(base_of(a), base_of(b)) != 0)
                continue;
            struct candidate *loser = weaker(a, b);
            *winner = loser == a ? b : a;
            return loser;
        }
    }
    return NULL;
}

bool plan_settle_bases(struct plan *plan)
{
    const struct candidate *winner;
    struct candidate *loser;
    bool any = false;

    while ((loser = find_conflict(plan, &winner))) {
        struct err err;
        err_set(&err, "BASE_CONFLICT", "base \"%s\" of \"%s\" is already taken by \"%s\"",
                base_of(loser), name_of(loser), name_of(winner));
        plan_fail(loser, PLUGIN_FAILED, &err);
        any = true;
    }
    return any;
}

/* --- order --- */

static struct candidate *by_name(const struct plan *plan, const char *name)
{
    struct candidate *found = NULL;

    for (size_t i = 0; i < plan->len; i++) {
        struct candidate *c = &plan->items[i];
        if (!name_of(c) || strcmp(name_of(c), name) != 0)
            continue;
        if (c->action != ACTION_NONE)
            return c;
        found = found ? found : c;
    }
    return found;
}

static bool dependency_err(const struct plan *plan,
                           const struct candidate *c,
                           const char *name,
                           struct err *err)
{
    const struct candidate *dependency = by_name(plan, name);
    const char *why = !dependency                                ? "is not installed"
                      : dependency->status == PLUGIN_DISABLED    ? "is disabled"
                      : dependency->status == PLUGIN_SKIPPED     ? "was skipped"
                      : dependency->status == PLUGIN_QUARANTINED ? "is quarantined"
                                                                 : "failed";

    return err_set(err, dependency ? "DEPENDENCY_UNAVAILABLE" : "DEPENDENCY_MISSING",
                   "\"%s\" needs \"%s\", which %s", name_of(c), name, why);
}

bool plan_dependencies_ok(const struct plan *plan, const struct candidate *c, struct err *err)
{
    for (const char *const *name = c->manifest->dependencies; *name; name++) {
        const struct candidate *dependency = by_name(plan, *name);
        if (!dependency || dependency->action == ACTION_NONE)
            return dependency_err(plan, c, *name, err);
    }
    return true;
}

/* The nodes of what is to be live; `index` maps them back. */
static size_t make_nodes(const struct plan *plan, struct order_node *nodes, size_t *index)
{
    size_t len = 0;

    for (size_t i = 0; i < plan->len; i++) {
        const struct candidate *c = &plan->items[i];
        if (c->action == ACTION_NONE)
            continue;
        index[len] = i;
        nodes[len++] = (struct order_node){
            .name = c->manifest->name,
            .needs = c->manifest->dependencies,
            .wants = c->manifest->optional_dependencies,
        };
    }
    return len;
}

static void left_out(struct plan *plan,
                     struct candidate *c,
                     const struct order_node *nodes,
                     size_t len,
                     const struct order_node *node)
{
    struct err err;
    char cycle[512];

    if (node->state == ORDER_CYCLE) {
        order_cycle_text(nodes, len, node, cycle, sizeof(cycle));
        err_set(&err, "DEPENDENCY_CYCLE", "the dependencies form a cycle: %s", cycle);
        plan_fail(c, PLUGIN_FAILED, &err);
        return;
    }
    dependency_err(plan, c, node->blame, &err);
    plan_fail(c, PLUGIN_SKIPPED, &err);
}

static void tell_broken(struct plan *plan, const struct order_node *node)
{
    if (node->broken)
        plugins_notice(
            plan->plugins, LOG_WARN, node->name,
            "the optional dependency on \"%s\" closes a cycle and is loaded after \"%s\"",
            node->broken, node->name);
}

/* The nodes borrow names from manifests, which give way to older ones when a candidate fails. */
static struct manifest **hold_manifests(const struct plan *plan, const size_t *index, size_t len)
{
    struct manifest **held = mem_alloc((len + 1) * sizeof(*held));

    for (size_t i = 0; i < len; i++)
        held[i] = manifest_ref(plan->items[index[i]].manifest);
    return held;
}

static void let_go(struct manifest **held, size_t len)
{
    for (size_t i = 0; i < len; i++)
        manifest_unref(held[i]);
    free(held);
}

/* One try; false when something was left out, so that the rest must be ordered anew. */
static bool try_order(struct plan *plan, struct order_node *nodes, size_t *index)
{
    const size_t len = make_nodes(plan, nodes, index);
    struct manifest **held = hold_manifests(plan, index, len);
    bool all = true;

    plan->order_len = order_sort(nodes, len, plan->order);
    for (size_t i = 0; i < plan->order_len; i++)
        plan->order[i] = index[plan->order[i]];
    /* What misses something goes first: those behind it are then told what happened to it. */
    for (int blocked = 0; blocked < 2 && all; blocked++) {
        for (size_t i = 0; i < len; i++) {
            if (nodes[i].state == ORDER_OK || (nodes[i].state == ORDER_BLOCKED) != blocked)
                continue;
            left_out(plan, &plan->items[index[i]], nodes, len, &nodes[i]);
            all = false;
        }
    }
    for (size_t i = 0; all && i < len; i++)
        tell_broken(plan, &nodes[i]);
    let_go(held, len);
    return all;
}

void plan_order(struct plan *plan)
{
    struct order_node *nodes = mem_alloc((plan->len + 1) * sizeof(*nodes));
    size_t *index = mem_alloc((plan->len + 1) * sizeof(*index));

    while (!try_order(plan, nodes, index))
        continue;
    free(nodes);
    free(index);
}

/* --- the whole --- */

/* A folder that is staged for a place where there is nothing yet. */
static void add_staged(struct plan *plan, const struct found_list *found)
{
    const struct found staged = {.dir = (char *)(uintptr_t)plan->options.staged_at};

    for (size_t i = 0; i < found->len; i++) {
        if (is_staged(plan, found->items[i].dir))
            return;
    }
    if (staged.dir)
        add_candidate(plan, &staged);
}

struct instance *plan_instance(const struct candidate *c)
{
    if (c->action == ACTION_BUILD)
        return c->fresh;
    return c->action == ACTION_KEEP ? live_of(c) : NULL;
}

void plan_make(struct plan *plan, struct plugins *plugins, const struct reload_options *options)
{
    struct found_list found;

    *plan = (struct plan){.plugins = plugins, .options = *options};
    discover(plugins->options.settings->plugin_dirs.items, &found);
    for (size_t i = 0; i < found.missing_len; i++)
        plugins_notice(plugins, LOG_WARN, NULL, "plugin directory %s", found.missing[i]);
    plan->items = mem_alloc((found.len + 2) * sizeof(*plan->items));
    plan->order = mem_alloc((found.len + 2) * sizeof(*plan->order));
    for (size_t i = 0; i < found.len; i++)
        add_candidate(plan, &found.items[i]);
    add_staged(plan, &found);
    found_fini(&found);
    if (!options->only)
        find_removed(plan);
    settle_names(plan);
    keep_unchanged(plan);
    plan_settle_bases(plan);
    plan_order(plan);
}

void plan_fini(struct plan *plan)
{
    for (size_t i = 0; i < plan->len; i++) {
        struct candidate *c = &plan->items[i];
        if (c->manifest)
            manifest_unref(c->manifest);
        instance_unref(c->fresh);
        free(c->err);
        free(c->dir);
    }
    free(plan->items);
    free(plan->order);
    free(plan->removed);
}
