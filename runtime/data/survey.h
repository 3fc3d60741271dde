/* Questions to all other replicas at once, and what each of them answers, within a time.
 *
 * Asked are those on the roster when the question goes out. One that says goodbye meanwhile is not
 * waited for and not listed, one that is not heard any more has no answer; one that just came and
 * answers is listed. What is asked and answered is the caller's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "data/bus.h"

struct loop;
struct roster;
struct surveys;

enum { SURVEYS_MAX = 64 }; /* that run at a time */

/* Who asks, and which of its questions it is. */
struct question {
    char from[BUS_ID_MAX];
    uint64_t number;
};

struct survey_answer {
    const char *id;
    struct str text; /* absent: no answer; both borrowed during the callback */
};

struct surveys_options {
    struct loop *loop;
    struct bus *bus; /* borrowed until surveys_free(), like the roster */
    struct roster *roster;
    void *app;
    /* Another replica asks; surveys_answer() is called now, later or never. */
    void (*asked)(void *app, const struct question *question, struct str text);
};

struct surveys *surveys_new(const struct surveys_options *options);
void surveys_free(struct surveys *surveys); /* nobody is told any more; NULL is fine */

typedef void survey_done(void *arg, const struct survey_answer *answers, size_t len);

/* `done` is called once, on a later turn of the loop. False, and `done` is never called, when too
 * many questions are open.
 */
bool surveys_ask(
    struct surveys *surveys, struct str text, uint64_t timeout_ms, survey_done *done, void *arg);
void surveys_forget(struct surveys *surveys, const void *arg); /* its `done` is not called */
void surveys_gone(struct surveys *surveys, const char *id, bool said_so); /* as the roster says */
void surveys_give_up(struct surveys *surveys); /* nobody can be heard: all end now */

size_t surveys_answer_max(const struct surveys *surveys); /* bytes */
void surveys_answer(struct surveys *surveys, const struct question *question, struct str text);
