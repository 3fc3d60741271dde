/* The files that a manifest names as code: they must exist, inside the folder. */
#include "conf/manifest_impl.h"

#include "base/path.h"

enum entry_state { ENTRY_FOUND, ENTRY_MISSING, ENTRY_BAD };

static const char *in_folder(const struct report *r, const char *name)
{
    return arena_printf(r->arena, "%s/%s", r->dir, name);
}

static enum entry_state look_at(const struct report *r, const char *key, const struct value *value)
{
    const char *quoted = report_quote(r, value->string), *path;

    if (!path_stays_below(value->string.at)) {
        report_at(r, value, "%s %s leaves the plugin's folder", key, quoted);
        return ENTRY_BAD;
    }
    path = in_folder(r, value->string.at);
    switch (path_place(r->dir, path)) {
    case PATH_MISSING:
        return ENTRY_MISSING;
    case PATH_OUTSIDE:
        report_at(r, value, "%s %s leaves the plugin's folder by a symbolic link", key, quoted);
        return ENTRY_BAD;
    default:
        break;
    }
    if (path_is_file(path))
        return ENTRY_FOUND;
    report_at(r, value, "%s %s is not a file", key, quoted);
    return ENTRY_BAD;
}

static bool has_plugin_lua(const struct report *r)
{
    const char *path = in_folder(r, "plugin.lua");

    if (path_place(r->dir, path) != PATH_OUTSIDE)
        return path_is_file(path);
    report_file(r, "plugin.lua leaves the plugin's folder by a symbolic link");
    return false;
}

/* Manifests made for JavaScript name a file that is not here; plugin.lua stands in for it. */
static const char *stand_in(const struct report *r, const struct value *value)
{
    const char *quoted = report_quote(r, value->string);

    if (has_plugin_lua(r)) {
        report_warning(r, value->line, value->column,
                       "pluginEntry %s does not exist; plugin.lua is used instead", quoted);
        return "plugin.lua";
    }
    report_at(r, value, "pluginEntry %s does not exist, and there is no plugin.lua", quoted);
    return NULL;
}

static const char *plugin_entry(const struct report *r, const struct value *value)
{
    const enum entry_state state = look_at(r, "pluginEntry", value);

    if (state == ENTRY_MISSING)
        return stand_in(r, value);
    if (state == ENTRY_BAD)
        return NULL;
    if (path_has_extension(value->string.at, ".lua"))
        return value->string.at;
    report_at(r, value, "pluginEntry %s is not a .lua file", report_quote(r, value->string));
    return NULL;
}

static const char *entrypoint(const struct report *r, const struct value *value)
{
    const char *text = value->string.at, *quoted = report_quote(r, value->string);
    const enum entry_state state = look_at(r, "entrypoint", value);

    if (state == ENTRY_MISSING)
        report_at(r, value, "entrypoint %s does not exist", quoted);
    if (state != ENTRY_FOUND)
        return NULL;
    if (path_has_extension(text, ".lua") || path_has_extension(text, ".html"))
        return text;
    report_at(r, value, "entrypoint %s is neither a .lua nor a .html file", quoted);
    return NULL;
}

static void report_nothing_to_run(const struct report *r)
{
    static const char *const others[] = {"index.lua", "index.html"};

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (path_is_file(in_folder(r, others[i]))) {
            report_file(r, "no entry file: there is no plugin.lua; for %s add \"entrypoint: %s\"",
                        others[i], others[i]);
            return;
        }
    }
    report_file(r, "no entry file: there is no plugin.lua, and neither pluginEntry nor entrypoint "
                   "names another");
}

void manifest_read_entries(const struct report *r, struct manifest *m)
{
    const size_t errors = r->problems->errors;
    const struct value *wanted = value_get(m->root, "pluginEntry");
    const struct value *app = value_get(m->root, "entrypoint");

    if (m->entry)
        m->entry = plugin_entry(r, wanted);
    else if (!wanted && has_plugin_lua(r))
        m->entry = "plugin.lua";
    if (m->entrypoint)
        m->entrypoint = entrypoint(r, app);
    m->entrypoint_is_html = m->entrypoint && path_has_extension(m->entrypoint, ".html");
    if (!wanted && !app && !m->entry && r->problems->errors == errors)
        report_nothing_to_run(r);
}

static const char *default_app_entry(const struct report *r)
{
    static const char *const names[] = {"index.lua", "index.html"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *path = in_folder(r, names[i]);
        if (!path_is_file(path))
            continue;
        if (path_place(r->dir, path) == PATH_INSIDE)
            return names[i];
        report_file(r, "%s leaves the app's folder by a symbolic link", names[i]);
        return NULL;
    }
    report_file(r, "no entry file: there is neither index.lua nor index.html, and no entrypoint");
    return NULL;
}

void manifest_read_app_entry(const struct report *r, struct manifest *m)
{
    const struct value *wanted = value_get(m->root, "entrypoint");

    m->entry = NULL; /* persistent code is for plugins */
    if (!wanted)
        m->entrypoint = default_app_entry(r);
    else if (m->entrypoint)
        m->entrypoint = entrypoint(r, wanted);
    m->entrypoint_is_html = m->entrypoint && path_has_extension(m->entrypoint, ".html");
}
