#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "vm/call.h"
#include "vm/vm_impl.h"

enum { TRACE_DEPTH = 64 };

struct conversion {
    struct err *err;
    char place[LUA_IDSIZE + 1]; /* the "file" of a "file:line: " prefix, perhaps cut with ... */
    unsigned line;
    size_t prefix; /* length of the whole prefix */
};

static void copy_text(char *to, size_t size, const char *from)
{
    const size_t len = strlen(from);

    if (len < size) {
        memcpy(to, from, len + 1);
        return;
    }
    memcpy(to, from, size - 4);
    memcpy(to + size - 4, "...", 4);
}

/* The text of the error value on top of the stack; runs __tostring. */
static int describe(lua_State *L, void *arg)
{
    struct err *err = arg;

    /* value is at 1: moved here by convert() */
    if (lua_istable(L, 1)) {
        lua_getfield(L, 1, "code");
        if (lua_type(L, -1) == LUA_TSTRING)
            copy_text(err->code, sizeof(err->code), lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    if (lua_type(L, 1) == LUA_TNUMBER) {
        copy_text(err->message, sizeof(err->message), lua_tostring(L, 1));
        return 0;
    }
    if (luaL_callmeta(L, 1, "__tostring") && lua_isstring(L, -1)) {
        copy_text(err->message, sizeof(err->message), lua_tostring(L, -1));
        return 0;
    }
    lua_settop(L, 1);
    if (lua_istable(L, 1)) {
        lua_getfield(L, 1, "message");
        if (lua_isstring(L, -1))
            copy_text(err->message, sizeof(err->message), lua_tostring(L, -1));
    }
    return 0;
}

static int describe_upvalue(lua_State *L)
{
    struct err *err = lua_touserdata(L, 2);

    return describe(L, err);
}

/* False if the watchdog had to end it: an error object whose __tostring loops. A string takes no
 * Lua, which a VM without memory could not run.
 */
static bool convert(lua_State *L, int index, struct err *err)
{
    const struct err *expired;
    struct vm *vm = vm_of(L);
    struct vm_entry entry;

    if (lua_type(L, index) == LUA_TSTRING) {
        copy_text(err->message, sizeof(err->message), lua_tostring(L, index));
        return true;
    }
    lua_pushvalue(L, index);
    lua_pushcfunction(L, describe_upvalue);
    lua_insert(L, -2); /* fn value */
    lua_pushlightuserdata(L, err);
    vm_enter(vm, &entry);
    if (lua_pcall(L, 2, 0, 0) != 0)
        lua_pop(L, 1);
    expired = vm_leave(&entry);
    if (expired)
        *err = *expired;
    return !expired;
}

/* Finds the place in "place:12: message". */
static bool split_place(const char *message, struct conversion *c)
{
    for (const char *colon = strchr(message, ':'); colon; colon = strchr(colon + 1, ':')) {
        char *end;
        const unsigned long line = strtoul(colon + 1, &end, 10);
        const size_t len = (size_t)(colon - message);

        if (end == colon + 1 || end[0] != ':' || end[1] != ' ')
            continue;
        if (len > LUA_IDSIZE)
            return false;
        memcpy(c->place, message, len);
        c->place[len] = '\0';
        c->line = (unsigned)line;
        c->prefix = (size_t)(end + 2 - message);
        return true;
    }
    return false;
}

static void set_place(struct err *err, const char *file, unsigned line)
{
    copy_text(err->file, sizeof(err->file), file);
    err->line = line;
}

/* Writes the whole path where Lua had to cut it. */
static void widen_prefix(struct err *err, const struct conversion *c, const char *file)
{
    char rest[ERR_MESSAGE_MAX];
    char head[ERR_FILE_MAX + 32];

    if (strncmp(c->place, "...", 3) != 0 || strlen(file) > ERR_FILE_MAX)
        return;
    copy_text(rest, sizeof(rest), err->message + c->prefix);
    snprintf(head, sizeof(head), "%s:%u: ", file, c->line);
    snprintf(err->message, sizeof(err->message), "%s%.*s", head,
             (int)(sizeof(err->message) - strlen(head) - 1), rest);
}

bool vm_is_below(const char *root, const char *source)
{
    const size_t len = root ? strlen(root) : 0;

    return len > 0 && source[0] == '@' && strncmp(source + 1, root, len) == 0 &&
           source[1 + len] == '/';
}

/* The frame that the message names (true), or the innermost one in the plugin's own folder. */
static bool find_frame(lua_State *trace, const char *root, struct conversion *c)
{
    bool found = false;
    lua_Debug ar;

    for (int level = 0; level < TRACE_DEPTH && lua_getstack(trace, level, &ar); level++) {
        lua_getinfo(trace, "Sl", &ar);
        if (c->prefix && strcmp(ar.short_src, c->place) == 0 && ar.source[0] == '@') {
            set_place(c->err, ar.source + 1, c->line);
            widen_prefix(c->err, c, ar.source + 1);
            return true;
        }
        if (!found && vm_is_below(root, ar.source)) {
            set_place(c->err, ar.source + 1, ar.currentline > 0 ? (unsigned)ar.currentline : 0);
            found = true;
        }
    }
    return false;
}

/* The traceback of a coroutine inside this one that the same error came from. */
static void add_inner(struct vm *vm, struct err *err)
{
    char outer[ERR_TRACE_MAX];

    if (!vm->inner_trace || !strstr(err->message, vm->inner_message))
        return;
    copy_text(outer, sizeof(outer), err->traceback);
    snprintf(err->traceback, sizeof(err->traceback), "%.4000s\ncalled from\n%.4000s",
             vm->inner_trace, outer);
}

static bool names_file_of(const char *root, const char *place)
{
    const size_t len = root ? strlen(root) : 0;

    return len > 0 && strncmp(place, root, len) == 0 && place[len] == '/';
}

/* "plugins/x/util.lua:3: …" from the compiler names a file that is on no stack. It counts for more
 * than the frame that required it.
 */
static void place_by_prefix(const char *root, struct conversion *c)
{
    const char *tail = strncmp(c->place, "...", 3) == 0 ? c->place + 3 : NULL;
    const size_t root_len = root ? strlen(root) : 0;

    if (!c->prefix || !strstr(c->place, ".lua"))
        return;
    if (!tail) {
        if (!*c->err->file || names_file_of(root, c->place))
            set_place(c->err, c->place, c->line);
        return;
    }
    /* Cut at the front: what is left of the root's own text, then the path below it. */
    for (size_t from = 0; from < root_len; from++) {
        const size_t rest = root_len - from;
        char full[ERR_FILE_MAX];

        if (strncmp(tail, root + from, rest) != 0)
            continue;
        snprintf(full, sizeof(full), "%s%s", root, tail + rest);
        set_place(c->err, full, c->line);
        widen_prefix(c->err, c, full);
        return;
    }
}

void vm_error(lua_State *L, int index, lua_State *trace, struct err *err)
{
    struct vm *vm = vm_of(L);
    struct conversion c = {.err = err};
    bool named = false;

    err_set(err, "LUA_ERROR", "(error object is a %s)", luaL_typename(L, index));
    lua_checkstack(L, 8);
    if (!convert(L, index, err))
        return;
    if (strcmp(err->message, "not enough memory") == 0)
        copy_text(err->code, sizeof(err->code), "OUT_OF_MEMORY");
    split_place(err->message, &c);
    if (trace) {
        luaL_traceback(L, trace, NULL, 0);
        copy_text(err->traceback, sizeof(err->traceback), lua_tostring(L, -1));
        lua_pop(L, 1);
        named = find_frame(trace, vm->root, &c);
        add_inner(vm, err);
    }
    if (!named)
        place_by_prefix(vm->root, &c);
}
