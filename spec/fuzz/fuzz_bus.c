/* Messages of other replicas, one a line: whatever they are, nothing is read outside, and the
 * roster stays in its bounds, with names that are names.
 */
#include "fuzz.h"

#include <stdio.h>

#include "app/announce.h"
#include "data/bus_impl.h"
#include "data/roster.h"
#include "data/survey.h"
#include "plugin/reload.h"

static void *start_wire(struct bus *bus)
{
    bus_restored(bus);
    return bus;
}

static void stop_wire(void *state)
{
    (void)state;
}

/* What it says comes back, as that of all do. */
static void send_wire(void *state, struct str message)
{
    bus_heard(state, message);
    bus_sent(state, message.len, true);
}

static const struct bus_way wire = {start_wire, stop_wire, send_wire, 4096};

static struct surveys *surveys;

static void gone(void *app, const char *id, bool said_so)
{
    (void)app;
    surveys_gone(surveys, id, said_so);
}

static void asked(void *app, const struct question *question, struct str text)
{
    struct reload_options options = {.only = NULL};
    char *name = NULL;

    (void)app;
    require(question->number > 0 && strlen(question->from) > 0);
    if (announce_read(text, &options, &name))
        require(!options.only || strlen(options.only) <= text.len);
    surveys_answer(surveys, question, text);
    free(name);
}

static void done(void *arg, const struct survey_answer *answers, size_t len)
{
    (void)arg;
    for (size_t i = 0; i < len; i++)
        require(strlen(answers[i].id) > 0);
}

static void hear_lines(struct bus *bus, struct str text)
{
    while (text.len > 0) {
        const struct str line = take_until(&text, '\n');
        char *bytes = exact_copy(line);

        bus_heard(bus, (struct str){bytes, line.len});
        free(bytes);
    }
}

static void check_roster(const struct roster *roster)
{
    size_t count = 0;

    for (const struct roster_entry *e = roster_first(roster); e; e = e->next) {
        require(strlen(e->id) > 0 && strspn(e->id, " \n/\"\\") == 0);
        require(roster_find(roster, str_of(e->id)) == e);
        count++;
    }
    require(count <= ROSTER_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct loop *loop;
    struct bus_options of_bus = {.loop = NULL};
    struct roster_options of_roster = {.version = "1.0.0", .gone = gone};
    struct surveys_options of_surveys = {.asked = asked};
    struct roster *roster;
    struct bus *bus;
    struct err err;

    if (!loop)
        loop = loop_new(&err);
    require(loop != NULL);
    of_bus.loop = of_roster.loop = of_surveys.loop = loop;
    bus = of_roster.bus = of_surveys.bus = bus_new(&of_bus);
    bus->way = &wire;
    snprintf(bus->id, sizeof(bus->id), "me-1");
    roster = of_surveys.roster = roster_new(&of_roster);
    surveys = surveys_new(&of_surveys);
    bus_start(bus);
    roster_start(roster);
    surveys_ask(surveys, STR("reload - "), 60000, done, NULL);
    hear_lines(bus, (struct str){(const char *)data, size});
    for (int i = 0; i < 5; i++)
        loop_turn(loop, 0);
    check_roster(roster);
    surveys_free(surveys);
    roster_free(roster);
    bus_free(bus);
    return 0;
}
