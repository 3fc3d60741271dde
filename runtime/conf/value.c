#include "conf/value.h"

const struct value *value_get(const struct value *map, const char *key)
{
    const struct str wanted = str_of(key);

    if (!map || map->type != VALUE_MAP)
        return NULL;
    for (size_t i = 0; i < map->map.len; i++) {
        if (str_equal(map->map.entries[i].key, wanted))
            return map->map.entries[i].value;
    }
    return NULL;
}

const char *value_type_name(enum value_type type)
{
    static const char *const names[] = {
        [VALUE_NULL] = "null",       [VALUE_BOOL] = "a boolean", [VALUE_NUMBER] = "a number",
        [VALUE_STRING] = "a string", [VALUE_LIST] = "a list",    [VALUE_MAP] = "a map",
    };

    return names[type];
}

static bool same_list(const struct value *a, const struct value *b)
{
    if (a->list.len != b->list.len)
        return false;
    for (size_t i = 0; i < a->list.len; i++) {
        if (!value_equal(a->list.items[i], b->list.items[i]))
            return false;
    }
    return true;
}

static bool same_map(const struct value *a, const struct value *b)
{
    if (a->map.len != b->map.len)
        return false;
    for (size_t i = 0; i < a->map.len; i++) {
        if (!str_equal(a->map.entries[i].key, b->map.entries[i].key) ||
            !value_equal(a->map.entries[i].value, b->map.entries[i].value))
            return false;
    }
    return true;
}

bool value_equal(const struct value *a, const struct value *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case VALUE_NULL:
        return true;
    case VALUE_BOOL:
        return a->boolean == b->boolean;
    case VALUE_NUMBER:
        return memcmp(&a->number, &b->number, sizeof(a->number)) == 0;
    case VALUE_STRING:
        return str_equal(a->string, b->string);
    case VALUE_LIST:
        return same_list(a, b);
    case VALUE_MAP:
        return same_map(a, b);
    }
    return false;
}
