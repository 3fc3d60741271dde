#include "worker/app_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/semver.h"
#include "base/urlpath.h"
#include "conf/manifest.h"
#include "worker/app.h"

enum { RANGE_MAX = 100 };

struct app_route {
    const char *name;
    struct app *app; /* borrowed from the entry */
    bool latest;
    bool versioned; /* by its folder, or by the manifest of one without a version */
    struct semver version;
};

const char *app_status_name(enum app_status status)
{
    static const char *const names[] = {
        [APP_LOADED] = "loaded", [APP_UNCHANGED] = "unchanged", [APP_KEPT_OLD] = "kept_old",
        [APP_FAILED] = "failed", [APP_DISABLED] = "disabled",   [APP_REMOVED] = "removed",
    };

    return names[status];
}

const char *app_entry_version(const struct app_entry *entry)
{
    return entry->version ? entry->version : "latest";
}

/* --- making one --- */

/* By name; then the latest, then the higher versions. */
static int by_rank(const void *a, const void *b)
{
    const struct app_route *x = a, *y = b;
    const int names = strcmp(x->name, y->name);

    if (names != 0)
        return names;
    if (x->latest != y->latest)
        return x->latest ? -1 : 1;
    return semver_compare(&y->version, &x->version);
}

static void add_route(struct app_set *set, const struct app_entry *entry)
{
    struct app_route *route = &set->routes[set->route_count++];
    const char *version = entry->version ? entry->version : entry->app->manifest->version;

    *route = (struct app_route){
        .name = entry->name, .app = entry->app, .latest = entry->version == NULL};
    route->versioned = version && semver_parse(str_of(version), &route->version);
}

struct app_set *app_set_new(struct app_entry *entries, size_t len)
{
    struct app_set *set = mem_alloc(sizeof(*set));

    *set = (struct app_set){.refs = 1, .entries = entries, .len = len};
    set->routes = mem_alloc((len + 1) * sizeof(*set->routes));
    for (size_t i = 0; i < len; i++) {
        if (entries[i].app)
            add_route(set, &entries[i]);
    }
    qsort(set->routes, set->route_count, sizeof(*set->routes), by_rank);
    return set;
}

struct app_set *app_set_ref(struct app_set *set)
{
    set->refs++;
    return set;
}

void app_entry_fini(struct app_entry *entry)
{
    app_unref(entry->app);
    free(entry->name);
    free(entry->version);
    free(entry->dir);
    free(entry->err);
}

void app_set_unref(struct app_set *set)
{
    if (!set || --set->refs > 0)
        return;
    for (size_t i = 0; i < set->len; i++)
        app_entry_fini(&set->entries[i]);
    free(set->entries);
    free(set->routes);
    free(set);
}

/* --- finding --- */

static int compare_name(const char *name, struct str wanted)
{
    const size_t len = strlen(name);
    const int order = memcmp(name, wanted.at, len < wanted.len ? len : wanted.len);

    if (order != 0)
        return order;
    return (len > wanted.len) - (len < wanted.len);
}

/* The first route of that name, or the count. */
static size_t first_of(const struct app_set *set, struct str name)
{
    size_t low = 0, high = set->route_count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (compare_name(set->routes[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_named(const struct app_set *set, size_t i, struct str name)
{
    return i < set->route_count && compare_name(set->routes[i].name, name) == 0;
}

static struct app *best(const struct app_set *set, size_t i, struct str name)
{
    for (; is_named(set, i, name); i++) {
        const struct app_route *route = &set->routes[i];
        if (route->latest || route->version.prerelease.len == 0)
            return route->app;
    }
    return NULL;
}

static struct app *
highest_in(const struct app_set *set, size_t i, struct str name, const struct semver_range *range)
{
    const struct app_route *found = NULL;

    for (; is_named(set, i, name); i++) {
        const struct app_route *route = &set->routes[i];
        if (!route->versioned || !semver_range_test(range, &route->version))
            continue;
        /* Of equal ones the folder that says the version comes after the latest and wins. */
        if (!found || semver_compare(&route->version, &found->version) > 0 ||
            (found->latest && semver_compare(&route->version, &found->version) == 0))
            found = route;
    }
    return found ? found->app : NULL;
}

/* `text` is "hello", "@acme/hello" or either with "@RANGE" behind it. */
static struct app *find_text(const struct app_set *set, struct str text)
{
    const char *at = text.len > 1 ? memchr(text.at + 1, '@', text.len - 1) : NULL;
    const struct str name = {text.at, at ? (size_t)(at - text.at) : text.len};
    struct str wanted;
    struct semver_range *range;
    struct app *app = NULL;
    const size_t first = first_of(set, name);

    if (!is_named(set, first, name))
        return NULL;
    if (!at)
        return best(set, first, name);
    wanted = (struct str){at + 1, text.len - name.len - 1};
    if (str_equal(wanted, STR("latest")))
        return set->routes[first].latest ? set->routes[first].app : NULL;
    if (wanted.len == 0 || wanted.len > RANGE_MAX)
        return NULL;
    range = semver_range_parse(wanted);
    if (range)
        app = highest_in(set, first, name, range);
    semver_range_free(range);
    return app;
}

/* The length of "/segment" at `from`. */
static size_t segment(struct str path, size_t from)
{
    const char *slash =
        from + 1 < path.len ? memchr(path.at + from + 1, '/', path.len - from - 1) : NULL;

    return slash ? (size_t)(slash - path.at) - from : path.len - from;
}

static bool is_scope(struct str first)
{
    return str_starts(first, STR("/@")) || str_starts(first, STR("/%40"));
}

/* The part without its leading slash; false when unescaping makes more segments of it. */
static bool add_part(struct buf *text, struct str part)
{
    const size_t before = text->len;

    return percent_decode(text, (struct str){part.at + 1, part.len - 1}) && text->len > before &&
           !memchr(text->data + before, '/', text->len - before) &&
           !memchr(text->data + before, '\0', text->len - before);
}

static struct app *find_escaped(const struct app_set *set, struct str base, size_t first)
{
    struct buf text = {0};
    struct app *app = NULL;

    if (add_part(&text, (struct str){base.at, first})) {
        bool whole = first == base.len;
        if (!whole) {
            buf_putc(&text, '/');
            whole = add_part(&text, (struct str){base.at + first, base.len - first});
        }
        if (whole)
            app = find_text(set, buf_str(&text));
    }
    buf_fini(&text);
    return app;
}

struct app *app_set_find(const struct app_set *set, struct str path, size_t *base_len)
{
    size_t first, len;
    struct str base;

    if (set->route_count == 0 || path.len < 2 || path.at[0] != '/')
        return NULL;
    first = segment(path, 0);
    len = first;
    if (is_scope((struct str){path.at, first})) {
        if (first >= path.len)
            return NULL;
        len += segment(path, first);
    }
    base = (struct str){path.at, len};
    *base_len = len;
    if (memchr(base.at, '%', base.len))
        return find_escaped(set, base, first);
    return find_text(set, (struct str){base.at + 1, base.len - 1});
}
