/* buntime.core.multipart: forms taken apart, and their files put on the disk.
 *
 * The body stays where it is: a part that goes to a file is copied piece by piece, on the loop,
 * for the thread that writes it, because the request may end meanwhile.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "bind/bind.h"
#include "bind/request.h"
#include "bind/roots.h"
#include "bind/upload.h"
#include "data/files.h"
#include "http/multipart.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"

enum { PIECE = 256 * 1024 };

#define SWEPT "buntime.uploads_swept"

/* --- reading --- */

/* boundary(content_type) -> boundary | nil */
static int multipart_boundary_of(lua_State *L)
{
    struct str type, boundary;

    type.at = luaL_checklstring(L, 1, &type.len);
    if (!multipart_boundary(type, &boundary))
        return 0;
    request_push_str(L, boundary);
    return 1;
}

/* basename(filename) -> text */
static int multipart_basename_of(lua_State *L)
{
    char out[MULTIPART_NAME_MAX + 1];
    struct str name;

    name.at = luaL_checklstring(L, 1, &name.len);
    lua_pushlstring(L, out, multipart_basename(name, out));
    return 1;
}

static void set_text(lua_State *L, const char *key, struct str text)
{
    if (!text.at)
        return;
    request_push_str(L, text);
    lua_setfield(L, -2, key);
}

/* What a request has as its body now. */
static struct str body_of(lua_State *L, int arg)
{
    const struct request_ref *ref = request_check(L, arg);

    if (ref->changed & CHANGED_BODY)
        return request_assigned(L, arg, "body");
    return exchange_body(request_live(L, arg)->x);
}

struct reading {
    struct multipart *m;
    struct str body;
    bool by_offset; /* files are told by where they are */
};

static void set_data(lua_State *L, const struct reading *r, struct str data)
{
    if (r->by_offset && multipart_part(r->m)->filename.at) {
        lua_pushnumber(L, data.len ? (lua_Number)(data.at - r->body.at) : 0);
        lua_setfield(L, -2, "offset");
        lua_pushnumber(L, (lua_Number)data.len);
        lua_setfield(L, -2, "size");
    } else {
        set_text(L, "data", data);
    }
}

static void push_part(lua_State *L, const struct reading *r)
{
    const struct multipart_part *part = multipart_part(r->m);

    lua_createtable(L, 0, 5);
    set_text(L, "name", part->name);
    set_text(L, "filename", part->filename);
    set_text(L, "type", part->type);
    set_data(L, r, STR(""));
}

/* Pushes the list of the parts. A body that is whole has each part's data in one run. */
static void push_parts(lua_State *L, struct reading *r)
{
    struct str rest = r->body;
    int count = 0;

    lua_newtable(L); /* list */
    for (;;) {
        switch (multipart_next(r->m, &rest)) {
        case MULTIPART_PART:
            push_part(L, r); /* list part */
            break;
        case MULTIPART_DATA:
            set_data(L, r, multipart_data(r->m));
            break;
        case MULTIPART_PART_END:
            lua_rawseti(L, -2, ++count); /* list */
            break;
        case MULTIPART_MORE:
        case MULTIPART_END:
        case MULTIPART_BAD:
            return;
        }
    }
}

static int collect(lua_State *L)
{
    struct multipart **box = lua_touserdata(L, 1);

    multipart_free(*box);
    *box = NULL;
    return 0;
}

/* The parser goes with the box, whatever raises. */
static struct multipart *push_parser(lua_State *L, struct str boundary)
{
    struct multipart **box = lua_newuserdata(L, sizeof(struct multipart *));

    *box = NULL;
    if (luaL_newmetatable(L, "buntime.multipart")) {
        lua_pushcfunction(L, collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    *box = multipart_new(boundary);
    return *box;
}

/* parse(body or request, boundary) -> list | nil, message; of a request files have `offset` and
 * `size` in place of `data`
 */
static int multipart_parse(lua_State *L)
{
    const bool by_offset = lua_type(L, 1) == LUA_TUSERDATA;
    struct reading r = {.by_offset = by_offset};
    struct str boundary;

    lua_settop(L, 2);
    if (by_offset)
        r.body = body_of(L, 1);
    else
        r.body.at = luaL_checklstring(L, 1, &r.body.len);
    boundary.at = luaL_checklstring(L, 2, &boundary.len);
    luaL_argcheck(L, boundary.len && boundary.len <= MULTIPART_BOUNDARY_MAX, 2, "no boundary");
    r.m = push_parser(L, boundary); /* .. box */
    push_parts(L, &r);              /* .. box list .. */
    if (multipart_end(r.m)) {
        multipart_free(r.m);
        *(struct multipart **)lua_touserdata(L, 3) = NULL;
        lua_settop(L, 4);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, multipart_problem(r.m));
    return 2;
}

/* --- to the disk --- */

struct spooling {
    struct job job; /* first: work() and done() cast back */
    struct vm *vm;
    struct task *task; /* NULL: cancelled */
    struct bind_request *slot;
    uint64_t generation;
    size_t offset, left; /* of the exchange's body, to come */
    struct buf piece;
    struct upload *upload;
    bool sweep;
    int failure; /* errno */
};

static bool is_live(const struct spooling *s)
{
    return s->slot->generation == s->generation;
}

static void free_spooling(struct spooling *s)
{
    if (s->upload)
        upload_drop(s->upload);
    buf_fini(&s->piece);
    free(s);
}

static int write_piece(int fd, struct str data)
{
    while (data.len > 0) {
        const ssize_t written = write(fd, data.at, data.len);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno;
        data.at += written;
        data.len -= (size_t)written;
    }
    return 0;
}

static int create(struct spooling *s)
{
    int root, rc = files_root(s->upload->root, true, &root);

    if (rc != 0)
        return rc;
    if (s->sweep)
        uploads_sweep(root);
    rc = uploads_create(root, s->upload->path, &s->upload->fd);
    close(root);
    return rc;
}

static void work(struct job *job)
{
    struct spooling *s = (struct spooling *)job;

    if (s->upload->fd < 0)
        s->failure = create(s);
    if (s->failure == 0)
        s->failure = write_piece(s->upload->fd, buf_str(&s->piece));
}

static void take_piece(struct spooling *s)
{
    const struct str body = exchange_body(s->slot->x);
    size_t len = s->left < PIECE ? s->left : PIECE;

    if (s->offset > body.len || len > body.len - s->offset)
        len = s->left = 0;
    buf_reset(&s->piece);
    if (len)
        buf_add(&s->piece, body.at + s->offset, len);
    s->offset += len;
    s->left -= len;
}

/* path | nil, message, code */
static int push_outcome(lua_State *L, void *arg)
{
    const struct spooling *s = arg;

    if (s->failure == 0) {
        lua_pushstring(L, s->upload->path);
        lua_pushnil(L);
        lua_pushnil(L);
        return 3;
    }
    lua_pushnil(L);
    lua_pushfstring(L, "an upload could not be kept: %s", files_error_text(s->failure));
    lua_pushstring(L, files_error_name(s->failure));
    return 3;
}

/* The file is the request's from now on. */
static void hand_over(struct spooling *s)
{
    if (s->failure != 0)
        return;
    s->upload->next = s->slot->uploads;
    s->slot->uploads = s->upload;
    s->upload = NULL;
}

static void finish(struct spooling *s)
{
    const struct task_answer answer = task_prepare(s->task, push_outcome, s, 3);

    if (answer.count == 3)
        hand_over(s);
    free_spooling(s);
    task_answer(answer);
}

static void done(struct job *job)
{
    struct spooling *s = (struct spooling *)job;

    if (!s->task) {
        free_spooling(s);
        return;
    }
    if (!is_live(s))
        s->failure = s->failure ? s->failure : ECANCELED;
    if (s->failure != 0 || s->left == 0) {
        finish(s);
        return;
    }
    take_piece(s);
    loop_submit(vm_loop(s->vm), &s->job);
}

static void undo(void *arg)
{
    struct spooling *s = arg;

    s->task = NULL;
}

/* Whether this VM has not looked for what others left yet. */
static bool is_first(lua_State *L)
{
    bool first;

    lua_getfield(L, LUA_REGISTRYINDEX, SWEPT);
    first = lua_isnil(L, -1);
    lua_pop(L, 1);
    lua_pushboolean(L, true);
    lua_setfield(L, LUA_REGISTRYINDEX, SWEPT);
    return first;
}

static void take_first(lua_State *L, struct spooling *s)
{
    const struct request_ref *ref = lua_touserdata(L, 1);
    struct str body;

    if (!(ref->changed & CHANGED_BODY)) {
        take_piece(s);
        return;
    }
    body = body_of(L, 1); /* a string of Lua's, which may be gone later */
    if (s->offset <= body.len && s->left <= body.len - s->offset)
        buf_add(&s->piece, body.at + s->offset, s->left);
    s->left = 0;
}

/* spool(request, offset, size) -> path | nil, message, code; waits */
static int multipart_spool(lua_State *L)
{
    struct bind_request *slot = request_live(L, 1);
    const size_t offset = (size_t)luaL_checknumber(L, 2), size = (size_t)luaL_checknumber(L, 3);
    struct spooling *s;
    const char *root;
    bool first;

    if (!task_current(L) || !vm_loop(vm_of(L))) {
        lua_pushboolean(L, false);
        lua_pushliteral(L, "cannot wait here: no task is running");
        return 2;
    }
    root = roots_push_data(L);
    first = is_first(L);
    s = mem_alloc(sizeof(*s)); /* nothing raises from here */
    s->vm = vm_of(L);
    s->task = task_current(L);
    s->slot = slot;
    s->generation = slot->generation;
    s->offset = offset;
    s->left = size;
    s->sweep = first;
    s->upload = upload_new(vm_loop(s->vm), root);
    s->job.work = work;
    s->job.done = done;
    take_first(L, s);
    loop_submit(vm_loop(s->vm), &s->job);
    return task_wait(L, undo, s);
}

static const luaL_Reg functions[] = {
    {"boundary", multipart_boundary_of},
    {"basename", multipart_basename_of},
    {"parse", multipart_parse},
    {"spool", multipart_spool},
    {NULL, NULL},
};

int bind_multipart_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
