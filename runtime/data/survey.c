#include "data/survey.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "data/roster.h"
#include "ev/loop.h"

/* Who is asked. */
struct person {
    char id[BUS_ID_MAX];
    char *text; /* NULL: no answer yet */
    size_t len;
    bool lost; /* there will be none */
};

struct survey {
    struct timer timer; /* first: over() casts back */
    struct surveys *surveys;
    struct survey *next;
    uint64_t number;
    struct person *people;
    size_t count;
    survey_done *done; /* NULL: nobody wants to know */
    void *arg;
};

/* Of all answers that are kept; one that has no room counts as none. */
enum { ANSWER_BYTES = 16 << 20 };

struct surveys {
    struct surveys_options options;
    struct bus_listener ask, answer;
    struct survey *first;
    unsigned open;
    uint64_t last;
    size_t bytes; /* of answers */
};

/* --- the end of a survey --- */

static void free_survey(struct survey *survey)
{
    struct survey **slot = &survey->surveys->first;

    while (*slot != survey)
        slot = &(*slot)->next;
    *slot = survey->next;
    survey->surveys->open--;
    timer_stop(&survey->timer);
    for (size_t i = 0; i < survey->count; i++) {
        survey->surveys->bytes -= survey->people[i].len;
        free(survey->people[i].text);
    }
    free(survey->people);
    free(survey);
}

static void over(struct timer *timer)
{
    struct survey *survey = (struct survey *)timer;
    struct survey_answer *answers = mem_alloc((survey->count + 1) * sizeof(*answers));

    for (size_t i = 0; i < survey->count; i++)
        answers[i] = (struct survey_answer){survey->people[i].id,
                                            {survey->people[i].text, survey->people[i].len}};
    if (survey->done)
        survey->done(survey->arg, answers, survey->count);
    free(answers);
    free_survey(survey);
}

/* Told on a later turn, by the timer that runs in any case. */
static void end_if_complete(struct survey *survey)
{
    for (size_t i = 0; i < survey->count; i++) {
        if (!survey->people[i].text && !survey->people[i].lost)
            return;
    }
    timer_start(survey->surveys->options.loop, &survey->timer, 0);
}

/* --- asking --- */

static struct person *find(struct survey *survey, struct str id)
{
    for (size_t i = 0; i < survey->count; i++) {
        if (str_equal(str_of(survey->people[i].id), id))
            return &survey->people[i];
    }
    return NULL;
}

static struct person *add(struct survey *survey, struct str id)
{
    struct person *person;

    survey->people = mem_resize(survey->people, (survey->count + 1) * sizeof(*person));
    person = &survey->people[survey->count++];
    *person = (struct person){.text = NULL};
    snprintf(person->id, sizeof(person->id), "%.*s", (int)id.len, id.at);
    return person;
}

bool surveys_ask(
    struct surveys *surveys, struct str text, uint64_t timeout_ms, survey_done *done, void *arg)
{
    struct buf payload = {0};
    struct survey *survey;

    if (surveys->open >= SURVEYS_MAX)
        return false;
    survey = mem_alloc(sizeof(*survey));
    survey->timer.fire = over;
    survey->surveys = surveys;
    survey->number = ++surveys->last;
    survey->done = done;
    survey->arg = arg;
    survey->next = surveys->first;
    surveys->first = survey;
    surveys->open++;
    for (const struct roster_entry *e = roster_first(surveys->options.roster); e; e = e->next)
        add(survey, str_of(e->id));
    timer_start(surveys->options.loop, &survey->timer, timeout_ms);
    end_if_complete(survey);
    buf_printf(&payload, "%llu ", (unsigned long long)survey->number);
    buf_add_str(&payload, text);
    bus_broadcast(surveys->options.bus, "ask", buf_str(&payload));
    buf_fini(&payload);
    return true;
}

void surveys_forget(struct surveys *surveys, const void *arg)
{
    for (struct survey *survey = surveys->first; survey; survey = survey->next) {
        if (survey->arg == arg)
            survey->done = NULL;
    }
}

void surveys_gone(struct surveys *surveys, const char *id, bool said_so)
{
    for (struct survey *survey = surveys->first; survey; survey = survey->next) {
        struct person *person = find(survey, str_of(id));

        if (!person || person->text)
            continue;
        if (said_so)
            *person = survey->people[--survey->count];
        else
            person->lost = true;
        end_if_complete(survey);
    }
}

void surveys_give_up(struct surveys *surveys)
{
    for (struct survey *survey = surveys->first; survey; survey = survey->next) {
        for (size_t i = 0; i < survey->count; i++)
            survey->people[i].lost = true;
        end_if_complete(survey);
    }
}

/* --- being asked --- */

/* The number before the first space; 0: there is none. */
static uint64_t take_number(struct str *text)
{
    uint64_t number = 0;
    size_t i = 0;

    for (; i < text->len && i < 19 && text->at[i] >= '0' && text->at[i] <= '9'; i++)
        number = number * 10 + (uint64_t)(text->at[i] - '0');
    if (i == 0 || i == text->len || text->at[i] != ' ')
        return 0;
    text->at += i + 1;
    text->len -= i + 1;
    return number;
}

static void heard_ask(struct bus_listener *listener, struct str from, struct str payload)
{
    struct surveys *surveys = (struct surveys *)((char *)listener - offsetof(struct surveys, ask));
    struct question question = {.number = take_number(&payload)};

    if (question.number == 0)
        return;
    snprintf(question.from, sizeof(question.from), "%.*s", (int)from.len, from.at);
    surveys->options.asked(surveys->options.app, &question, payload);
}

size_t surveys_answer_max(const struct surveys *surveys)
{
    return bus_payload_max(surveys->options.bus) - BUS_ID_MAX - 24;
}

void surveys_answer(struct surveys *surveys, const struct question *question, struct str text)
{
    struct buf payload = {0};

    buf_printf(&payload, "%llu %s ", (unsigned long long)question->number, question->from);
    buf_add_str(&payload, text);
    bus_broadcast(surveys->options.bus, "answer", buf_str(&payload));
    buf_fini(&payload);
}

/* --- being answered --- */

static void note(struct survey *survey, struct str from, struct str text)
{
    struct surveys *surveys = survey->surveys;
    struct person *person = find(survey, from);

    if (!person && survey->count < 2 * ROSTER_MAX)
        person = add(survey, from);
    if (person == NULL || person->text)
        return;
    person->lost = text.len > ANSWER_BYTES - surveys->bytes;
    if (!person->lost) {
        person->text = mem_copy_n(text.at, text.len);
        person->len = text.len;
        surveys->bytes += text.len;
    }
    end_if_complete(survey);
}

static void heard_answer(struct bus_listener *listener, struct str from, struct str payload)
{
    struct surveys *surveys =
        (struct surveys *)((char *)listener - offsetof(struct surveys, answer));
    const uint64_t number = take_number(&payload);
    const struct str me = str_of(bus_id(surveys->options.bus));
    struct survey *survey = surveys->first;

    if (!str_starts(payload, me) || payload.len == me.len || payload.at[me.len] != ' ')
        return; /* somebody else's */
    payload.at += me.len + 1;
    payload.len -= me.len + 1;
    while (survey && survey->number != number)
        survey = survey->next;
    if (survey)
        note(survey, from, payload);
}

/* --- the whole --- */

struct surveys *surveys_new(const struct surveys_options *options)
{
    struct surveys *surveys = mem_alloc(sizeof(*surveys));

    surveys->options = *options;
    surveys->ask = (struct bus_listener){"ask", heard_ask, NULL, NULL};
    surveys->answer = (struct bus_listener){"answer", heard_answer, NULL, NULL};
    bus_listen(options->bus, &surveys->ask);
    bus_listen(options->bus, &surveys->answer);
    return surveys;
}

void surveys_free(struct surveys *surveys)
{
    if (!surveys)
        return;
    bus_unlisten(surveys->options.bus, &surveys->ask);
    bus_unlisten(surveys->options.bus, &surveys->answer);
    while (surveys->first)
        free_survey(surveys->first);
    free(surveys);
}
