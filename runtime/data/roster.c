#include "data/roster.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "base/mem.h"
#include "ev/loop.h"

enum { ANSWER_MS = 50 }; /* one hello for all who ask within it */

struct roster {
    struct roster_options options;
    struct bus_listener hello, bye; /* `hello` first: its functions cast back */
    struct timer beat, expiry;
    struct roster_entry *first;
    unsigned count;
    int64_t since_ms;
    bool started;
};

static struct roster *of_bye(struct bus_listener *listener)
{
    return (struct roster *)((char *)listener - offsetof(struct roster, bye));
}

static struct roster *of_hello(struct bus_listener *listener)
{
    return (struct roster *)((char *)listener - offsetof(struct roster, hello));
}

/* --- what it says --- */

/* "asks SINCE VERSION" wants the others to say hello too, "here SINCE VERSION" does not. */
static void say_hello(struct roster *roster, bool asks)
{
    struct buf payload = {0};

    buf_printf(&payload, "%s %lld %s", asks ? "asks" : "here", (long long)roster->since_ms,
               roster->options.version);
    bus_broadcast(roster->options.bus, "hello", buf_str(&payload));
    buf_fini(&payload);
}

static void beat(struct timer *timer)
{
    struct roster *roster = (struct roster *)((char *)timer - offsetof(struct roster, beat));

    say_hello(roster, false);
    timer_start(roster->options.loop, timer, ROSTER_BEAT_MS);
}

/* --- who comes and goes --- */

static struct roster_entry *find(const struct roster *roster, struct str id)
{
    struct roster_entry *entry = roster->first;

    while (entry && !str_equal(str_of(entry->id), id))
        entry = entry->next;
    return entry;
}

static struct roster_entry *add(struct roster *roster, struct str id)
{
    struct roster_entry **slot = &roster->first;

    if (roster->count >= ROSTER_MAX)
        return NULL;
    while (*slot)
        slot = &(*slot)->next;
    *slot = mem_alloc(sizeof(**slot));
    snprintf((*slot)->id, sizeof((*slot)->id), "%.*s", (int)id.len, id.at);
    roster->count++;
    return *slot;
}

static void drop(struct roster *roster, struct roster_entry *entry, bool said_so)
{
    struct roster_entry **slot = &roster->first;

    while (*slot != entry)
        slot = &(*slot)->next;
    *slot = entry->next;
    roster->count--;
    if (roster->options.gone)
        roster->options.gone(roster->options.app, entry->id, said_so);
    free(entry);
}

/* Nothing that sscanf() could not read up to its end. */
static bool read_hello(struct str payload, bool *asks, struct roster_entry *into)
{
    char text[96], word[5];
    long long since;
    char version[ROSTER_VERSION_MAX];

    if (payload.len == 0 || payload.len >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), "%.*s", (int)payload.len, payload.at);
    if (sscanf(text, "%4s %18lld %31[0-9A-Za-z.+-]", word, &since, version) != 3)
        return false;
    *asks = strcmp(word, "asks") == 0;
    into->since_ms = since;
    memcpy(into->version, version, sizeof(version));
    return *asks || strcmp(word, "here") == 0;
}

static void heard_hello(struct bus_listener *listener, struct str from, struct str payload)
{
    struct roster *roster = of_hello(listener);
    struct roster_entry *entry = find(roster, from), told;
    const bool is_new = !entry;
    bool asks;

    if (!read_hello(payload, &asks, &told))
        return;
    if (!entry)
        entry = add(roster, from);
    if (!entry)
        return;
    entry->since_ms = told.since_ms;
    memcpy(entry->version, told.version, sizeof(entry->version));
    entry->heard_ms = clock_now_ns() / 1000000;
    if (asks && roster->started)
        timer_start(roster->options.loop, &roster->beat, ANSWER_MS);
    if (is_new && roster->options.joined)
        roster->options.joined(roster->options.app, entry->id);
}

static void heard_bye(struct bus_listener *listener, struct str from, struct str payload)
{
    struct roster *roster = of_bye(listener);
    struct roster_entry *entry = find(roster, from);

    (void)payload;
    if (entry)
        drop(roster, entry, true);
}

static void restart_clocks(struct roster *roster)
{
    for (struct roster_entry *entry = roster->first; entry; entry = entry->next)
        entry->heard_ms = clock_now_ns() / 1000000;
}

static void restored(struct bus_listener *listener)
{
    struct roster *roster = of_hello(listener);

    restart_clocks(roster);
    if (roster->started)
        say_hello(roster, true);
}

static void expire(struct timer *timer)
{
    struct roster *roster = (struct roster *)((char *)timer - offsetof(struct roster, expiry));
    const uint64_t now = clock_now_ns() / 1000000;
    struct roster_entry *next;

    timer_start(roster->options.loop, timer, 1000);
    if (!bus_hears(roster->options.bus)) {
        restart_clocks(roster);
        return;
    }
    for (struct roster_entry *entry = roster->first; entry; entry = next) {
        next = entry->next;
        if (entry->heard_ms + ROSTER_GONE_MS <= now)
            drop(roster, entry, false);
    }
}

/* --- the whole --- */

static int64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct roster *roster_new(const struct roster_options *options)
{
    struct roster *roster = mem_alloc(sizeof(*roster));

    roster->options = *options;
    roster->hello = (struct bus_listener){"hello", heard_hello, restored, NULL};
    roster->bye = (struct bus_listener){"bye", heard_bye, NULL, NULL};
    roster->beat.fire = beat;
    roster->expiry.fire = expire;
    roster->since_ms = wall_ms();
    bus_listen(options->bus, &roster->hello);
    bus_listen(options->bus, &roster->bye);
    return roster;
}

void roster_start(struct roster *roster)
{
    if (bus_alone(roster->options.bus))
        return;
    roster->started = true;
    say_hello(roster, true);
    timer_start(roster->options.loop, &roster->beat, ROSTER_BEAT_MS);
    timer_start(roster->options.loop, &roster->expiry, ROSTER_BEAT_MS);
}

void roster_leave(struct roster *roster)
{
    if (!roster->started)
        return;
    roster->started = false;
    timer_stop(&roster->beat);
    timer_stop(&roster->expiry);
    bus_broadcast(roster->options.bus, "bye", STR(""));
}

void roster_free(struct roster *roster)
{
    if (!roster)
        return;
    timer_stop(&roster->beat);
    timer_stop(&roster->expiry);
    bus_unlisten(roster->options.bus, &roster->hello);
    bus_unlisten(roster->options.bus, &roster->bye);
    while (roster->first) {
        struct roster_entry *entry = roster->first;

        roster->first = entry->next;
        free(entry);
    }
    free(roster);
}

int64_t roster_since_ms(const struct roster *roster)
{
    return roster->since_ms;
}

const struct roster_entry *roster_first(const struct roster *roster)
{
    return roster->first;
}

const struct roster_entry *roster_find(const struct roster *roster, struct str id)
{
    return find(roster, id);
}
