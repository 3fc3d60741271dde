#include "conf/decl.h"

static const char *const type_names[] = {
    [DECL_STRING] = "string", [DECL_PASSWORD] = "password",
    [DECL_NUMBER] = "number", [DECL_BOOLEAN] = "boolean",
    [DECL_ENUM] = "enum",     [DECL_ARRAY] = "array",
    [DECL_OBJECT] = "object", NULL,
};

static const enum value_type value_types[] = {
    [DECL_STRING] = VALUE_STRING, [DECL_PASSWORD] = VALUE_STRING, [DECL_NUMBER] = VALUE_NUMBER,
    [DECL_BOOLEAN] = VALUE_BOOL,  [DECL_ENUM] = VALUE_NULL,       [DECL_ARRAY] = VALUE_LIST,
    [DECL_OBJECT] = VALUE_MAP,
};

static const char *const attributes[] = {"type",    "label",      "description", "env",
                                         "default", "required",   "min",         "max",
                                         "options", "properties", NULL};

bool value_is_scalar(const struct value *value)
{
    return value->type == VALUE_STRING || value->type == VALUE_NUMBER || value->type == VALUE_BOOL;
}

void value_text(const struct value *value, struct buf *out)
{
    if (value->type == VALUE_STRING)
        buf_add_str(out, value->string);
    else if (value->type == VALUE_NUMBER)
        buf_printf(out, "%.17g", value->number);
    else if (value->type == VALUE_BOOL)
        buf_puts(out, value->boolean ? "true" : "false");
}

static bool scalar_equal(const struct value *a, const struct value *b)
{
    if (a->type != b->type)
        return false;
    if (a->type == VALUE_STRING)
        return str_equal(a->string, b->string);
    if (a->type == VALUE_BOOL)
        return a->boolean == b->boolean;
    return a->type == VALUE_NUMBER && !(a->number < b->number) && !(a->number > b->number);
}

/* Meeting a declaration */

static double characters(struct str s)
{
    size_t count = 0;

    for (size_t i = 0; i < s.len; i++)
        count += ((unsigned char)s.at[i] & 0xC0) != 0x80;
    return (double)count;
}

/* What `min` and `max` bound. */
static double extent(const struct value *value)
{
    if (value->type == VALUE_STRING)
        return characters(value->string);
    if (value->type == VALUE_LIST)
        return (double)value->list.len;
    return value->number;
}

static bool is_option(const struct decl *decl, const struct value *value)
{
    for (size_t i = 0; decl->options && i < decl->options->list.len; i++) {
        if (scalar_equal(decl->options->list.items[i], value))
            return true;
    }
    return false;
}

bool decl_accepts(const struct decl *decl, const struct value *value)
{
    if (decl->type == DECL_ENUM)
        return is_option(decl, value);
    if (value->type != value_types[decl->type])
        return false;
    if (decl->type == DECL_BOOLEAN || decl->type == DECL_OBJECT)
        return true;
    if (decl->has_min && extent(value) < decl->min)
        return false;
    return !decl->has_max || extent(value) <= decl->max;
}

static void add_options(const struct decl *decl, struct buf *out)
{
    buf_puts(out, "one of ");
    for (size_t i = 0; i < decl->options->list.len; i++) {
        const struct value *option = decl->options->list.items[i];
        if (i)
            buf_puts(out, ", ");
        if (option->type == VALUE_STRING)
            buf_json_string(out, option->string);
        else
            value_text(option, out);
    }
}

static void add_bounds(const struct decl *decl, struct buf *out)
{
    static const char *const units[] = {
        [DECL_STRING] = " character",
        [DECL_PASSWORD] = " character",
        [DECL_ARRAY] = " item",
    };
    const bool counts = decl->type != DECL_NUMBER;

    if (!decl->has_min && !decl->has_max)
        return;
    buf_puts(out, counts ? " of " : " ");
    if (decl->has_min && decl->has_max)
        buf_printf(out, counts ? "%.17g to %.17g" : "from %.17g to %.17g", decl->min, decl->max);
    else
        buf_printf(out, "at %s %.17g", decl->has_min ? "least" : "most",
                   decl->has_min ? decl->min : decl->max);
    if (counts) {
        const double last = decl->has_max ? decl->max : decl->min;
        buf_printf(out, "%s%s", units[decl->type], last > 1 || last < 1 ? "s" : "");
    }
}

void decl_expectation(const struct decl *decl, struct buf *out)
{
    if (decl->type == DECL_ENUM) {
        add_options(decl, out);
    } else if (decl->type == DECL_BOOLEAN) {
        buf_puts(out, "true or false");
    } else {
        buf_puts(out, value_type_name(value_types[decl->type]));
        if (decl->type != DECL_OBJECT)
            add_bounds(decl, out);
    }
}

/* Reading declarations */

static const char *field_name(const struct report *r, const struct decl *decl, const char *what)
{
    return arena_printf(r->arena, "config.%s.%s", decl->path, what);
}

static bool is_countable(const struct decl *decl)
{
    return decl->type == DECL_STRING || decl->type == DECL_PASSWORD || decl->type == DECL_ARRAY;
}

static bool read_type(const struct report *r, struct decl *decl, const struct value *map)
{
    const struct value *value = value_get(map, "type");
    const char *name = field_name(r, decl, "type");
    const char *text;

    if (!value)
        return report_key(r, decl->entry,
                          "config.%s has no type (allowed: string, password, number, boolean, "
                          "enum, array, object)",
                          decl->path);
    text = report_text(r, name, value);
    if (!text)
        return false;
    for (unsigned i = 0; type_names[i]; i++) {
        if (strcmp(text, type_names[i]) == 0) {
            decl->type = (enum decl_type)i;
            return true;
        }
    }
    return report_at(r, value,
                     "%s %s is unknown (allowed: string, password, number, boolean, enum, array, "
                     "object)",
                     name, report_quote(r, value->string));
}

bool decl_is_env_name(const char *text)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

    return strspn(text, letters) > 0 && text[strspn(text, all)] == '\0';
}

static bool read_env(const struct report *r, struct decl *decl, const struct value *value)
{
    const char *name = field_name(r, decl, "env");
    const char *text;

    if (!value)
        return true;
    text = report_text(r, name, value);
    if (!text)
        return false;
    if (decl->type == DECL_OBJECT)
        return report_at(r, value, "%s: an object has no variable, only its properties do", name);
    if (!decl_is_env_name(text))
        return report_at(r, value,
                         "%s %s is not the name of an environment variable (letters, digits and "
                         "\"_\", no digit first)",
                         name, report_quote(r, value->string));
    if (strcmp(text, "RUNTIME_ROOT_KEY") == 0)
        return report_at(r, value, "%s: RUNTIME_ROOT_KEY is never handed to plugins", name);
    decl->env = text;
    return true;
}

static bool
read_bool(const struct report *r, const char *name, const struct value *value, bool *out)
{
    if (!value)
        return true;
    if (!report_type(r, name, value, VALUE_BOOL))
        return false;
    *out = value->boolean;
    return true;
}

static bool read_bound(const struct report *r,
                       const struct decl *decl,
                       const char *which,
                       const struct value *value,
                       bool *has,
                       double *out)
{
    const char *name = field_name(r, decl, which);

    if (!value)
        return true;
    if (decl->type != DECL_NUMBER && !is_countable(decl))
        return report_at(r, value, "%s is only for string, password, number and array", name);
    if (!report_type(r, name, value, VALUE_NUMBER))
        return false;
    if (is_countable(decl) && value->number < 0)
        return report_at(r, value, "%s bounds a length and must not be negative", name);
    *has = true;
    *out = value->number;
    return true;
}

static bool read_bounds(const struct report *r, struct decl *decl, const struct value *map)
{
    const struct value *max = value_get(map, "max");
    bool ok = read_bound(r, decl, "min", value_get(map, "min"), &decl->has_min, &decl->min);

    ok = read_bound(r, decl, "max", max, &decl->has_max, &decl->max) && ok;
    if (ok && decl->has_min && decl->has_max && decl->min > decl->max)
        return report_at(r, max, "%s %.17g is below min %.17g", field_name(r, decl, "max"),
                         decl->max, decl->min);
    return ok;
}

static bool
check_option(const struct report *r, const char *name, const struct value *list, size_t index)
{
    const struct value *option = list->list.items[index];

    if (!value_is_scalar(option))
        return report_at(r, option, "%s must hold strings, numbers or booleans, got %s", name,
                         value_type_name(option->type));
    for (size_t i = 0; i < index; i++) {
        if (scalar_equal(list->list.items[i], option))
            return report_at(r, option, "%s holds the same option twice", name);
    }
    return true;
}

static bool read_options(const struct report *r, struct decl *decl, const struct value *value)
{
    const char *name = field_name(r, decl, "options");
    bool ok = true;

    if (decl->type != DECL_ENUM)
        return value ? report_at(r, value, "%s is only for enum", name) : true;
    if (!value)
        return report_key(r, decl->entry, "config.%s is an enum and needs options", decl->path);
    if (!report_type(r, name, value, VALUE_LIST))
        return false;
    if (value->list.len == 0)
        return report_at(r, value, "%s is empty", name);
    for (size_t i = 0; i < value->list.len; i++)
        ok = check_option(r, name, value, i) && ok;
    decl->options = value;
    return ok;
}

static struct decl *
read_map(const struct report *r, const char *prefix, const struct value *map, size_t *count);

static bool read_properties(const struct report *r, struct decl *decl, const struct value *value)
{
    const char *name = field_name(r, decl, "properties");
    const size_t before = r->problems->errors;

    if (decl->type != DECL_OBJECT)
        return value ? report_at(r, value, "%s is only for object", name) : true;
    if (!value)
        return report_key(r, decl->entry, "config.%s is an object and needs properties",
                          decl->path);
    if (!report_type(r, name, value, VALUE_MAP))
        return false;
    if (value->map.len == 0)
        return report_at(r, value, "%s is empty", name);
    decl->properties =
        read_map(r, arena_printf(r->arena, "%s.", decl->path), value, &decl->property_count);
    return r->problems->errors == before;
}

/* The default of an object is a map with defaults for its properties. */
static bool check_preset(const struct report *r, const struct decl *decl, const struct value *value)
{
    struct buf wanted = {0};
    bool ok = true;

    if (!value || value->type == VALUE_NULL)
        return true;
    if (!decl_accepts(decl, value)) {
        decl_expectation(decl, &wanted);
        report_at(r, value, "config.%s.default must be %s", decl->path, wanted.data);
        buf_fini(&wanted);
        return false;
    }
    for (size_t i = 0; i < decl->property_count; i++)
        ok = check_preset(r, &decl->properties[i], value_get(value, decl->properties[i].key)) && ok;
    return ok;
}

static bool read_attributes(const struct report *r, struct decl *decl, const struct value *map)
{
    const struct value *label = value_get(map, "label");
    const struct value *description = value_get(map, "description");
    bool ok = true;

    if (label)
        ok = report_type(r, field_name(r, decl, "label"), label, VALUE_STRING) && ok;
    if (description)
        ok = report_type(r, field_name(r, decl, "description"), description, VALUE_STRING) && ok;
    ok = read_bool(r, field_name(r, decl, "required"), value_get(map, "required"),
                   &decl->required) &&
         ok;
    ok = read_env(r, decl, value_get(map, "env")) && ok;
    ok = read_bounds(r, decl, map) && ok;
    ok = read_options(r, decl, value_get(map, "options")) && ok;
    return read_properties(r, decl, value_get(map, "properties")) && ok;
}

static bool read_decl(const struct report *r, struct decl *decl)
{
    const struct value *map = decl->entry->value;
    const char *where = arena_printf(r->arena, "config.%s", decl->path);

    if (decl->entry->key.len == 0)
        return report_key(r, decl->entry, "config: a field needs a name");
    if (!report_type(r, where, map, VALUE_MAP))
        return false;
    for (size_t i = 0; i < map->map.len; i++)
        report_near_miss(r, &map->map.entries[i], arena_printf(r->arena, "%s: ", where),
                         attributes);
    if (!read_type(r, decl, map) || !read_attributes(r, decl, map))
        return false;
    decl->preset = value_get(map, "default");
    return check_preset(r, decl, decl->preset);
}

static struct decl *
read_map(const struct report *r, const char *prefix, const struct value *map, size_t *count)
{
    struct decl *decls = arena_alloc(r->arena, map->map.len * sizeof(*decls));

    *count = 0;
    for (size_t i = 0; i < map->map.len; i++) {
        const struct value_entry *entry = &map->map.entries[i];
        struct decl *decl = &decls[*count];

        *decl = (struct decl){.entry = entry, .key = entry->key.at};
        decl->path = arena_printf(r->arena, "%s%s", prefix, entry->key.at);
        if (read_decl(r, decl))
            ++*count;
    }
    return decls;
}

struct decl *decl_read(const struct report *r, const struct value *config, size_t *count)
{
    return read_map(r, "", config, count);
}
