/* The keys of a manifest that hold lists and maps. */
#include "conf/manifest_impl.h"

#include "base/hostport.h"
#include "conf/decl.h"
#include "conf/env_names.h"

/* Lists of names */

static bool lists(const char *const *names, size_t len, const char *name)
{
    for (size_t i = 0; i < len; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static const char *const *
read_names(const struct report *r, const char *key, const struct value *value)
{
    const char **names;
    size_t len = 0;

    if (!report_type(r, key, value, VALUE_LIST))
        return NULL;
    names = arena_alloc(r->arena, (value->list.len + 1) * sizeof(*names));
    for (size_t i = 0; i < value->list.len; i++) {
        const struct value *item = value->list.items[i];
        const char *name = report_text(r, arena_printf(r->arena, "%s[%zu]", key, i + 1), item);

        if (!name)
            continue;
        if (!manifest_name_is_valid(name))
            report_at(r, item, "%s: %s is not the name of a plugin", key,
                      report_quote(r, item->string));
        else if (lists(names, len, name))
            report_warning(r, item->line, item->column, "%s names \"%s\" twice", key, name);
        else
            names[len++] = name;
    }
    return names;
}

void manifest_read_dependencies(const struct report *r,
                                struct manifest *m,
                                const struct value *value)
{
    const char *const *names = read_names(r, "dependencies", value);

    if (names)
        m->dependencies = names;
}

void manifest_read_optional_dependencies(const struct report *r,
                                         struct manifest *m,
                                         const struct value *value)
{
    const char *const *names = read_names(r, "optionalDependencies", value);

    if (names)
        m->optional_dependencies = names;
}

/* publicRoutes */

static const char *const methods[] = {"ALL",   "GET",    "POST", "PUT",
                                      "PATCH", "DELETE", "HEAD", "OPTIONS"};

static const char *find_method(const char *text)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(methods[i], text) == 0)
            return i == 0 ? "" : methods[i];
    }
    return NULL;
}

/* Room was made for every item of every list. */
static void add_routes(const struct report *r,
                       struct manifest *m,
                       struct public_route *routes,
                       const char *name,
                       const char *method,
                       const struct value *list)
{
    for (size_t i = 0; i < list->list.len; i++) {
        const struct value *item = list->list.items[i];
        const char *pattern = report_text(r, arena_printf(r->arena, "%s[%zu]", name, i + 1), item);

        if (!pattern)
            continue;
        if (pattern[0] != '/')
            report_at(r, item, "%s: %s must start with \"/\"", name, report_quote(r, item->string));
        else
            routes[m->public_route_count++] = (struct public_route){method, pattern};
    }
}

static size_t count_routes(const struct value *value)
{
    size_t count = 0;

    if (value->type == VALUE_LIST)
        return value->list.len;
    for (size_t i = 0; i < value->map.len; i++) {
        if (value->map.entries[i].value->type == VALUE_LIST)
            count += value->map.entries[i].value->list.len;
    }
    return count;
}

static void add_method(const struct report *r,
                       struct manifest *m,
                       struct public_route *routes,
                       const struct value_entry *entry)
{
    const char *method = find_method(entry->key.at);
    const char *name = arena_printf(r->arena, "publicRoutes.%s", entry->key.at);

    if (!method)
        report_key(r, entry,
                   "publicRoutes: unknown method %s (allowed: ALL, GET, POST, PUT, PATCH, DELETE, "
                   "HEAD, OPTIONS)",
                   report_quote(r, entry->key));
    else if (report_type(r, name, entry->value, VALUE_LIST))
        add_routes(r, m, routes, name, method, entry->value);
}

void manifest_read_public_routes(const struct report *r,
                                 struct manifest *m,
                                 const struct value *value)
{
    struct public_route *routes;

    if (value->type != VALUE_LIST && value->type != VALUE_MAP) {
        if (value->type != VALUE_NULL)
            report_at(r, value,
                      "publicRoutes must be a list of paths or a map from methods to such lists, "
                      "got %s",
                      value_type_name(value->type));
        return;
    }
    routes = arena_alloc(r->arena, count_routes(value) * sizeof(*routes));
    m->public_routes = routes;
    if (value->type == VALUE_LIST)
        add_routes(r, m, routes, "publicRoutes", "", value);
    for (size_t i = 0; value->type == VALUE_MAP && i < value->map.len; i++)
        add_method(r, m, routes, &value->map.entries[i]);
}

/* menus */

static struct manifest_menu *
read_menu_list(const struct report *r, const char *name, const struct value *list, size_t *count);

static const char *menu_text(const struct report *r,
                             const char *name,
                             const struct value *menu,
                             const char *key,
                             bool required)
{
    const struct value *value = value_get(menu, key);

    if (value)
        return report_text(r, arena_printf(r->arena, "%s.%s", name, key), value);
    if (required)
        report_at(r, menu, "%s has no %s", name, key);
    return NULL;
}

static bool read_menu(const struct report *r,
                      const char *name,
                      const struct value *value,
                      struct manifest_menu *menu)
{
    static const char *const keys[] = {"title", "icon", "path", "items", NULL};
    const struct value *items;

    if (!report_type(r, name, value, VALUE_MAP))
        return false;
    for (size_t i = 0; i < value->map.len; i++)
        report_near_miss(r, &value->map.entries[i], arena_printf(r->arena, "%s: ", name), keys);
    menu->title = menu_text(r, name, value, "title", true);
    menu->icon = menu_text(r, name, value, "icon", false);
    menu->path = menu_text(r, name, value, "path", true);
    items = value_get(value, "items");
    if (items)
        menu->items =
            read_menu_list(r, arena_printf(r->arena, "%s.items", name), items, &menu->item_count);
    return menu->title && menu->path;
}

static struct manifest_menu *
read_menu_list(const struct report *r, const char *name, const struct value *list, size_t *count)
{
    struct manifest_menu *menus;

    *count = 0;
    if (!report_type(r, name, list, VALUE_LIST))
        return NULL;
    menus = arena_alloc(r->arena, list->list.len * sizeof(*menus));
    for (size_t i = 0; i < list->list.len; i++) {
        const char *item = arena_printf(r->arena, "%s[%zu]", name, i + 1);

        if (read_menu(r, item, list->list.items[i], &menus[*count]))
            ++*count;
    }
    return menus;
}

void manifest_read_menus(const struct report *r, struct manifest *m, const struct value *value)
{
    m->menus = read_menu_list(r, "menus", value, &m->menu_count);
}

/* env, permissions */

void manifest_read_env(const struct report *r, struct manifest *m, const struct value *value)
{
    if (!report_type(r, "env", value, VALUE_MAP))
        return;
    m->env = value;
    for (size_t i = 0; i < value->map.len; i++) {
        const struct value_entry *entry = &value->map.entries[i];

        if (!value_is_scalar(entry->value) && entry->value->type != VALUE_NULL)
            report_at(r, entry->value, "env.%s must be a string, a number or a boolean, got %s",
                      entry->key.at, value_type_name(entry->value->type));
        if (!decl_is_env_name(entry->key.at))
            report_key(r, entry, "env: %s is not the name of an environment variable",
                       report_quote(r, entry->key));
        else if (env_name_is_reserved(entry->key.at))
            report_warning(r, entry->line, entry->column,
                           "env.%s is the runtime's own and cannot be set; it is ignored",
                           entry->key.at);
    }
}

static const char *const *
read_texts(const struct report *r, const char *name, const struct value *list)
{
    const char **texts = arena_alloc(r->arena, (list->list.len + 1) * sizeof(*texts));
    size_t len = 0;

    for (size_t i = 0; i < list->list.len; i++) {
        texts[len] =
            report_text(r, arena_printf(r->arena, "%s[%zu]", name, i + 1), list->list.items[i]);
        len += texts[len] != NULL;
    }
    texts[len] = NULL;
    return texts;
}

/* Names whose value is to come from the server's environment. */
static void
check_env_names(const struct report *r, const struct manifest *m, const struct value *list)
{
    for (size_t i = 0; i < list->list.len; i++) {
        const struct value *name = list->list.items[i];

        if (name->type != VALUE_STRING)
            continue;
        if (!decl_is_env_name(name->string.at))
            report_at(r, name, "permissions.env: %s is not the name of an environment variable",
                      report_quote(r, name->string));
        else if (env_name_is_reserved(name->string.at))
            report_warning(r, name->line, name->column,
                           "permissions.env: %s is the runtime's own and is not passed on",
                           name->string.at);
        else if (env_name_is_secret(name->string.at) && !value_get(m->env, name->string.at))
            report_warning(r, name->line, name->column,
                           "permissions.env: %s looks like a secret of the server and is not "
                           "passed on; a value in `env` would be",
                           name->string.at);
    }
}

static void check_net(const struct report *r, const struct value *list)
{
    struct hostport entry;

    for (size_t i = 0; i < list->list.len; i++) {
        const struct value *item = list->list.items[i];

        if (item->type == VALUE_STRING && !hostport_parse(item->string.at, &entry))
            report_at(r, item, "permissions.net[%zu] must be " HOSTPORT_ALLOWED ", got %s", i + 1,
                      report_quote(r, item->string));
    }
}

static void read_permission(const struct report *r,
                            struct permissions *permissions,
                            const struct value_entry *entry)
{
    const struct {
        const char *name;
        const char *const **list;
    } known[] = {{"read", &permissions->read},
                 {"write", &permissions->write},
                 {"net", &permissions->net},
                 {"env", &permissions->env}};
    const char *name = arena_printf(r->arena, "permissions.%s", entry->key.at);

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(known[i].name, entry->key.at) != 0)
            continue;
        if (report_type(r, name, entry->value, VALUE_LIST))
            *known[i].list = read_texts(r, name, entry->value);
        if (known[i].list == &permissions->net && entry->value->type == VALUE_LIST)
            check_net(r, entry->value);
        return;
    }
    report_key(r, entry, "permissions: unknown key %s (allowed: read, write, net, env)",
               report_quote(r, entry->key));
}

void manifest_read_permissions(const struct report *r,
                               struct manifest *m,
                               const struct value *value)
{
    if (!report_type(r, "permissions", value, VALUE_MAP))
        return;
    for (size_t i = 0; i < value->map.len; i++)
        read_permission(r, &m->permissions, &value->map.entries[i]);
    value = value_get(value, "env");
    if (value && value->type == VALUE_LIST)
        check_env_names(r, m, value);
}
