#include "base/permission.h"

#include "check.h"

static unsigned of(const char *name)
{
    return permission_of(str_of(name));
}

static bool may(const char *role, const char *permission)
{
    const struct role *found = role_find(str_of(role));

    CHECK(found);
    return (found->set & of(permission)) != 0;
}

static void test_names(void)
{
    unsigned seen = 0;

    for (unsigned i = 0; i < PERMISSION_COUNT; i++) {
        const unsigned one = of(permission_name(i));
        CHECK(one == 1U << i);
        CHECK(permission_known(str_of(permission_name(i))));
        seen |= one;
    }
    CHECK((seen & permissions_all) == seen);
    CHECK(of("todos:admin") && !(of("todos:admin") & seen)); /* a plugin's own */
    CHECK(of("todos:admin") == of("plugins:reads"));
    CHECK(!permission_known(STR("plugins:")) && !permission_known(STR("")));
    CHECK(!permission_known(STR("Plugins:read")) && !permission_known(STR("plugins:read ")));
}

/* A column for each role. */
static const struct {
    const char *permission;
    bool admin, editor, viewer, custom;
} table[] = {
    {"plugins:read", true, true, true, false},    {"plugins:install", true, true, false, false},
    {"plugins:remove", true, true, false, false}, {"plugins:config", true, true, false, false},
    {"workers:read", true, true, true, false},    {"workers:install", true, true, false, false},
    {"workers:remove", true, true, false, false}, {"workers:restart", true, true, false, false},
    {"keys:read", true, false, true, false},      {"keys:create", true, false, false, false},
    {"keys:revoke", true, false, false, false},   {"metrics:read", true, false, true, false},
    {"todos:admin", true, false, false, false},
};

static void test_roles(void)
{
    for (size_t i = 0; i < LEN(table); i++) {
        CHECK(may("admin", table[i].permission) == table[i].admin);
        CHECK(may("editor", table[i].permission) == table[i].editor);
        CHECK(may("viewer", table[i].permission) == table[i].viewer);
        CHECK(may("custom", table[i].permission) == table[i].custom);
    }
    CHECK(LEN(table) == PERMISSION_COUNT + 1);
    CHECK(role_find(STR("custom"))->custom && !role_find(STR("admin"))->custom);
    CHECK(!role_find(STR("Admin")) && !role_find(STR("")) && !role_find(STR("root")));
    for (unsigned i = 0; i < ROLE_COUNT; i++)
        CHECK(role_find(str_of(role_at(i)->name)) == role_at(i));
}

static void test_text(void)
{
    char text[PERMISSIONS_TEXT_MAX];

    permissions_write(permissions_all, text);
    CHECK(strlen(text) < PERMISSIONS_TEXT_MAX - 1);
    CHECK(permissions_read(str_of(text)) == ((1U << PERMISSION_COUNT) - 1));
    permissions_write(of("metrics:read") | of("plugins:read"), text);
    CHECK_STR(text, "plugins:read metrics:read");
    CHECK(permissions_read(str_of(text)) == (of("metrics:read") | of("plugins:read")));
    permissions_write(0, text);
    CHECK_STR(text, "");
    CHECK(permissions_read(STR("")) == 0);
    CHECK(permissions_read(STR("nothing:known keys:read")) == of("keys:read"));
}

static const struct {
    const char *namespaces, *name;
    bool included;
} names[] = {
    {"*", "@a/b", true},   {"*", "b", true},        {"@a", "@a/b", true},   {"@x @a", "@a/b", true},
    {"@a *", "b", true},   {"@a", "b", false},      {"@a", "@ab/c", false}, {"@ab", "@a/b", false},
    {"@a", "@A/b", false}, {"@a", "x/@a/b", false}, {"", "@a/b", false},    {"", "b", false},
    {"", "", false},       {"@a", "@a", false},     {"@a", "@a/", false},   {"@", "@/b", false},
    {"@a", "", false},     {"*x", "b", false},
};

static void test_namespaces(void)
{
    for (size_t i = 0; i < LEN(names); i++)
        CHECK(namespaces_include(names[i].namespaces, str_of(names[i].name)) == names[i].included);
}

int main(void)
{
    test_namespaces();
    test_names();
    test_roles();
    test_text();
    return 0;
}
