#include "conf/problems.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

/* What a manifest's author wrote is in it, and goes to terminals: one line, and nothing that would
 * move the cursor.
 */
static void make_shown(char *message)
{
    for (; *message; message++) {
        if ((unsigned char)*message < ' ' || *message == 0x7F)
            *message = '?';
    }
}

void problems_vadd(struct problems *list,
                   bool warning,
                   const char *code,
                   const char *file,
                   unsigned line,
                   unsigned column,
                   const char *fmt,
                   va_list args)
{
    struct problem *problem;

    list->items = mem_resize(list->items, (list->len + 1) * sizeof(*list->items));
    problem = &list->items[list->len++];
    *problem = (struct problem){
        .warning = warning,
        .code = mem_copy(code),
        .file = mem_copy(file),
        .line = line,
        .column = column,
    };
    if (vasprintf(&problem->message, fmt, args) < 0)
        problem->message = mem_copy(fmt);
    make_shown(problem->message);
    list->errors += !warning;
}

void problems_add(struct problems *list,
                  bool warning,
                  const char *code,
                  const char *file,
                  unsigned line,
                  unsigned column,
                  const char *fmt,
                  ...)
{
    va_list args;

    va_start(args, fmt);
    problems_vadd(list, warning, code, file, line, column, fmt, args);
    va_end(args);
}

static bool is_before(const struct problem *a, const struct problem *b)
{
    return a->line != b->line ? a->line < b->line : a->column < b->column;
}

/* By insertion: stable, and the list is short and nearly in order. */
void problems_sort(struct problems *list, size_t from)
{
    for (size_t i = from + 1; i < list->len; i++) {
        const struct problem moved = list->items[i];
        size_t at = i;

        for (; at > from && is_before(&moved, &list->items[at - 1]); at--)
            list->items[at] = list->items[at - 1];
        list->items[at] = moved;
    }
}

void problems_fini(struct problems *list)
{
    for (size_t i = 0; i < list->len; i++) {
        free(list->items[i].code);
        free(list->items[i].file);
        free(list->items[i].message);
    }
    free(list->items);
    *list = (struct problems){0};
}

char *problem_text(const struct problem *problem)
{
    struct buf text = {0};

    if (problem->file)
        buf_puts(&text, problem->file);
    if (problem->line)
        buf_printf(&text, ":%u", problem->line);
    if (problem->column)
        buf_printf(&text, ":%u", problem->column);
    if (text.len)
        buf_puts(&text, ": ");
    buf_puts(&text, problem->message);
    return text.data;
}

bool problems_err(const struct problems *list, struct err *err)
{
    const struct problem *first = NULL;
    struct buf text = {0};

    for (size_t i = 0; i < list->len; i++) {
        const struct problem *problem = &list->items[i];
        char *line;

        if (problem->warning)
            continue;
        if (!first)
            first = problem;
        else
            buf_putc(&text, '\n');
        line = problem_text(problem);
        buf_puts(&text, line);
        free(line);
    }
    if (!first)
        return true;
    err_set(err, first->code, "%s", text.data);
    snprintf(err->file, sizeof(err->file), "%s", first->file ? first->file : "");
    err->line = first->line;
    buf_fini(&text);
    return false;
}
