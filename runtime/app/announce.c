#include "app/announce.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "plugin/reload.h"
#include "worker/registry.h"

enum { ERRORS_MAX = 20, MESSAGE_MAX = 500, RESERVE = 64 };

static const struct str verb = {"reload ", 7};
static const struct str good = {"{\"ok\":true,", 11};

/* --- the question --- */

char *announce_question(const struct reload_options *options)
{
    return mem_printf("%s%s%s- %s", verb.at, options->changed ? "c" : "",
                      options->strict ? "s" : "", options->only ? options->only : "");
}

bool announce_read(struct str text, struct reload_options *options, char **name)
{
    const char *space;

    if (!str_starts(text, verb))
        return false;
    text.at += verb.len;
    text.len -= verb.len;
    space = text.len > 0 ? memchr(text.at, ' ', text.len) : NULL;
    if (!space)
        return false;
    options->changed = memchr(text.at, 'c', (size_t)(space - text.at)) != NULL;
    options->strict = memchr(text.at, 's', (size_t)(space - text.at)) != NULL;
    text.len -= (size_t)(space + 1 - text.at);
    *name = text.len > 0 ? mem_copy_n(space + 1, text.len) : NULL;
    options->only = *name;
    return true;
}

/* --- the answer --- */

struct list {
    struct buf *out;
    size_t max; /* bytes of `out` */
    size_t count, more;
};

static void add_text(struct buf *out, const char *key, const char *text)
{
    char *masked = mem_printf("%.*s", MESSAGE_MAX, text);

    log_mask(masked);
    buf_printf(out, "\"%s\":", key);
    buf_json_string(out, str_of(masked));
    free(masked);
}

/* Unless the list is full. */
static void add_error(struct list *list, const char *name, const struct err *err)
{
    struct buf one = {0};

    if (!err)
        return;
    buf_puts(&one, list->count > 0 ? ",{" : "{");
    if (name) {
        add_text(&one, "name", name);
        buf_putc(&one, ',');
    }
    add_text(&one, "code", err->code);
    buf_putc(&one, ',');
    add_text(&one, "message", err->message);
    buf_putc(&one, '}');
    if (list->more > 0 || list->count >= ERRORS_MAX ||
        list->out->len + one.len + RESERVE > list->max)
        list->more++;
    else
        buf_add_str(list->out, buf_str(&one));
    list->count += list->more == 0;
    buf_fini(&one);
}

static void add_errors(struct list *list, const struct reload_result *result)
{
    const struct app_set *apps = result->apps ? result->apps->set : NULL;
    struct err err;

    if (result->unknown) {
        err_set(&err, "PLUGIN_NOT_FOUND", "there is no plugin of that name");
        add_error(list, NULL, &err);
    }
    for (size_t i = 0; i < result->len; i++)
        add_error(list, result->items[i].name, result->items[i].err);
    for (size_t i = 0; apps && i < apps->len; i++)
        add_error(list, apps->entries[i].name, apps->entries[i].err);
}

void announce_write_answer(struct buf *out, const struct reload_result *result, size_t max)
{
    struct list list = {.out = out, .max = max};

    buf_printf(out, "{\"ok\":%s,\"generation\":%llu,\"durationMs\":%llu,\"errors\":[",
               result->ok && !result->unknown ? "true" : "false",
               (unsigned long long)result->generation, (unsigned long long)result->duration_ms);
    add_errors(&list, result);
    buf_printf(out, "],\"more\":%zu}", list.more);
}

struct str announce_not_supported(void)
{
    return STR("{\"ok\":false,\"errors\":[{\"code\":\"NOT_SUPPORTED\","
               "\"message\":\"this version does not know what it was asked\"}]}");
}

struct str announce_busy(void)
{
    return STR("{\"ok\":false,\"errors\":[{\"code\":\"BUSY\","
               "\"message\":\"too many reloads that others announced wait here\"}]}");
}

bool announce_is_good(struct str answer)
{
    return str_starts(answer, good);
}
