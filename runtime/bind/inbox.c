#include "bind/inbox.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "ev/loop.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"

enum { MESSAGES_MAX = 10000, BYTES_MAX = 16 << 20 };

struct message {
    struct message *next;
    unsigned count;
    size_t lens[INBOX_PARTS_MAX], size;
    char bytes[];
};

struct inbox {
    struct post post; /* first: deliver() casts back */
    struct vm *vm;
    struct message *first, **last;
    size_t count, bytes;
    int function; /* registry reference */
    bool running; /* the last message's task has not ended */
    bool closed;  /* freed when it has */
    bool full;    /* that it dropped something was reported */
    char source[96];
};

static void deliver(struct post *post);

struct inbox *inbox_new(struct vm *vm, int function, const char *source)
{
    struct inbox *inbox = mem_alloc(sizeof(*inbox));

    inbox->post.run = deliver;
    inbox->vm = vm;
    inbox->last = &inbox->first;
    inbox->function = function;
    snprintf(inbox->source, sizeof(inbox->source), "%s", source);
    return inbox;
}

static struct message *take(struct inbox *inbox)
{
    struct message *m = inbox->first;

    inbox->first = m->next;
    if (!inbox->first)
        inbox->last = &inbox->first;
    inbox->count--;
    inbox->bytes -= m->size;
    return m;
}

static void go_on(struct inbox *inbox)
{
    if (inbox->first && !inbox->running)
        loop_post(vm_loop(inbox->vm), &inbox->post);
}

/* --- delivering --- */

/* Protected: a message may be larger than what the VM has left. */
static int push_parts(lua_State *L, void *arg)
{
    const struct message *m = arg;
    const char *at = m->bytes;

    for (unsigned i = 0; i < m->count; at += m->lens[i++])
        lua_pushlstring(L, at, m->lens[i]);
    return (int)m->count;
}

static void ended(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct inbox *inbox = arg;

    inbox->running = false;
    if (!ok && !task_cancelled(task))
        vm_report(inbox->vm, err);
    if (inbox->closed)
        free(inbox);
    else
        go_on(inbox);
}

static bool start(struct inbox *inbox, struct message *m, struct err *err)
{
    lua_State *L = vm_main(inbox->vm);
    struct task *task = task_new(inbox->vm, err);
    const int count = (int)m->count;

    if (!task)
        return false;
    if (!vm_protect(L, push_parts, m, count, err)) {
        task_discard(task);
        return false;
    }
    lua_rawgeti(task_state(task), LUA_REGISTRYINDEX, inbox->function);
    lua_xmove(L, task_state(task), count);
    inbox->running = true;
    task_start(task, count, ended, inbox); /* may free the inbox */
    return true;
}

static void deliver(struct post *post)
{
    struct inbox *inbox = (struct inbox *)post;
    struct message *m = take(inbox);
    struct err err;

    if (!start(inbox, m, &err)) {
        vm_report(inbox->vm, &err);
        go_on(inbox);
    }
    free(m);
}

/* --- arriving --- */

static void report_full(struct inbox *inbox)
{
    struct err err;

    if (inbox->full)
        return;
    inbox->full = true;
    err_set(&err, "MESSAGES_DROPPED",
            "messages of %s are dropped: its function is too slow for them", inbox->source);
    vm_report(inbox->vm, &err);
}

void inbox_add(struct inbox *inbox, const struct str *parts, unsigned count)
{
    struct message *m;
    size_t size = 0;

    for (unsigned i = 0; i < count; i++)
        size += parts[i].len;
    if (inbox->count >= MESSAGES_MAX || (inbox->count > 0 && inbox->bytes + size > BYTES_MAX)) {
        report_full(inbox);
        return;
    }
    inbox->full = false;
    m = mem_alloc(sizeof(*m) + size);
    m->count = count;
    for (unsigned i = 0; i < count; i++) {
        if (parts[i].len > 0)
            memcpy(m->bytes + m->size, parts[i].at, parts[i].len);
        m->lens[i] = parts[i].len;
        m->size += parts[i].len;
    }
    *inbox->last = m;
    inbox->last = &m->next;
    inbox->count++;
    inbox->bytes += size;
    go_on(inbox);
}

void inbox_close(struct inbox *inbox)
{
    if (!inbox)
        return;
    loop_unpost(vm_loop(inbox->vm), &inbox->post);
    while (inbox->first)
        free(take(inbox));
    luaL_unref(vm_main(inbox->vm), LUA_REGISTRYINDEX, inbox->function);
    inbox->closed = true;
    if (!inbox->running)
        free(inbox);
}
