/* What the files of buntime.core.shared share. */
#pragma once

#include <lua.h>

#include "data/shared.h"

#define SHARED_WATCH_TYPE "buntime.shared.watch"

struct shared *shared_of(lua_State *L); /* the dictionary in memory */

/* Pushes the value, and whether it is the text of JSON. Cannot raise but for want of memory. */
void shared_push_value(lua_State *L, const struct shared_value *value);

/* --- shared_watch.c --- */
int shared_watch_keys(lua_State *L);
int shared_watch_end(lua_State *L);
