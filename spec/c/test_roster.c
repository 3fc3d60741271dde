/* The roster and surveys of three replicas over a wire that can be cut, by a clock that the test
 * moves.
 */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "data/bus_impl.h"
#include "data/roster.h"
#include "data/survey.h"

#include "check.h"

static int64_t passed_ns;

int clock_gettime(clockid_t id, struct timespec *out)
{
    const long rc = syscall(SYS_clock_gettime, id, out);
    const int64_t ns = (int64_t)out->tv_sec * 1000000000 + out->tv_nsec + passed_ns;

    out->tv_sec = ns / 1000000000;
    out->tv_nsec = ns % 1000000000;
    return (int)rc;
}

/* --- the wire --- */

enum { COUNT = 3 };

struct replica {
    struct bus *bus;
    struct roster *roster;
    struct surveys *surveys;
    unsigned joined, left, lost, asked;
    struct question question; /* the last one */
    char said[64];            /* what it was */
};

static struct loop *loop;
static struct replica replicas[COUNT];
static bool cut;

static void *start_wire(struct bus *bus)
{
    bus_restored(bus);
    return bus;
}

static void stop_wire(void *state)
{
    (void)state;
}

static void send_wire(void *state, struct str message)
{
    for (int i = 0; i < COUNT && !cut; i++) {
        if (replicas[i].bus)
            bus_heard(replicas[i].bus, message);
    }
    bus_sent(state, message.len, !cut);
}

static const struct bus_way wire = {start_wire, stop_wire, send_wire, 4096};

/* --- the replicas --- */

static void joined(void *app, const char *id)
{
    (void)id;
    ((struct replica *)app)->joined++;
}

static void gone(void *app, const char *id, bool said_so)
{
    struct replica *r = app;

    *(said_so ? &r->left : &r->lost) += 1;
    surveys_gone(r->surveys, id, said_so);
}

static void asked(void *app, const struct question *question, struct str text)
{
    struct replica *r = app;

    r->asked++;
    r->question = *question;
    snprintf(r->said, sizeof(r->said), "%.*s", (int)text.len, text.at);
}

static void open_replica(struct replica *r)
{
    const struct bus_options of_bus = {.loop = loop};
    struct roster_options of_roster = {
        .loop = loop, .version = "1.2.3", .app = r, .joined = joined, .gone = gone};
    struct surveys_options of_surveys = {.loop = loop, .app = r, .asked = asked};

    *r = (struct replica){.bus = bus_new(&of_bus)};
    r->bus->way = &wire;
    of_roster.bus = of_surveys.bus = r->bus;
    r->roster = of_surveys.roster = roster_new(&of_roster);
    r->surveys = surveys_new(&of_surveys);
    bus_start(r->bus);
    roster_start(r->roster);
}

/* As a kill does. */
static void close_replica(struct replica *r)
{
    surveys_free(r->surveys);
    roster_free(r->roster);
    bus_free(r->bus);
    r->bus = NULL;
}

static void pass(unsigned ms)
{
    for (unsigned at = 0; at <= ms; at += 50) {
        for (int i = 0; i < 5; i++)
            CHECK(loop_turn(loop, 0));
        passed_ns += (int64_t)50 * 1000000;
    }
}

static unsigned count(const struct replica *r)
{
    unsigned n = 0;

    for (const struct roster_entry *e = roster_first(r->roster); e; e = e->next)
        n++;
    return n;
}

static void open_all(void)
{
    for (int i = 0; i < COUNT; i++)
        open_replica(&replicas[i]);
    pass(200);
    for (int i = 0; i < COUNT; i++)
        CHECK(count(&replicas[i]) == COUNT - 1);
}

static void close_all(void)
{
    for (int i = 0; i < COUNT; i++) {
        if (replicas[i].bus)
            close_replica(&replicas[i]);
    }
}

/* --- the roster --- */

static void test_coming_and_going(void)
{
    const struct roster_entry *entry;

    open_all();
    CHECK(replicas[0].joined == 2);
    entry = roster_find(replicas[0].roster, str_of(bus_id(replicas[1].bus)));
    CHECK(entry && entry->since_ms == roster_since_ms(replicas[1].roster));
    CHECK_STR(entry->version, "1.2.3");
    CHECK(!roster_find(replicas[0].roster, str_of(bus_id(replicas[0].bus))));
    pass(60000);
    CHECK(count(&replicas[0]) == 2 && replicas[0].joined == 2);
    roster_leave(replicas[1].roster);
    close_replica(&replicas[1]);
    pass(100);
    CHECK(count(&replicas[0]) == 1 && replicas[0].left == 1 && replicas[0].lost == 0);
    close_replica(&replicas[2]);
    pass(ROSTER_GONE_MS - 4000);
    CHECK(count(&replicas[0]) == 1);
    pass(6000);
    CHECK(count(&replicas[0]) == 0 && replicas[0].lost == 1);
    close_all();
}

/* Who comes late is told at once who is there, and not only when they say so again. */
static void test_coming_late(void)
{
    open_replica(&replicas[0]);
    open_replica(&replicas[1]);
    pass(1000);
    open_replica(&replicas[2]);
    pass(200);
    CHECK(count(&replicas[2]) == 2 && count(&replicas[0]) == 2);
    close_all();
}

/* Without a wire it is not known who is there. */
static void test_cut_wire(void)
{
    open_all();
    cut = true;
    pass(60000);
    CHECK(count(&replicas[0]) == 2 && !bus_hears(replicas[0].bus));
    close_replica(&replicas[2]);
    cut = false;
    pass(5000);
    CHECK(count(&replicas[0]) == 2 && bus_hears(replicas[0].bus));
    pass(12000);
    CHECK(count(&replicas[0]) == 1 && replicas[0].lost == 1);
    close_all();
}

/* --- surveys --- */

static struct {
    unsigned told;
    size_t len;
    char texts[256]; /* of each who was asked, in the order of the replicas, with a space after */
} outcome;

static void done(void *arg, const struct survey_answer *answers, size_t len)
{
    (void)arg;
    outcome.told++;
    outcome.len = len;
    outcome.texts[0] = '\0';
    for (int i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < len; k++) {
            const size_t used = strlen(outcome.texts);

            if (!replicas[i].bus || strcmp(answers[k].id, bus_id(replicas[i].bus)) != 0)
                continue;
            snprintf(outcome.texts + used, sizeof(outcome.texts) - used, "%.*s ",
                     answers[k].text.at ? (int)answers[k].text.len : 1,
                     answers[k].text.at ? answers[k].text.at : "-");
        }
    }
}

static void reply(struct replica *r, const char *text)
{
    surveys_answer(r->surveys, &r->question, str_of(text));
}

static void ask(void)
{
    outcome.told = 0;
    CHECK(surveys_ask(replicas[0].surveys, STR("how are you"), 10000, done, NULL));
    pass(50);
}

static void test_answers(void)
{
    open_all();
    ask();
    CHECK(replicas[1].asked == 1 && replicas[2].asked == 1 && replicas[0].asked == 0);
    CHECK_STR(replicas[1].said, "how are you");
    CHECK(outcome.told == 0);
    reply(&replicas[1], "well");
    reply(&replicas[1], "twice");
    pass(100);
    CHECK(outcome.told == 0);
    reply(&replicas[2], "");
    pass(100);
    CHECK(outcome.told == 1 && outcome.len == 2);
    CHECK_STR(outcome.texts, "well  ");
    reply(&replicas[2], "late");
    pass(20000);
    CHECK(outcome.told == 1);

    /* One who stays silent. */
    ask();
    reply(&replicas[2], "well");
    pass(9000);
    CHECK(outcome.told == 0);
    pass(2000);
    CHECK(outcome.told == 1 && outcome.len == 2);
    CHECK_STR(outcome.texts, "- well ");
    close_all();
}

static void weigh(void *arg, const struct survey_answer *answers, size_t len)
{
    size_t *bytes = arg;

    outcome.told++;
    outcome.len = len;
    for (size_t i = 0; i < len; i++)
        *bytes += answers[i].text.len;
}

/* Whoever may write to the channel cannot fill the memory with answers. */
static void test_large_answers(void)
{
    enum { LARGE = 1 << 20, MANY = 20 };
    char *message = mem_alloc(LARGE + 256);
    size_t bytes = 0, heard = 0;

    open_all();
    outcome.told = 0;
    CHECK(surveys_ask(replicas[0].surveys, STR("x"), 10000, weigh, &bytes));
    pass(50);
    for (int i = 0; i < MANY; i++) {
        const int head =
            snprintf(message, 256, "buntime1 x-%d answer %llu %s ", i,
                     (unsigned long long)replicas[1].question.number, bus_id(replicas[0].bus));
        memset(message + head, 'x', LARGE);
        bus_heard(replicas[0].bus, (struct str){message, (size_t)head + LARGE});
        CHECK(loop_turn(loop, 0));
        heard += LARGE;
    }
    reply(&replicas[1], "");
    reply(&replicas[2], "");
    pass(100);
    CHECK(outcome.told == 1 && outcome.len == MANY + 2);
    CHECK(bytes == 16 << 20 && bytes < heard);
    ask();
    reply(&replicas[1], "well");
    reply(&replicas[2], "well");
    pass(100);
    CHECK_STR(outcome.texts, "well well "); /* there is room again */
    free(message);
    close_all();
}

static void test_gone_meanwhile(void)
{
    open_all();
    ask();
    roster_leave(replicas[1].roster);
    pass(100);
    CHECK(outcome.told == 0);
    reply(&replicas[2], "well");
    pass(100);
    CHECK(outcome.told == 1 && outcome.len == 1);
    CHECK_STR(outcome.texts, "well ");
    close_all();

    open_all();
    CHECK(surveys_ask(replicas[0].surveys, STR("x"), 60000, done, NULL));
    outcome.told = 0;
    pass(50);
    close_replica(&replicas[1]);
    reply(&replicas[2], "well");
    pass(14000); /* long before the time is over */
    CHECK(outcome.told == 1 && outcome.len == 2);
    close_all();
}

/* Nobody waits for answers that cannot come. */
static void test_cut_meanwhile(void)
{
    open_all();
    ask();
    reply(&replicas[1], "well");
    pass(50);
    bus_problem(replicas[0].bus, "CONNECTION_LOST", "the wire is cut");
    CHECK(!bus_hears(replicas[0].bus));
    surveys_give_up(replicas[0].surveys);
    pass(50);
    CHECK(outcome.told == 1 && outcome.len == 2);
    CHECK_STR(outcome.texts, "well - ");
    pass(ROSTER_BEAT_MS);
    CHECK(bus_hears(replicas[0].bus));
    close_all();
}

static void test_nobody_and_nothing(void)
{
    int here;

    open_replica(&replicas[0]);
    pass(100);
    outcome.told = 0;
    CHECK(surveys_ask(replicas[0].surveys, STR("x"), 10000, done, NULL));
    CHECK(outcome.told == 0); /* on a later turn */
    pass(50);
    CHECK(outcome.told == 1 && outcome.len == 0);
    open_replica(&replicas[1]);
    pass(200);
    CHECK(surveys_ask(replicas[0].surveys, STR("x"), 10000, done, &here));
    surveys_forget(replicas[0].surveys, &here);
    pass(12000);
    CHECK(outcome.told == 1);
    for (int i = 0; i < SURVEYS_MAX; i++)
        CHECK(surveys_ask(replicas[0].surveys, STR("x"), 10000, done, NULL));
    CHECK(!surveys_ask(replicas[0].surveys, STR("x"), 10000, done, NULL));
    close_all(); /* with all of them open */
    CHECK(outcome.told == 1);
}

/* What does not read as it should changes nothing. */
static void test_odd_messages(void)
{
    static const char *const odd[] = {
        "buntime1 x-1 hello ",         "buntime1 x-1 hello here",
        "buntime1 x-1 hello here a b", "buntime1 x-1 hello been 5 1.0",
        "buntime1 x-1 ask x",          "buntime1 x-1 ask 99 ",
        "buntime1 x-1 ask 0 x",        "buntime1 x-1 answer 1 ",
        "buntime1 x-1 answer 1 x-1",   "buntime1 x-1 answer 1 y w",
        "buntime1 x-1 bye ",           "buntime1 x-1 ask 99999999999999999999 x",
    };

    open_replica(&replicas[0]);
    pass(100);
    for (size_t i = 0; i < LEN(odd); i++)
        bus_heard(replicas[0].bus, str_of(odd[i]));
    pass(100);
    CHECK(count(&replicas[0]) == 0 && replicas[0].asked == 1); /* "ask 99 ": an empty question */
    close_all();
}

static void test_many(void)
{
    char text[64];

    open_replica(&replicas[0]);
    for (int i = 0; i < 2 * ROSTER_MAX; i++) {
        snprintf(text, sizeof(text), "buntime1 x-%d hello here 5 1.0", i);
        bus_heard(replicas[0].bus, str_of(text));
    }
    pass(100);
    CHECK(count(&replicas[0]) == ROSTER_MAX);
    close_all();
}

int main(void)
{
    struct err err;

    loop = loop_new(&err);
    CHECK(loop);
    test_coming_and_going();
    test_coming_late();
    test_cut_wire();
    test_answers();
    test_large_answers();
    test_gone_meanwhile();
    test_cut_meanwhile();
    test_nobody_and_nothing();
    test_odd_messages();
    test_many();
    loop_free(loop);
    return 0;
}
