/* Private to json_*.c and bind_json.c: what both directions share.
 *
 * One codec per VM, a userdata in the registry. It keeps a buffer from call to call, so that
 * usually none is allocated. The buffer is a userdata too, on the Lua stack of whoever uses it: an
 * error that unwinds leaves it to the collector, and a call inside another (a finalizer, a
 * __tostring) finds it taken and gets one of its own.
 */
#pragma once

#include <locale.h>
#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

struct json_codec {
    char *data; /* the kept buffer's bytes */
    size_t cap;
    bool taken;             /* by a call under way, or by one that an error ended */
    int buffer_ref;         /* registry references */
    int array_ref;          /* the metatable of marked arrays */
    const void *array_mark; /* the same, to compare with */
    locale_t c_locale;      /* os.setlocale() must not put a comma in numbers */
};

/* json.empty_array: encoded as `[]`. */
extern const char json_empty_array;

struct json_codec *json_codec(lua_State *L);

/* --- writing --- */

struct json_out {
    lua_State *L;
    struct json_codec *codec;
    int slot; /* of the buffer on the Lua stack */
    char *data, *at, *end;
};

/* Pushes a buffer. Raises when the budget is spent, as json_grow() does. */
void json_open(struct json_out *out, struct json_codec *codec, lua_State *L);
void json_grow(struct json_out *out, size_t more);

/* The buffer may be used again; the caller takes it off the stack. */
void json_close(struct json_out *out);

static inline void json_need(struct json_out *out, size_t more)
{
    if ((size_t)(out->end - out->at) < more)
        json_grow(out, more);
}

/* json_encode_value() for who has the codec at hand. What cannot be written raises at the caller's
 * line, or, unless 0, by the method `_misfit` of the table at `blame`, which is given the message
 * and raises.
 */
void json_push_encoded(struct json_codec *codec, lua_State *L, int index, int blame);

/* With its quotes. False: it is not UTF-8. */
bool json_write_string(struct json_out *out, const char *s, size_t len);

enum { JSON_NUMBER_MAX = 32 }; /* longest text of a number, with room to spare */

/* The shortest text of 15 to 17 digits that reads back as `d`, which is finite. Returns its length.
 */
size_t json_format_number(const struct json_codec *codec, char *out, double d);

/* --- reading --- */

struct json_in {
    lua_State *L;
    struct json_codec *codec;
    const char *start, *at, *end;
    const char *quote;           /* that the string being read begins with */
    const char *problem, *place; /* set once, by json_fail() */
};

static inline bool json_fail(struct json_in *in, const char *problem, const char *place)
{
    in->problem = problem;
    in->place = place;
    return false;
}

static inline bool json_at_digit(const struct json_in *in)
{
    return in->at < in->end && (unsigned)(*in->at - '0') < 10;
}

/* At the opening quote. Pushes the string. */
bool json_read_string(struct json_in *in);

/* At a digit or a minus. Pushes the number. */
bool json_read_number(struct json_in *in);

/* --- paths, for messages --- */

/* Adds one step of a path to `path`: `.name`, `["odd name"]` or `[3]`. */
struct json_path {
    char text[256]; /* NUL-terminated */
    size_t len;
    bool full; /* the steps that follow are left out */
};

void json_path_key(struct json_path *path, const char *key, size_t len);
void json_path_index(struct json_path *path, double index);
/* The text as the front of a message: "" at the root, else "a.b[3]: ". */
const char *json_path_prefix(struct json_path *path);
