/* JSON for other bindings: between text and values on the Lua stack.
 *
 * The rules (bare empty table `{}`, marked arrays, strict RFC 8259, what raises) are those of
 * buntime.json, which docs/reference describes. The module must have been opened in this VM
 * (bind_json_open()). All memory is the VM's; nothing has to be freed.
 */
#pragma once

#include <stdbool.h>

#include <lua.h>

#include "base/str.h"

enum { JSON_DEPTH_MAX = 1000 };

/* The metatable that marks a table as an array is in the registry under this name, so that code
 * which copies tables can tell "marked" from "has a metatable of its own".
 */
#define JSON_ARRAY_TYPE "buntime.json.array"

/* Encodes the value at `index`. The bytes are borrowed: they are to be taken before the next call
 * that may run the collector. Raises for a value that cannot be written, naming its path; the
 * stack is left as it was.
 */
struct str json_encode(lua_State *L, int index);

/* The same, pushed as a string. */
void json_encode_value(lua_State *L, int index);

/* Pushes the value of `text` and returns true, or pushes the message and returns false. */
bool json_decode_value(lua_State *L, struct str text);

/* Marks the table at `index` as an array. */
void json_mark_array(lua_State *L, int index);
bool json_is_array(lua_State *L, int index); /* whether it is marked */
