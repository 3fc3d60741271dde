#include "base/permission.h"

#include <stdio.h>

enum { OTHER = 1U << PERMISSION_COUNT, ALL = (OTHER << 1) - 1 };

const unsigned permissions_all = ALL;

/* The order is that of the bits. Only sets that are made anew are numbers: what is stored is names.
 */
static const char *const names[PERMISSION_COUNT] = {
    "plugins:read", "plugins:install", "plugins:remove", "plugins:config",
    "workers:read", "workers:install", "workers:remove", "workers:restart",
    "keys:read",    "keys:create",     "keys:revoke",    "metrics:read",
};

static const struct role roles[ROLE_COUNT] = {
    {"admin", ALL, false},
    {"editor", 0x0FF, false}, /* plugins:*, workers:* */
    {"viewer", 0x911, false}, /* *:read */
    {"custom", 0, true},
};

const char *permission_name(unsigned index)
{
    return names[index];
}

unsigned permission_of(struct str name)
{
    for (unsigned i = 0; i < PERMISSION_COUNT; i++) {
        if (str_equal(name, str_of(names[i])))
            return 1U << i;
    }
    return OTHER;
}

bool permission_known(struct str name)
{
    return permission_of(name) != OTHER;
}

/* Takes the first word off the text. */
static struct str next_word(struct str *text)
{
    const char *space = memchr(text->at, ' ', text->len);
    const struct str word = {text->at, space ? (size_t)(space - text->at) : text->len};
    const size_t skip = space ? word.len + 1 : word.len;

    text->at += skip;
    text->len -= skip;
    return word;
}

unsigned permissions_read(struct str text)
{
    unsigned set = 0;

    while (text.len > 0)
        set |= permission_of(next_word(&text));
    return set & ~(unsigned)OTHER;
}

void permissions_write(unsigned set, char out[static PERMISSIONS_TEXT_MAX])
{
    size_t len = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < PERMISSION_COUNT; i++) {
        if (set & 1U << i)
            len += (size_t)snprintf(out + len, PERMISSIONS_TEXT_MAX - len, "%s%s", len ? " " : "",
                                    names[i]);
    }
}

/* "@acme" of "@acme/shop"; absent without a scope. */
static struct str scope_of(struct str name)
{
    const char *slash = name.len > 1 && name.at[0] == '@' ? memchr(name.at, '/', name.len) : NULL;
    const size_t len = slash ? (size_t)(slash - name.at) : 0;

    return len > 1 && len + 1 < name.len ? (struct str){name.at, len} : (struct str){0};
}

bool namespaces_include(const char *namespaces, struct str name)
{
    const struct str scope = scope_of(name);
    struct str rest = str_of(namespaces);

    while (rest.len > 0) {
        const struct str word = next_word(&rest);
        if (str_equal(word, STR("*")) || (scope.len > 0 && str_equal(word, scope)))
            return true;
    }
    return false;
}

const struct role *role_at(unsigned index)
{
    return &roles[index];
}

const struct role *role_find(struct str name)
{
    for (unsigned i = 0; i < ROLE_COUNT; i++) {
        if (str_equal(name, str_of(roles[i].name)))
            return &roles[i];
    }
    return NULL;
}
