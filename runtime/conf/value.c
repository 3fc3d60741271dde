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
