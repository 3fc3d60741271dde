/* The secrets, and taking them out of text.
 *
 * A secret may stand in text as it is or as JSON writes it, so both forms are looked for, the
 * longest first: one secret may be a part of another.
 */
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#include "base/log_impl.h"
#include "base/mem.h"

#define MASK "***"

enum { SECRET_MIN = 4, MASK_LEN = sizeof(MASK) - 1 };

struct needle {
    char *text;
    size_t len;
    unsigned count;
};

static struct needle *needles;
static size_t needle_count;

static struct needle *find(struct str text)
{
    for (size_t i = 0; i < needle_count; i++) {
        if (str_equal((struct str){needles[i].text, needles[i].len}, text))
            return &needles[i];
    }
    return NULL;
}

static void needle_add(struct str text)
{
    struct needle *known = find(text);
    size_t at = needle_count;

    if (known) {
        known->count++;
        return;
    }
    needles = mem_resize(needles, (needle_count + 1) * sizeof(*needles));
    while (at > 0 && needles[at - 1].len < text.len) {
        needles[at] = needles[at - 1];
        at--;
    }
    needles[at] = (struct needle){mem_copy_n(text.at, text.len), text.len, 1};
    needle_count++;
}

static void needle_forget(struct str text)
{
    struct needle *known = find(text);
    size_t at;

    if (!known || --known->count > 0)
        return;
    at = (size_t)(known - needles);
    explicit_bzero(known->text, known->len);
    free(known->text);
    memmove(known, known + 1, (needle_count - at - 1) * sizeof(*needles));
    if (--needle_count == 0) {
        free(needles);
        needles = NULL;
    }
}

static void each_form(const char *value, void (*act)(struct str text))
{
    const struct str plain = str_of(value);
    struct buf escaped = {0};
    struct str inner;

    if (plain.len < SECRET_MIN)
        return;
    act(plain);
    buf_json_string(&escaped, plain);
    inner = (struct str){escaped.data + 1, escaped.len - 2};
    if (!str_equal(plain, inner))
        act(inner);
    explicit_bzero(escaped.data, escaped.len);
    buf_fini(&escaped);
}

void log_secret_add(const char *value)
{
    each_form(value, needle_add);
}

void log_secret_forget(const char *value)
{
    each_form(value, needle_forget);
}

static bool holds_secret(struct str text)
{
    for (size_t i = 0; i < needle_count; i++) {
        if (text.len && memmem(text.at, text.len, needles[i].text, needles[i].len))
            return true;
    }
    return false;
}

/* Replaces one needle in the `len` bytes at `text` and returns the new length. */
static size_t replace(char *text, size_t len, const struct needle *needle)
{
    char *read = text, *write = text;
    char *const end = text + len;
    char *hit;

    while ((hit = memmem(read, (size_t)(end - read), needle->text, needle->len)) != NULL) {
        memmove(write, read, (size_t)(hit - read));
        write += hit - read;
        memcpy(write, MASK, MASK_LEN);
        write += MASK_LEN;
        read = hit + needle->len;
    }
    memmove(write, read, (size_t)(end - read));
    return (size_t)(write - text) + (size_t)(end - read);
}

static size_t replace_all(char *text, size_t len)
{
    for (size_t i = 0; i < needle_count; i++)
        len = replace(text, len, &needles[i]);
    return len;
}

void log_mask(char *text)
{
    if (needle_count)
        text[replace_all(text, strlen(text))] = '\0';
}

struct str mask_text(struct buf *scratch, struct str text)
{
    if (!needle_count || !holds_secret(text))
        return text;
    buf_reset(scratch);
    buf_add_str(scratch, text);
    scratch->len = replace_all(scratch->data, scratch->len);
    return buf_str(scratch);
}

static bool is_seam(char c)
{
    return c && strchr("\"{}[],: \t\r\n", c);
}

/* A string with its quotes, a single separator, or a run of what numbers and words are made of. */
static size_t token_len(struct str s)
{
    size_t i = 1;

    if (s.at[0] == '"') {
        while (i < s.len && s.at[i] != '"')
            i += s.at[i] == '\\' ? 2 : 1;
        return i < s.len ? i + 1 : s.len;
    }
    while (!is_seam(s.at[0]) && i < s.len && !is_seam(s.at[i]))
        i++;
    return i;
}

/* Only strings can be masked in place; any other value becomes the string "***". */
static void mask_token(struct buf *out, struct str token)
{
    if (token.at[0] != '"') {
        if (holds_secret(token))
            buf_puts(out, "\"" MASK "\"");
        else
            buf_add_str(out, token);
        return;
    }
    buf_putc(out, '"');
    if (token.len > 2) {
        const size_t at = out->len;
        buf_add(out, token.at + 1, token.len - 2);
        out->len = at + replace_all(out->data + at, token.len - 2);
    }
    buf_putc(out, '"');
}

struct str mask_json(struct buf *scratch, struct str json)
{
    if (!needle_count || !holds_secret(json))
        return json;
    buf_reset(scratch);
    for (size_t i = 0; i < json.len;) {
        const struct str rest = {json.at + i, json.len - i};
        const struct str token = {rest.at, token_len(rest)};
        mask_token(scratch, token);
        i += token.len;
    }
    return buf_str(scratch);
}
