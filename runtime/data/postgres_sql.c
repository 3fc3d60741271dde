#include "data/postgres_sql.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A piece of a statement that is copied or replaced whole. */
enum piece { PIECE_TEXT, PIECE_QUESTION, PIECE_OPERATOR, PIECE_NUMBER };

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Past the literal or quoted name whose quote is at `at`. A doubled quote needs no care: it ends
 * one and starts the next.
 */
static const char *skip_quoted(const char *at, const char *end, bool escapes)
{
    const char quote = *at++;

    for (; at < end && *at != quote; at++) {
        if (escapes && *at == '\\' && at + 1 < end)
            at++;
    }
    return at < end ? at + 1 : end;
}

static const char *skip_line(const char *at, const char *end)
{
    const char *newline = memchr(at, '\n', (size_t)(end - at));

    return newline ? newline : end;
}

/* These nest in PostgreSQL. */
static const char *skip_comment(const char *at, const char *end)
{
    unsigned depth = 0;

    while (at < end) {
        if (end - at > 1 && at[0] == '/' && at[1] == '*') {
            depth++;
            at += 2;
        } else if (end - at > 1 && at[0] == '*' && at[1] == '/') {
            at += 2;
            if (--depth == 0)
                return at;
        } else {
            at++;
        }
    }
    return end;
}

/* At a `$`: past `$tag$ … $tag$`, or past the `$` alone. */
static const char *skip_dollar(const char *at, const char *end)
{
    const char *tag_end = at + 1;
    const char *close;
    size_t len;

    while (tag_end < end && (is_name_start(*tag_end) || is_digit(*tag_end)))
        tag_end++;
    if (tag_end == end || *tag_end != '$')
        return at + 1;
    len = (size_t)(tag_end - at) + 1;
    close = memmem(tag_end + 1, (size_t)(end - tag_end - 1), at, len);
    return close ? close + len : end;
}

/* A name, which may hold digits and `$`, or E'…'. */
static const char *skip_name(const char *at, const char *end)
{
    const char *start = at;

    while (at < end && (is_name_start(*at) || is_digit(*at) || *at == '$'))
        at++;
    if (at - start == 1 && (*start == 'e' || *start == 'E') && at < end && *at == '\'')
        return skip_quoted(at, end, true);
    return at;
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && is_digit(*at))
        at++;
    return at;
}

static const char *next_piece(const char *at, const char *end, enum piece *piece)
{
    const char second = at + 1 < end ? at[1] : (char)0;

    *piece = PIECE_TEXT;
    if (*at == '\'' || *at == '"')
        return skip_quoted(at, end, false);
    if (*at == '-' && second == '-')
        return skip_line(at, end);
    if (*at == '/' && second == '*')
        return skip_comment(at, end);
    if (is_name_start(*at))
        return skip_name(at, end);
    if (*at == '?') {
        *piece = second == '?' ? PIECE_OPERATOR : PIECE_QUESTION;
        return at + (second == '?' ? 2 : 1);
    }
    if (*at == '$' && is_digit(second)) {
        *piece = PIECE_NUMBER;
        return skip_digits(at + 1, end);
    }
    return *at == '$' ? skip_dollar(at, end) : at + 1;
}

/* How many values, and whether `?` stands for them. */
static unsigned count_values(struct str sql, bool *questions)
{
    const char *at = sql.at, *end = sql.at + sql.len;
    unsigned asked = 0, most = 0;

    while (at < end) {
        const char *start = at;
        enum piece piece;

        at = next_piece(at, end, &piece);
        if (piece == PIECE_QUESTION)
            asked++;
        if (piece == PIECE_NUMBER) {
            const unsigned long number = strtoul(start + 1, NULL, 10);
            most = number > most && number < 65536 ? (unsigned)number : most;
        }
    }
    *questions = most == 0;
    return most > 0 ? most : asked;
}

unsigned postgres_rewrite(struct str sql, struct buf *out)
{
    const char *at = sql.at, *end = sql.at + sql.len;
    bool questions;
    const unsigned count = count_values(sql, &questions);
    unsigned number = 0;

    if (!questions)
        buf_add_str(out, sql);
    while (questions && at < end) {
        const char *start = at;
        enum piece piece;

        at = next_piece(at, end, &piece);
        if (piece == PIECE_QUESTION)
            buf_printf(out, "$%u", ++number);
        else if (piece == PIECE_OPERATOR)
            buf_putc(out, '?');
        else
            buf_add(out, start, (size_t)(at - start));
    }
    return count;
}

static size_t characters(const char *at, const char *end)
{
    size_t count = 0;

    for (; at < end; at++)
        count += ((unsigned char)*at & 0xc0) != 0x80;
    return count;
}

static size_t digits_of(unsigned number)
{
    return number < 10 ? 1 : 1 + digits_of(number / 10);
}

size_t postgres_position(struct str sql, size_t position)
{
    const char *at = sql.at, *end = sql.at + sql.len;
    size_t theirs = 1, ours = 1;
    unsigned number = 0;
    bool questions;

    count_values(sql, &questions);
    while (questions && at < end) {
        const char *start = at;
        enum piece piece;
        size_t sent, length;

        at = next_piece(at, end, &piece);
        sent = length = characters(start, at);
        if (piece == PIECE_QUESTION)
            sent = 1 + digits_of(++number);
        else if (piece == PIECE_OPERATOR)
            sent = 1;
        if (position < theirs + sent)
            return ours + (piece == PIECE_TEXT ? position - theirs : 0);
        theirs += sent;
        ours += length;
    }
    return questions ? ours + (position > theirs ? position - theirs : 0) : position;
}
