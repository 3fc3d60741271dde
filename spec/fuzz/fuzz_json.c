/* Any bytes: decoding never crashes; what was decoded encodes, and decodes to the same again; and
 * as a string the bytes are refused or survive.
 */
#include "fuzz.h"

#include <lauxlib.h>
#include <lua.h>

#include "bind/bind.h"
#include "bind/json.h"

struct input {
    struct str text;
};

/* Object keys come in any order, so a text is compared only with what it decodes to. */
static void check_value(lua_State *L, struct str text)
{
    struct str again;

    if (!json_decode_value(L, text)) {
        require(lua_type(L, -1) == LUA_TSTRING);
        return;
    }
    json_encode_value(L, -1); /* value text2 */
    again.at = lua_tolstring(L, -1, &again.len);
    require(json_decode_value(L, again)); /* value text2 value2 */
    json_encode_value(L, -1);
    require(lua_objlen(L, -1) == again.len);
}

static int encode(lua_State *L)
{
    json_encode_value(L, 1);
    return 1;
}

static void check_string(lua_State *L, struct str text)
{
    lua_pushcfunction(L, encode);
    lua_pushlstring(L, text.at, text.len);
    lua_pushvalue(L, -1);
    lua_insert(L, -3); /* string encode string */
    if (lua_pcall(L, 1, 1, 0) == 0) {
        struct str written;
        written.at = lua_tolstring(L, -1, &written.len);
        require(json_decode_value(L, written));
        require(lua_rawequal(L, -1, -3));
    }
}

static int check(lua_State *L)
{
    const struct input *input = lua_touserdata(L, 1);

    check_value(L, input->text);
    lua_settop(L, 0);
    check_string(L, input->text);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    char *copy = malloc(size ? size : 1); /* no longer than the text: ASan sees an overrun */
    struct input input;

    if (!L) {
        L = luaL_newstate();
        require(lua_cpcall(L, bind_json_open, NULL) == 0);
    }
    require(copy != NULL);
    if (size)
        memcpy(copy, data, size);
    input.text = (struct str){copy, size};
    require(lua_cpcall(L, check, &input) == 0);
    free(copy);
    return 0;
}
