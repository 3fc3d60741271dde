/* Messages from elsewhere (LISTEN, SUBSCRIBE) on their way to a Lua function: one task at a time,
 * in the order they came.
 *
 * A function that is slower than its messages does not hold up who sends them, nor does it fill the
 * memory: beyond a limit the newest are dropped, which is reported.
 */
#pragma once

#include "base/str.h"

struct inbox;
struct vm;

enum { INBOX_PARTS_MAX = 3 };

/* For the function of a registry reference, which it takes over. `source` names it in reports;
 * copied. */
struct inbox *inbox_new(struct vm *vm, int function, const char *source);

/* A message is one to three strings, the function's arguments; copied. Calls no Lua. */
void inbox_add(struct inbox *inbox, const struct str *parts, unsigned count);

/* Drops what waits; the function that runs goes on. NULL is fine. */
void inbox_close(struct inbox *inbox);
