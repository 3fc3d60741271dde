/* buntime.core.replicas: the other servers of the deployment, and questions to all of them.
 *
 * Only the control plane's VM has this module (bind.c). app/announce.h knows what may be asked.
 */
#include <stdlib.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "bind/set_fields.h"
#include "data/bus.h"
#include "data/roster.h"
#include "data/survey.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"

static const struct plugins_options *options_of(lua_State *L)
{
    const struct instance *self = vm_host(vm_of(L));

    return plugins_options(self->plugins);
}

static bool is_alone(const struct plugins_options *options)
{
    return !options->bus || bus_alone(options->bus);
}

/* --- looking --- */

static void
push_replica(lua_State *L, const char *id, int64_t since_ms, const char *version, bool self)
{
    lua_createtable(L, 0, 4);
    set_text(L, "id", id);
    set_number(L, "since", (double)since_ms / 1000);
    set_text(L, "version", version);
    set_flag(L, "self", self);
}

/* list() -> this one, then the others in the order they came, and whether they can be heard */
static int list(lua_State *L)
{
    const struct plugins_options *options = options_of(L);

    new_list(L);
    if (!options->bus)
        return 1;
    push_replica(L, bus_id(options->bus), roster_since_ms(options->roster), BUNTIME_VERSION, true);
    append(L);
    for (const struct roster_entry *e = roster_first(options->roster); e; e = e->next) {
        push_replica(L, e->id, e->since_ms, e->version, false);
        append(L);
    }
    lua_pushboolean(L, is_alone(options) || bus_hears(options->bus));
    return 2;
}

/* alone() -> whether there is no database to find others by */
static int alone(lua_State *L)
{
    lua_pushboolean(L, is_alone(options_of(L)));
    return 1;
}

/* --- asking --- */

struct waiting {
    struct surveys *surveys;
    struct task *task;
};

struct answers {
    const struct survey_answer *items;
    size_t len;
};

static int push_answers(lua_State *L, void *arg)
{
    const struct answers *answers = arg;

    new_list(L);
    for (size_t i = 0; i < answers->len; i++) {
        lua_createtable(L, 0, 2);
        set_text(L, "id", answers->items[i].id);
        if (answers->items[i].text.at) {
            lua_pushlstring(L, answers->items[i].text.at, answers->items[i].text.len);
            lua_setfield(L, -2, "answer");
        }
        append(L);
    }
    return 1;
}

static void answered(void *arg, const struct survey_answer *items, size_t len)
{
    struct waiting *wait = arg;
    struct answers answers = {items, len};
    const struct task_answer answer = task_prepare(wait->task, push_answers, &answers, 1);

    free(wait);
    task_answer(answer);
}

static void forget(void *arg)
{
    struct waiting *wait = arg;

    surveys_forget(wait->surveys, wait);
    free(wait);
}

/* ask(text, ms): waits -> list of { id, answer? } */
static int ask(lua_State *L)
{
    const struct plugins_options *options = options_of(L);
    const lua_Number ms = luaL_checknumber(L, 2);
    struct task *task = task_current(L);
    struct waiting *wait;
    struct str text;

    text.at = luaL_checklstring(L, 1, &text.len);
    luaL_argcheck(L, ms >= 0 && ms <= 1e9, 2, "expected milliseconds");
    if (!task)
        return luaL_error(L, "cannot wait here: no task is running");
    wait = mem_alloc(sizeof(*wait));
    *wait = (struct waiting){options->surveys, task};
    if (surveys_ask(options->surveys, text, (uint64_t)ms, answered, wait))
        return task_wait(L, forget, wait);
    free(wait);
    return luaL_error(L, "too many questions to the replicas are open");
}

static const luaL_Reg functions[] = {
    {"alone", alone},
    {"ask", ask},
    {"list", list},
    {NULL, NULL},
};

int bind_replicas_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
