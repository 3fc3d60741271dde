#include "app/replicas.h"

#include <stddef.h>
#include <stdlib.h>

#include "app/auth.h"
#include "app/server.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "data/bus.h"
#include "data/cron_book.h"
#include "data/cron_lock.h"
#include "data/roster.h"
#include "data/survey.h"
#include "plugin/plugins.h"
#include "plugin/reload.h"

enum { ANNOUNCE_MS = 10000, ERRORS_MAX = 20, MESSAGE_MAX = 500, ANSWER_RESERVE = 64 };

/* --- the bus and the roster --- */

static void on_problem(void *app, const struct err *err)
{
    (void)app;
    log_err(NULL, NULL, err);
}

static void on_restored(void *app)
{
    (void)app;
    log_printf(LOG_INFO, "the other replicas can be reached again");
}

static void joined(void *app, const char *id)
{
    (void)app;
    log_printf(LOG_INFO, "replica %s has come", id);
}

static void gone(void *app, const char *id, bool said_so)
{
    struct server *server = app;

    surveys_gone(server->surveys, id, said_so);
    if (said_so)
        log_printf(LOG_INFO, "replica %s has left", id);
    else
        log_printf(LOG_WARN, "replica %s is not heard any more", id);
}

/* --- reloads that others announce --- */

/* "reload FLAGS NAME": FLAGS of "c" (changed), "s" (strict) and "-", NAME may be empty. */
static bool read_reload(struct str text, struct reload_options *options, char **name)
{
    static const struct str verb = {"reload ", 7};
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

static void add_text(struct buf *out, const char *key, const char *text)
{
    char *masked = mem_printf("%.*s", MESSAGE_MAX, text);

    log_mask(masked);
    buf_printf(out, "\"%s\":", key);
    buf_json_string(out, str_of(masked));
    free(masked);
}

static void add_error(struct buf *out, const char *plugin, const struct err *err)
{
    buf_putc(out, '{');
    add_text(out, "plugin", plugin);
    buf_putc(out, ',');
    add_text(out, "code", err->code);
    buf_putc(out, ',');
    add_text(out, "message", err->message);
    buf_putc(out, '}');
}

/* As many as fit. Returns how many are left out. */
static size_t add_errors(struct buf *out, const struct reload_result *result, size_t max)
{
    size_t more = 0, count = 0;
    struct buf one = {0};

    for (size_t i = 0; i < result->len; i++) {
        const struct reload_item *item = &result->items[i];

        if (!item->err)
            continue;
        buf_reset(&one);
        add_error(&one, item->name, item->err);
        if (more > 0 || count >= ERRORS_MAX || out->len + one.len + ANSWER_RESERVE > max) {
            more++;
            continue;
        }
        if (count++ > 0)
            buf_putc(out, ',');
        buf_add_str(out, buf_str(&one));
    }
    buf_fini(&one);
    return more;
}

struct announced {
    struct server *server;
    struct question question;
};

static void write_answer(struct buf *out, const struct reload_result *result, size_t max)
{
    size_t more;

    buf_printf(out, "{\"ok\":%s,\"generation\":%llu,\"durationMs\":%llu,\"errors\":[",
               result->ok && !result->unknown ? "true" : "false",
               (unsigned long long)result->generation, (unsigned long long)result->duration_ms);
    if (result->unknown) {
        struct err err;

        err_set(&err, "PLUGIN_NOT_FOUND", "there is no plugin of that name");
        add_error(out, "", &err);
    }
    more = add_errors(out, result, max);
    buf_printf(out, "],\"more\":%zu}", more);
}

static void reloaded(void *arg, const struct reload_result *result)
{
    struct announced *announced = arg;
    struct surveys *surveys = announced->server->surveys;
    struct buf answer = {0};

    write_answer(&answer, result, surveys_answer_max(surveys));
    surveys_answer(surveys, &announced->question, buf_str(&answer));
    buf_fini(&answer);
    for (size_t i = 0; i < result->len; i++) {
        if (result->items[i].err)
            log_err(result->items[i].name, NULL, result->items[i].err);
    }
    log_printf(result->ok ? LOG_INFO : LOG_WARN, "reloaded for %s: generation %llu, %zu plugins",
               announced->question.from, (unsigned long long)result->generation, result->len);
    free(announced);
}

static void asked(void *app, const struct question *question, struct str text)
{
    struct server *server = app;
    struct reload_options options = {.only = NULL};
    struct announced *announced;
    char *name = NULL;

    if (server->stopping)
        return;
    if (!read_reload(text, &options, &name)) {
        surveys_answer(server->surveys, question,
                       STR("{\"ok\":false,\"errors\":[{\"plugin\":\"\",\"code\":\"NOT_SUPPORTED\","
                           "\"message\":\"this version does not know what it was asked\"}]}"));
        return;
    }
    log_printf(LOG_INFO, "replica %s has reloaded, and so does this one", question->from);
    announced = mem_alloc(sizeof(*announced));
    announced->server = server;
    announced->question = *question;
    plugins_reload(server->plugins, &options, reloaded, announced);
    free(name);
}

/* --- reloads that it announces itself --- */

static void answered(void *arg, const struct survey_answer *answers, size_t len)
{
    static const struct str good = {"{\"ok\":true,", 11};

    (void)arg;
    for (size_t i = 0; i < len; i++) {
        if (!answers[i].text.at)
            log_printf(LOG_WARN, "replica %s has not answered to the reload", answers[i].id);
        else if (!str_starts(answers[i].text, good))
            log_printf(LOG_WARN, "replica %s has reloaded with errors: its log tells them",
                       answers[i].id);
    }
}

void replicas_announce(struct server *server, const struct reload_options *options)
{
    char *text;

    if (bus_alone(server->bus))
        return;
    text = mem_printf("reload %s%s- %s", options->changed ? "c" : "", options->strict ? "s" : "",
                      options->only ? options->only : "");
    surveys_ask(server->surveys, str_of(text), ANNOUNCE_MS, answered, server);
    free(text);
}

/* --- the whole --- */

static void open_roster(struct server *server)
{
    const struct roster_options options = {
        .loop = server->loop,
        .bus = server->bus,
        .version = BUNTIME_VERSION,
        .app = server,
        .joined = joined,
        .gone = gone,
    };

    server->roster = roster_new(&options);
}

static void open_surveys(struct server *server)
{
    const struct surveys_options options = {
        .loop = server->loop,
        .bus = server->bus,
        .roster = server->roster,
        .app = server,
        .asked = asked,
    };

    server->surveys = surveys_new(&options);
}

/* With PostgreSQL alone every replica runs its schedules. */
static void open_cron_locks(struct server *server)
{
    const struct cron_locks_options options = {
        .loop = server->loop,
        .redis = server->redis,
        .replica = bus_id(server->bus),
    };

    if (!server->redis)
        return;
    server->cron_locks = cron_locks_new(&options);
    cron_book_share(server->cron, server->cron_locks);
}

void replicas_init(struct server *server, struct plugins_options *options)
{
    const struct bus_options of_bus = {
        .loop = server->loop,
        .redis = server->redis,
        .postgres = server->database,
        .app = server,
        .on_problem = on_problem,
        .on_restored = on_restored,
    };

    options->bus = server->bus = bus_new(&of_bus);
    open_roster(server);
    open_surveys(server);
    options->roster = server->roster;
    options->surveys = server->surveys;
    open_cron_locks(server);
    auth_share(server);
}

void replicas_start(struct server *server)
{
    bus_start(server->bus);
    roster_start(server->roster);
    if (!bus_alone(server->bus))
        log_printf(LOG_INFO, "this is replica %s", bus_id(server->bus));
}

void replicas_leave(struct server *server)
{
    roster_leave(server->roster);
}

void replicas_fini(struct server *server)
{
    if (!server->bus)
        return;
    cron_locks_free(server->cron_locks);
    surveys_free(server->surveys);
    roster_free(server->roster);
    bus_free(server->bus);
    server->bus = NULL;
}
