/* Tasks: Lua functions that may wait, each in a coroutine of its VM's pool.
 *
 * A task is started, runs until its function returns, raises or waits, and then `done` is
 * called exactly once. It may be cancelled while it waits: the wait is undone and raises in the
 * coroutine, so that its cleanup runs. Only vm/call.c and vm/task.c run Lua.
 */
#pragma once

#include <stdbool.h>

#include <lua.h>

#include "base/err.h"

struct task;
struct vm;

/* `ok`: the results are all values on task_state(task), to be taken before returning.
 * Otherwise `err` says why, and the Lua error value is on top of task_state(task).
 */
typedef void task_done(struct task *task, bool ok, const struct err *err, void *arg);

/* A coroutine to push the function and its arguments on. NULL: out of memory (err set). */
struct task *task_new(struct vm *vm, struct err *err);
lua_State *task_state(struct task *task);
struct vm *task_vm(struct task *task);

/* Who the task works for, for logs: borrowed, must outlive the task. */
void task_set_request_id(struct task *task, const char *request_id);
const char *task_request_id(const struct task *task);

/* The traceparent that goes with it, or NULL; borrowed likewise. */
void task_set_trace(struct task *task, const char *traceparent);
const char *task_trace(const struct task *task);

/* What the task does, for the watchdog's record: "request", "onInit"; borrowed likewise. */
void task_set_phase(struct task *task, const char *phase);
const char *task_phase(const struct task *task); /* or NULL */

/* Runs the function below the top `nargs` values. `done` may be called before this returns. */
void task_start(struct task *task, int nargs, task_done *done, void *arg);

/* `done` will not be called: who waited for the task is about to go. */
void task_forget(struct task *task);

/* Gives back a task that was never started. */
void task_discard(struct task *task);

/* The task that is running in this VM, or NULL (main state, no task). */
struct task *task_current(lua_State *L);

/* --- waiting, for bindings ---
 *
 * A binding that waits ends with `return task_wait(L, undo, arg)`. `undo` is called if the task is
 * cancelled meanwhile; it must stop whatever would resume. Later task_resume() continues: the Lua
 * side gets `true, values...`, or `false, message` after task_resume_error(). The Lua function
 * that plugin code sees is made by `core.awaitable(cfunction)`, which raises for false.
 * A binding that need not wait returns `true, values...` itself.
 */
int task_wait(lua_State *L, void (*undo)(void *arg), void *arg);

/* Why task_wait() would raise; NULL: it would not. For what must not begin then. */
const char *task_unable(lua_State *L);

/* Continues with the top `nvalues` of task_state(task). */
void task_resume(struct task *task, int nvalues);
/* Continues by raising the top value of task_state(task) in the coroutine. */
void task_resume_error(struct task *task);

/* Both in two steps, so that what `push` reads can be freed before the task goes on: the first puts
 * what `push` leaves, `count` values, or what it raises. Runs on the VM's main state, as that of
 * the coroutine is in the middle of its yield. Nothing is done for a `task` of NULL.
 */
struct task_answer {
    struct task *task;
    int count; /* -1: an error */
};

struct task_answer
task_prepare(struct task *task, int (*push)(lua_State *L, void *arg), void *arg, int count);
void task_answer(struct task_answer answer);

bool task_waiting(const struct task *task);
bool task_cancelled(const struct task *task);

/* Raises `reason` in the coroutine at its current wait, or at its next. */
void task_cancel(struct task *task, const char *reason);

/* Cancels every task of the VM that is still waiting; those that go on waiting are dropped and
 * their `done` is called with the error.
 */
void tasks_cancel_all(struct vm *vm, const char *reason);
unsigned tasks_open(const struct vm *vm);

/* What a waiting coroutine yields, so that the library's coroutine functions can tell it from a
 * value that plugin code yields.
 */
void *task_wait_token(void);

/* Frees the pooled coroutines; for vm_close(). */
void tasks_free(struct vm *vm);
