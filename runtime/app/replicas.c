#include "app/replicas.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "app/announce.h"
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

enum {
    ANNOUNCE_MS = 10000,
    ANNOUNCED_MAX = 64, /* reloads for others that have not ended */
};

/* --- the bus and the roster --- */

static void on_problem(void *app, const struct err *err)
{
    struct server *server = app;

    log_err(NULL, NULL, err);
    if (strcmp(err->code, "BUS_MESSAGE") != 0)
        surveys_give_up(server->surveys);
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

struct announced {
    struct server *server;
    struct announced *next;
    struct question question;
};

static unsigned count_announced(const struct server *server)
{
    unsigned count = 0;

    for (const struct announced *at = server->announced; at; at = at->next)
        count++;
    return count;
}

static struct announced *add_announced(struct server *server, const struct question *question)
{
    struct announced *announced = mem_alloc(sizeof(*announced));

    *announced = (struct announced){server, server->announced, *question};
    server->announced = announced;
    return announced;
}

static void free_announced(struct announced *announced)
{
    struct announced **at = &announced->server->announced;

    while (*at != announced)
        at = &(*at)->next;
    *at = announced->next;
    free(announced);
}

static void reloaded(void *arg, const struct reload_result *result)
{
    struct announced *announced = arg;
    struct surveys *surveys = announced->server->surveys;
    struct buf answer = {0};

    announce_write_answer(&answer, result, surveys_answer_max(surveys));
    surveys_answer(surveys, &announced->question, buf_str(&answer));
    buf_fini(&answer);
    for (size_t i = 0; i < result->len; i++) {
        if (result->items[i].err)
            log_err(result->items[i].name, NULL, result->items[i].err);
    }
    log_printf(result->ok ? LOG_INFO : LOG_WARN, "reloaded for %s: generation %llu, %zu plugins",
               announced->question.from, (unsigned long long)result->generation, result->len);
    free_announced(announced);
}

static void asked(void *app, const struct question *question, struct str text)
{
    struct server *server = app;
    struct reload_options options = {.only = NULL};
    char *name = NULL;

    if (server->stopping)
        return;
    if (count_announced(server) >= ANNOUNCED_MAX) {
        surveys_answer(server->surveys, question, announce_busy());
        return;
    }
    if (!announce_read(text, &options, &name)) {
        surveys_answer(server->surveys, question, announce_not_supported());
        return;
    }
    log_printf(LOG_INFO, "replica %s has reloaded, and so does this one", question->from);
    plugins_reload(server->plugins, &options, reloaded, add_announced(server, question));
    free(name);
}

/* --- reloads that it announces itself --- */

static void answered(void *arg, const struct survey_answer *answers, size_t len)
{
    (void)arg;
    for (size_t i = 0; i < len; i++) {
        if (!answers[i].text.at)
            log_printf(LOG_WARN, "replica %s has not answered to the reload", answers[i].id);
        else if (!announce_is_good(answers[i].text))
            log_printf(LOG_WARN, "replica %s has reloaded with errors: its log tells them",
                       answers[i].id);
    }
}

void replicas_announce(struct server *server, const struct reload_options *options)
{
    char *text;

    if (bus_alone(server->bus))
        return;
    text = announce_question(options);
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
    while (server->announced)
        free_announced(server->announced); /* the plugins are gone, and tell nobody */
    surveys_free(server->surveys);
    roster_free(server->roster);
    bus_free(server->bus);
    server->bus = NULL;
}
