#include "conf/manifest_impl.h"

#include <stdio.h>

#include "base/duration.h"
#include "base/path.h"
#include "base/semver.h"
#include "conf/decl.h"
#include "conf/settings.h"

enum { NAME_LENGTH_MAX = 200, VM_MEMORY_MIN = 1024 * 1024 };

static const char name_bytes[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
static const char base_bytes[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

/* Name, version, base */

/* Length of a name part at `text`, or 0. A leading dot would hide the folder, or leave it. */
static size_t name_part(const char *text)
{
    return text[0] == '.' ? 0 : strspn(text, name_bytes);
}

bool manifest_name_is_valid(const char *name)
{
    size_t len;

    if (strlen(name) > NAME_LENGTH_MAX)
        return false;
    if (name[0] == '@') {
        len = name_part(name + 1);
        if (len == 0 || name[1 + len] != '/')
            return false;
        name += len + 2;
    }
    len = name_part(name);
    return len > 0 && name[len] == '\0';
}

static void read_name(const struct report *r, struct manifest *m, const struct value *value)
{
    static const char *const reserved[] = {"loaded", "reload", "upload"};
    const char *name = report_text(r, "name", value);

    if (!name)
        return;
    m->name = name;
    if (!manifest_name_is_valid(name))
        report_at(r, value,
                  "name %s is not allowed: (@scope/)?name of letters, digits, \".\", \"_\" and "
                  "\"-\", not starting with \".\", at most %d characters",
                  report_quote(r, value->string), NAME_LENGTH_MAX);
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        if (strcmp(name, reserved[i]) == 0)
            report_at(r, value, "name \"%s\" is reserved (reserved: loaded, reload, upload)", name);
    }
}

static void read_version(const struct report *r, struct manifest *m, const struct value *value)
{
    struct semver version;

    if (value->type != VALUE_STRING) {
        report_wanted(r, "version", value, "a string such as 1.0.0");
        return;
    }
    m->version = value->string.at;
    if (!semver_parse(value->string, &version))
        report_at(r, value, "version %s is not a semantic version such as 1.0.0 or 2.1.0-rc.1",
                  report_quote(r, value->string));
}

static bool is_reserved(const struct report *r, const char *base)
{
    const char *prefix = r->settings->api_prefix;

    return strcmp(base, "/api") == 0 || strcmp(base, "/health") == 0 ||
           strcmp(base, "/.well-known") == 0 || (prefix && *prefix && strcmp(base, prefix) == 0);
}

static void report_reserved(const struct report *r, const struct value *value)
{
    const char *prefix = r->settings->api_prefix;
    const bool prefixed = prefix && *prefix;

    report_at(r, value, "base \"%s\" is reserved (reserved: /api, /health, /.well-known%s%s)",
              value->string.at, prefixed ? ", " : "", prefixed ? prefix : "");
}

static bool is_base(const char *base)
{
    const size_t len = base[0] == '/' ? strspn(base + 1, base_bytes) : 0;

    return strcmp(base, "/") == 0 || (len > 0 && base[1 + len] == '\0');
}

static void read_base(const struct report *r, struct manifest *m, const struct value *value)
{
    if (!report_type(r, "base", value, VALUE_STRING))
        return;
    if (value->string.len == 0) {
        report_at(r, value, "base is empty; omit it for a plugin that serves no path of its own");
        return;
    }
    m->base = value->string.at;
    if (is_reserved(r, m->base))
        report_reserved(r, value);
    else if (!is_base(m->base))
        report_at(r, value,
                  "base %s is not allowed: \"/\" or one \"/segment\" of letters, digits, \"_\" and "
                  "\"-\"",
                  report_quote(r, value->string));
}

/* Booleans, sizes, durations */

static void
read_bool(const struct report *r, const char *name, const struct value *value, bool *out)
{
    if (report_type(r, name, value, VALUE_BOOL))
        *out = value->boolean;
}

static void read_enabled(const struct report *r, struct manifest *m, const struct value *value)
{
    read_bool(r, "enabled", value, &m->enabled);
}

static void read_critical(const struct report *r, struct manifest *m, const struct value *value)
{
    read_bool(r, "critical", value, &m->critical);
}

static void read_jit(const struct report *r, struct manifest *m, const struct value *value)
{
    read_bool(r, "jit", value, &m->jit);
}

/* A number or a string as text, as both may stand for a size or a duration. */
static bool quantity_text(const struct value *value, char out[static 64])
{
    if (value->type == VALUE_NUMBER)
        return snprintf(out, 64, "%.15g", value->number) < 64;
    return value->type == VALUE_STRING && value->string.len < 64 &&
           snprintf(out, 64, "%s", value->string.at) < 64;
}

static bool
read_size(const struct report *r, const char *name, const struct value *value, size_t *out)
{
    char text[64];

    if (quantity_text(value, text) && size_parse(str_of(text), out))
        return true;
    return report_wanted(r, name, value, SIZE_ALLOWED);
}

static bool
read_duration(const struct report *r, const char *name, const struct value *value, uint64_t *out)
{
    char text[64];

    if (quantity_text(value, text) && duration_parse(str_of(text), out))
        return true;
    return report_wanted(r, name, value, DURATION_ALLOWED);
}

static void read_memory(const struct report *r, struct manifest *m, const struct value *value)
{
    if (!read_size(r, "memory", value, &m->memory))
        return;
    if (m->memory < VM_MEMORY_MIN)
        report_wanted(r, "memory", value, "at least 1mb");
}

static void
read_max_body_size(const struct report *r, struct manifest *m, const struct value *value)
{
    const size_t most = r->settings->body_limit_max;

    if (!read_size(r, "maxBodySize", value, &m->max_body_size))
        return;
    if (m->max_body_size > most)
        report_at(r, value, "maxBodySize is above RUNTIME_BODY_LIMIT_MAX (%zu bytes)", most);
}

static void read_timeout(const struct report *r, struct manifest *m, const struct value *value)
{
    if (read_duration(r, "timeout", value, &m->timeout) && m->timeout == 0)
        report_wanted(r, "timeout", value, "more than 0");
}

static void read_ttl(const struct report *r, struct manifest *m, const struct value *value)
{
    read_duration(r, "ttl", value, &m->ttl);
}

static void read_idle_timeout(const struct report *r, struct manifest *m, const struct value *value)
{
    read_duration(r, "idleTimeout", value, &m->idle_timeout);
}

static void read_max_requests(const struct report *r, struct manifest *m, const struct value *value)
{
    if (!report_type(r, "maxRequests", value, VALUE_NUMBER))
        return;
    if (!(value->number >= 1) || value->number > 1e15 ||
        value->number > (double)(uint64_t)value->number)
        report_wanted(r, "maxRequests", value, "a whole number, at least 1");
    else
        m->max_requests = (uint64_t)value->number;
}

static void read_visibility(const struct report *r, struct manifest *m, const struct value *value)
{
    static const char *const names[] = {"public", "protected", "internal"};
    const char *text = report_text(r, "visibility", value);

    for (size_t i = 0; text && i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            m->visibility = (enum visibility)i;
            return;
        }
    }
    if (text)
        report_wanted(r, "visibility", value, "public, protected or internal");
}

/* config */

static void read_config(const struct report *r, struct manifest *m, const struct value *value)
{
    size_t count;

    if (!report_type(r, "config", value, VALUE_MAP))
        return;
    m->config = value;
    decl_read(r, value, &count);
    for (size_t i = 0; i < value->map.len; i++) {
        const struct value_entry *entry = &value->map.entries[i];
        const struct manifest_key *key = manifest_key_find(entry->key.at);

        if (key && (!key->of_workers || m->entrypoint))
            report_key(r, entry, "config.%s: \"%s\" is a key of the manifest itself; pick another",
                       entry->key.at, entry->key.at);
    }
}

/* pluginEntry and entrypoint name files, which manifest_read_entries() looks at. */
static void read_plugin_entry(const struct report *r, struct manifest *m, const struct value *value)
{
    m->entry = report_text(r, "pluginEntry", value);
}

static void read_entrypoint(const struct report *r, struct manifest *m, const struct value *value)
{
    m->entrypoint = report_text(r, "entrypoint", value);
}

const struct manifest_key manifest_keys[] = {
    {"name", read_name, false},
    {"version", read_version, false},
    {"base", read_base, false},
    {"enabled", read_enabled, false},
    {"pluginEntry", read_plugin_entry, false},
    {"entrypoint", read_entrypoint, false},
    {"dependencies", manifest_read_dependencies, false},
    {"optionalDependencies", manifest_read_optional_dependencies, false},
    {"publicRoutes", manifest_read_public_routes, false},
    {"menus", manifest_read_menus, false},
    {"critical", read_critical, false},
    {"memory", read_memory, false},
    {"jit", read_jit, false},
    {"config", read_config, false},
    {"maxBodySize", read_max_body_size, false},
    {"timeout", read_timeout, true},
    {"ttl", read_ttl, true},
    {"idleTimeout", read_idle_timeout, true},
    {"maxRequests", read_max_requests, true},
    {"visibility", read_visibility, true},
    {"env", manifest_read_env, true},
    {"permissions", manifest_read_permissions, true},
    {0},
};

const struct manifest_key *manifest_key_find(const char *name)
{
    for (const struct manifest_key *key = manifest_keys; key->name; key++) {
        if (strcmp(key->name, name) == 0)
            return key;
    }
    return NULL;
}

void manifest_key_names(const char *names[static MANIFEST_KEYS_MAX])
{
    size_t len = 0;

    for (const struct manifest_key *key = manifest_keys; key->name; key++)
        names[len++] = key->name;
    names[len] = NULL;
}

_Static_assert(sizeof(manifest_keys) / sizeof(manifest_keys[0]) <= MANIFEST_KEYS_MAX, "too many");
