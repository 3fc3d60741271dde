/* The sockets of a VM, for those who end them. Not for Lua's own modules. */
#pragma once

#include <lua.h>

#include "base/str.h"

struct vm;

/* Calls the drain handlers, in a later turn of the loop. A NULL vm has none. */
void bind_sockets_drain(struct vm *vm);

/* Closes all with `code`; their handlers are not called any more. */
void bind_sockets_close(struct vm *vm, unsigned code, const char *reason);

/* Pushes publish(topic, data, binary) -> to how many it went. */
void bind_push_publish(lua_State *L);
