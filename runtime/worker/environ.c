#include "worker/environ.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "conf/env_names.h"
#include "conf/fields.h"
#include "conf/manifest.h"
#include "worker/app.h"

struct list {
    char **items;
    size_t len;
};

static bool has(const struct list *list, const char *name)
{
    const size_t len = strlen(name);

    for (size_t i = 0; i < list->len; i++) {
        if (strncmp(list->items[i], name, len) == 0 && list->items[i][len] == '=')
            return true;
    }
    return false;
}

/* The first that sets a name has it. */
static void set(struct list *list, const char *name, const char *value)
{
    if (!value || has(list, name))
        return;
    list->items = mem_resize(list->items, (list->len + 2) * sizeof(*list->items));
    list->items[list->len++] = mem_printf("%s=%s", name, value);
    list->items[list->len] = NULL;
}

/* --- the parts --- */

static void set_facts(struct list *list, const struct app *app, const struct environ_facts *facts)
{
    char *dir = realpath(app->dir, NULL);

    set(list, "APP_DIR", dir ? dir : app->dir);
    set(list, "ENTRYPOINT", app->manifest->entrypoint);
    set(list, "WORKER_ID", facts->worker_id);
    set(list, "RUNTIME_API_URL", facts->api_url);
    set(list, "TMPDIR", facts->temp_dir);
    free(dir);
}

/* As short as it can be without becoming another number. */
static void set_number(struct list *list, const char *name, double number)
{
    char text[40];
    double back = 0;

    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, number);
        back = strtod(text, NULL);
        if (memcmp(&back, &number, sizeof(back)) == 0)
            break;
    }
    set(list, name, text);
}

static void set_literal(struct list *list, const char *name, const struct value *value)
{
    if (value->type == VALUE_STRING)
        set(list, name, value->string.at);
    else if (value->type == VALUE_BOOL)
        set(list, name, value->boolean ? "true" : "false");
    else if (value->type == VALUE_NUMBER)
        set_number(list, name, value->number);
}

static void set_literals(struct list *list, const struct value *env)
{
    for (size_t i = 0; env && i < env->map.len; i++) {
        const struct value_entry *entry = &env->map.entries[i];
        if (!env_name_is_reserved(entry->key.at))
            set_literal(list, entry->key.at, entry->value);
    }
}

static const char *passed_on(const struct env_source *server, const char *name)
{
    if (!server || env_name_is_reserved(name) || env_name_is_secret(name))
        return NULL;
    return server->get(server, name);
}

/* --- the whole --- */

char **environ_make(const struct app *app, const struct environ_facts *facts)
{
    struct list list = {.items = mem_alloc(sizeof(char *))};

    set_facts(&list, app, facts);
    for (const char *const *name = facts->own; name && *name; name++)
        set(&list, *name, getenv(*name));
    set_literals(&list, app->manifest->env);
    for (const char *const *name = app->manifest->permissions.env; *name; name++)
        set(&list, *name, passed_on(facts->server, *name));
    return list.items;
}

void environ_free(char **environ_list)
{
    for (char **item = environ_list; item && *item; item++)
        free(*item);
    free(environ_list);
}

char *environ_passed(const struct app *app, const struct env_source *server)
{
    struct buf text = {0};

    buf_puts(&text, "");
    for (const char *const *name = app->manifest->permissions.env; *name; name++) {
        const char *value = passed_on(server, *name);
        if (value)
            buf_printf(&text, "%s=%s\n", *name, value);
    }
    return text.data ? text.data : mem_copy("");
}
