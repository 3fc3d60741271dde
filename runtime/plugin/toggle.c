#include "plugin/toggle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/path.h"
#include "conf/yaml.h"

enum { MANIFEST_MAX = 1 << 20 };

static const char key_name[] = "enabled";

struct document {
    struct arena arena;
    struct problems problems;
    const struct value *root;
};

static void read_document(struct document *doc, struct str text)
{
    *doc = (struct document){.root = NULL};
    doc->root = yaml_read(&doc->arena, text, "manifest", "MANIFEST_INVALID", &doc->problems);
}

static void free_document(struct document *doc)
{
    problems_fini(&doc->problems);
    arena_fini(&doc->arena);
}

static bool is_sound(const struct document *doc)
{
    return doc->problems.errors == 0 && doc->root && doc->root->type == VALUE_MAP;
}

static bool refuse(struct err *err)
{
    return err_set(err, "MANIFEST_NOT_EDITABLE",
                   "the manifest is written in a way that cannot be edited by one line; set "
                   "`enabled:` by hand");
}

/* --- the same but for `enabled` --- */

static const struct value_entry *next_other(const struct value *map, size_t *at)
{
    while (*at < map->map.len && str_equal(map->map.entries[*at].key, STR("enabled")))
        (*at)++;
    return *at < map->map.len ? &map->map.entries[(*at)++] : NULL;
}

/* Whether `b` says the same as `a`, in the same order, apart from `enabled`. */
static bool same_rest(const struct value *a, const struct value *b)
{
    size_t i = 0, j = 0;
    const struct value_entry *x, *y;

    do {
        x = next_other(a, &i);
        y = next_other(b, &j);
        if (x && y && (!str_equal(x->key, y->key) || !value_equal(x->value, y->value)))
            return false;
    } while (x && y);
    return !x && !y;
}

static bool says(const struct value *root, bool enabled)
{
    const struct value *value = value_get(root, key_name);

    return value ? value->type == VALUE_BOOL && value->boolean == enabled : enabled;
}

static bool is_right(const struct document *before, const struct buf *edited, bool enabled)
{
    struct document after;
    bool right;

    read_document(&after, buf_str(edited));
    right = is_sound(&after) && value_get(after.root, key_name) && says(after.root, enabled) &&
            same_rest(before->root, after.root);
    free_document(&after);
    return right;
}

/* --- places in the text --- */

static bool is_break(char c)
{
    return c == '\n' || c == '\r';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static size_t line_end(struct str text, size_t at)
{
    while (at < text.len && !is_break(text.at[at]))
        at++;
    return at;
}

static size_t after_break(struct str text, size_t at)
{
    if (at + 1 < text.len && text.at[at] == '\r' && text.at[at + 1] == '\n')
        return at + 2;
    return at < text.len ? at + 1 : at;
}

/* Where line number `line` (from 1) starts. */
static size_t line_start(struct str text, unsigned line)
{
    size_t at = str_starts(text, STR("\xEF\xBB\xBF")) ? 3 : 0;

    while (--line > 0)
        at = after_break(text, line_end(text, at));
    return at;
}

static size_t place(struct str text, unsigned line, unsigned column)
{
    const size_t at = line_start(text, line) + column - 1;

    return at < text.len ? at : text.len;
}

/* `{name: x}`, also behind a tag or an anchor. */
static bool is_flow(struct str text, const struct value *root)
{
    size_t at = place(text, root->line, root->column);

    while (at < text.len && (text.at[at] == '!' || text.at[at] == '&')) {
        while (at < text.len && !is_blank(text.at[at]) && !is_break(text.at[at]))
            at++;
        while (at < text.len && (is_blank(text.at[at]) || is_break(text.at[at])))
            at++;
    }
    return at < text.len && text.at[at] == '{';
}

static const struct value_entry *entry_of(const struct value *map, struct str key)
{
    for (size_t i = 0; i < map->map.len; i++) {
        if (str_equal(map->map.entries[i].key, key))
            return &map->map.entries[i];
    }
    return NULL;
}

/* --- replacing the value --- */

/* Past the quoted string that starts at `at`. */
static size_t quoted_end(struct str text, size_t at)
{
    const char quote = text.at[at++];

    while (at < text.len && text.at[at] != quote)
        at += quote == '"' && text.at[at] == '\\' ? 2 : 1;
    return at < text.len ? at + 1 : text.len;
}

/* Past the value that starts at `at`, which ends where a comment or the line does. */
static size_t value_end(struct str text, size_t at)
{
    const size_t start = at;

    if (at < text.len && (text.at[at] == '"' || text.at[at] == '\''))
        return quoted_end(text, at);
    while (at < text.len && !is_break(text.at[at]) &&
           !(text.at[at] == '#' && is_blank(text.at[at - 1])))
        at++;
    while (at > start && is_blank(text.at[at - 1]))
        at--;
    return at;
}

static size_t skip_blanks(struct str text, size_t at)
{
    while (at < text.len && is_blank(text.at[at]))
        at++;
    return at;
}

/* Where the value of `entry` starts if it is on the line of its key; else 0. */
static size_t value_start(struct str text, const struct value_entry *entry)
{
    size_t at = place(text, entry->line, entry->column);

    if (at < text.len && (text.at[at] == '"' || text.at[at] == '\''))
        at = quoted_end(text, at);
    else
        at += entry->key.len;
    at = skip_blanks(text, at);
    if (at >= text.len || text.at[at] != ':')
        return 0;
    at = skip_blanks(text, at + 1);
    return at < text.len && !is_break(text.at[at]) ? at : 0;
}

static void put_between(struct buf *out, struct str text, size_t from, size_t to, struct str with)
{
    buf_reset(out);
    buf_add(out, text.at, from);
    buf_add_str(out, with);
    buf_add(out, text.at + to, text.len - to);
}

static bool replace(struct str text,
                    const struct document *doc,
                    const struct value_entry *entry,
                    bool enabled,
                    struct buf *out)
{
    const size_t start = value_start(text, entry);

    if (start == 0)
        return false;
    put_between(out, text, start, value_end(text, start), enabled ? STR("true") : STR("false"));
    return is_right(doc, out, enabled);
}

/* --- adding a line --- */

static struct str line_break(struct str text)
{
    const size_t end = line_end(text, 0);

    if (end >= text.len)
        return STR("\n");
    return (struct str){text.at + end, after_break(text, end) - end};
}

/* Adds the line at `at`, the start of a line or the end of the text. */
static bool
insert(struct str text, const struct document *doc, size_t at, bool enabled, struct buf *out)
{
    const struct str end = line_break(text);
    const bool open = at > 0 && !is_break(text.at[at - 1]); /* the last line has no end */
    struct buf line = {0};

    if (open)
        buf_add_str(&line, end);
    for (unsigned i = 1; i < doc->root->map.entries[0].column; i++)
        buf_putc(&line, ' ');
    buf_printf(&line, "%s: %s", key_name, enabled ? "true" : "false");
    if (!open)
        buf_add_str(&line, end);
    put_between(out, text, at, at, buf_str(&line));
    buf_fini(&line);
    return is_right(doc, out, enabled);
}

/* Behind the name, which people look at first; where that runs over several lines, in front of the
 * next key.
 */
static bool add(struct str text, const struct document *doc, bool enabled, struct buf *out)
{
    const struct value *root = doc->root;
    const struct value_entry *name = entry_of(root, STR("name"));
    const struct value_entry *last = &root->map.entries[root->map.len - 1];

    if (name && insert(text, doc, after_break(text, line_end(text, line_start(text, name->line))),
                       enabled, out))
        return true;
    if (name && name != last && insert(text, doc, line_start(text, name[1].line), enabled, out))
        return true;
    return insert(text, doc, text.len, enabled, out);
}

static bool edit(struct str text, struct document *doc, bool enabled, struct buf *out)
{
    const struct value_entry *entry = entry_of(doc->root, STR("enabled"));

    if (says(doc->root, enabled)) {
        put_between(out, text, 0, 0, STR(""));
        return true;
    }
    return entry ? replace(text, doc, entry, enabled, out) : add(text, doc, enabled, out);
}

static bool check(struct str text, const struct document *doc, struct err *err)
{
    if (!problems_err(&doc->problems, err))
        return false;
    if (!is_sound(doc) || doc->root->map.len == 0)
        return err_set(err, "MANIFEST_INVALID", "the manifest is not a map of keys and values");
    if (is_flow(text, doc->root))
        return err_set(err, "MANIFEST_FLOW_STYLE",
                       "the manifest is written in flow style ({ ... }), which cannot be edited by "
                       "one line; write one key a line");
    return true;
}

bool toggle_text(struct str text, bool enabled, struct buf *out, struct err *err)
{
    struct document doc;
    bool ok;

    read_document(&doc, text);
    ok = check(text, &doc, err) && (edit(text, &doc, enabled, out) || refuse(err));
    free_document(&doc);
    return ok;
}

/* --- the file --- */

static bool not_writable(struct err *err, const char *file)
{
    return err_set(err, "MANIFEST_NOT_WRITABLE", "%s cannot be written: %s", file, strerror(errno));
}

static bool write_all(int fd, struct str text)
{
    while (text.len > 0) {
        const ssize_t n = write(fd, text.at, text.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        text.at += n;
        text.len -= (size_t)n;
    }
    return true;
}

/* Owner first: giving a file away takes its special mode bits. */
static bool fill(int fd, const struct stat *like, struct str text)
{
    if (fchown(fd, like->st_uid, like->st_gid) != 0 && errno != EPERM)
        return false;
    return fchmod(fd, like->st_mode & 07777) == 0 && write_all(fd, text) && fsync(fd) == 0;
}

static void sync_folder(const char *dir)
{
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

static bool replace_file(const char *file, const struct stat *like, struct str text)
{
    const char *name = path_name(file);
    char *dir = name == file ? mem_copy(".") : mem_copy_n(file, (size_t)(name - file));
    char *temp = mem_printf("%s/.%s.XXXXXX", dir, name);
    const int fd = mkostemp(temp, O_CLOEXEC);
    bool ok = fd >= 0 && fill(fd, like, text);
    int why = errno;

    if (fd >= 0 && close(fd) != 0 && ok) {
        ok = false;
        why = errno;
    }
    if (ok && rename(temp, file) != 0) {
        ok = false;
        why = errno;
    }
    if (ok)
        sync_folder(dir);
    else if (fd >= 0)
        unlink(temp);
    free(temp);
    free(dir);
    errno = why;
    return ok;
}

bool toggle_manifest(const char *file, bool enabled, struct err *err)
{
    struct buf text = {0}, out = {0};
    struct stat st;
    bool ok;

    if (lstat(file, &st) == 0 && S_ISLNK(st.st_mode))
        return err_set(err, "MANIFEST_NOT_EDITABLE", "%s is a symbolic link; edit what it names",
                       file);
    ok = file_read(file, MANIFEST_MAX, &text, err) &&
         toggle_text(buf_str(&text), enabled, &out, err);
    if (ok && !str_equal(buf_str(&text), buf_str(&out)))
        ok = (stat(file, &st) == 0 && replace_file(file, &st, buf_str(&out))) ||
             not_writable(err, file);
    buf_fini(&text);
    buf_fini(&out);
    return ok;
}
